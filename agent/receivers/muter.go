package receivers

import (
	"reflect"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/agent/mute"
	"github.com/edge-eventer/edge-eventer/spool"
)

// muterOf returns what holds incidents of a receiver back. Silences and inhibition are for people: an archive of every event has no use for
// them.
func (s *Set) muterOf(c *config.Config, r *config.Receiver) *mute.Muter {
	named := func(names []string) (intervals []mute.Named) {
		for _, name := range names {
			intervals = append(intervals, mute.Named{Name: name, Interval: c.Interval(name)})
		}
		return intervals
	}
	m := &mute.Muter{Mute: named(r.MuteTimeIntervals), Active: named(r.ActiveTimeIntervals), Critical: r.MuteCritical}
	if r.Fold != "event" {
		m.Silences, m.Sources = s.options.Silences, &s.sources
	}
	return m
}

// Observed lets an observation be the source of an inhibition.
func (s *Set) Observed(o *incident.Observation) {
	in := &incident.Incident{Event: o.Event, Workload: o.Workload, Own: o.Own}
	s.sources.Observe(&matcher.Subject{Incident: in, Severity: s.SeverityOf(o.Event.Reason)}, o.At)
}

// recallSources puts the rules of c to use, and finds the open incidents that are sources in the queues: they were observed before the
// start, or under other rules. What cannot be read is said by the delivery that meets it.
func (s *Set) recallSources(c *config.Config) {
	s.sources.Replace(c.InhibitRules(), c.Notify.ResolveAfter)
	now := time.Now()
	err := s.spool.View(func(tx *spool.Tx) error {
		for i := range c.Receivers {
			if c.Receivers[i].Fold == "event" {
				continue
			}
			for record := range tx.Queue(c.Receivers[i].Name).All() {
				in, err := incident.Decode(record.Body)
				if err == nil && now.Sub(in.Active) < c.Notify.ResolveAfter {
					s.sources.Recall(&matcher.Subject{Incident: in, Severity: c.SeverityOf(in.Event.Reason)})
				}
			}
		}
		return nil
	})
	if err != nil {
		s.options.Logger.Error("cannot read which open incidents hold others back", "err", err)
	}
}

// sameInhibition reports whether two configurations inhibit alike.
func sameInhibition(a, b *config.Config) bool {
	return reflect.DeepEqual(a.Inhibit, b.Inhibit) && a.InhibitBuiltIn == b.InhibitBuiltIn && a.Notify.ResolveAfter == b.Notify.ResolveAfter
}
