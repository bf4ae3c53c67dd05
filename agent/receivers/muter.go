package receivers

import (
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/mute"
)

// muterOf returns what holds incidents of a receiver back. Silences are for people: an archive of every event has no use for them.
func (s *Set) muterOf(c *config.Config, r *config.Receiver) *mute.Muter {
	named := func(names []string) (intervals []mute.Named) {
		for _, name := range names {
			intervals = append(intervals, mute.Named{Name: name, Interval: c.Interval(name)})
		}
		return intervals
	}
	m := &mute.Muter{Mute: named(r.MuteTimeIntervals), Active: named(r.ActiveTimeIntervals), Critical: r.MuteCritical}
	if r.Fold != "event" {
		m.Silences = s.options.Silences
	}
	return m
}
