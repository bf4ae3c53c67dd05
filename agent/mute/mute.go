package mute

import (
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/inhibit"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/agent/timeinterval"
	"github.com/edge-eventer/edge-eventer/notify"
)

// The kinds of reasons.
const (
	Inhibition   = "inhibition"
	TimeInterval = "time interval"
	Silence      = "silence"
)

// Reason says what holds an incident back.
type Reason struct {
	// Kind is Inhibition, TimeInterval or Silence.
	Kind string
	// Name is that of the rule, of the time interval (empty where it is none of the active ones), or the ID of the silence.
	Name string
}

// Named is a time interval with its name.
type Named struct {
	Name     string
	Interval *timeinterval.Interval
}

// Muter holds back for one receiver. A nil Muter holds nothing.
type Muter struct {
	// The receiver is muted within any of Mute, and outside of all of Active where there are any.
	Mute, Active []Named
	// Critical says that critical incidents are held by time intervals too.
	Critical bool
	// Silences and Sources are asked where the receiver is one for people; nil: they do not apply.
	Silences *silence.Set
	Sources  *inhibit.Sources
}

// Verdict is what a muter says at one instant.
type Verdict struct {
	// Until is when the verdict may be another one; zero: not within a year.
	Until time.Time

	muted    bool
	why      Reason
	critical bool
	active   []*silence.Silence
	sources  *inhibit.Sources
	now      time.Time
	present  func(key string) bool
}

// At returns the verdict at an instant. The source of an inhibition counts only where present finds the key of its incident in the
// receiver's queue: what a receiver is not told of holds nothing back from it.
func (m *Muter) At(now time.Time, present func(key string) bool) *Verdict {
	if m == nil {
		return nil
	}
	v := &Verdict{critical: m.Critical, now: now, present: present}
	if m.Sources != nil && m.Sources.Len(now) > 0 {
		v.sources = m.Sources
	}
	v.times(m, now)
	if m.Silences == nil {
		return v
	}
	for _, s := range m.Silences.All() {
		switch s.State(now) {
		case silence.Active:
			v.active = append(v.active, s)
			v.sooner(s.EndsAt)
		case silence.Pending:
			v.sooner(s.StartsAt)
		}
	}
	return v
}

func (v *Verdict) times(m *Muter, now time.Time) {
	for _, n := range slices.Concat(m.Mute, m.Active) {
		if next, ok := n.Interval.Next(now); ok {
			v.sooner(next)
		}
	}
	contains := func(n Named) bool { return n.Interval.Contains(now) }
	if len(m.Active) > 0 && !slices.ContainsFunc(m.Active, contains) {
		v.muted, v.why = true, Reason{Kind: TimeInterval}
	}
	if i := slices.IndexFunc(m.Mute, contains); i >= 0 {
		v.muted, v.why = true, Reason{TimeInterval, m.Mute[i].Name}
	}
}

func (v *Verdict) sooner(t time.Time) {
	if v.Until.IsZero() || t.Before(v.Until) {
		v.Until = t
	}
}

// Holds reports whether there is anything that may hold an incident back.
func (v *Verdict) Holds() bool { return v != nil && (v.muted || len(v.active) > 0 || v.sources != nil) }

// Hold returns why an incident is held back, and false where it is not.
func (v *Verdict) Hold(s *matcher.Subject) (Reason, bool) {
	if v == nil {
		return Reason{}, false
	}
	if source, ok := v.inhibited(s); ok {
		return Reason{Inhibition, source.Rule}, true
	}
	if v.muted && (v.critical || s.Severity != notify.Critical) {
		return v.why, true
	}
	return v.Silenced(s)
}

func (v *Verdict) inhibited(s *matcher.Subject) (inhibit.Source, bool) {
	if v.sources == nil {
		return inhibit.Source{}, false
	}
	source, ok := v.sources.Holding(s, v.now)
	if !ok || !v.present(source.Incident) {
		return source, false
	}
	v.sooner(source.Until)
	return source, true
}

// Silenced is Hold by silences only.
func (v *Verdict) Silenced(s *matcher.Subject) (Reason, bool) {
	if v == nil {
		return Reason{}, false
	}
	for _, one := range v.active {
		if one.Covers(s) {
			return Reason{Silence, one.ID}, true
		}
	}
	return Reason{}, false
}
