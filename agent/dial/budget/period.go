package budget

import "time"

// date is a local date as year*10000 + month*100 + day, which sorts.
type date int32

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date(y*10000 + int(m)*100 + d)
}

func (d date) year() int         { return int(d / 10000) }
func (d date) month() time.Month { return time.Month(d / 100 % 100) }
func (d date) day() int          { return int(d % 100) }

// sameMonth compares without the day.
func (d date) sameMonth(o date) bool { return d/100 == o/100 }

func (d date) valid() bool {
	return d.year() >= 1 && d.year() <= 9999 && dateOf(time.Date(d.year(), d.month(), d.day(), 12, 0, 0, 0, time.UTC)) == d
}

// patience is how long a clock must stay before the stored date until it is believed: a Pi that starts in the past has its time
// soon after its link, while a clock that once was in the far future would stop the counters for years.
const patience = 24 * time.Hour

// roll moves to the period of the present date. A later date empties the counters. An earlier one does not: what is counted
// goes on under the stored date until the clock has passed it, or for patience. Then the earlier date is taken over
// with the counts as they are, and the date that was left is remembered: a return to it empties nothing, so
// that a machine whose clock is wrong for days starts no month twice.
func (b *Budget) roll() {
	s := &b.state
	now := b.options.Now()
	today := dateOf(now.In(b.options.Location))
	switch {
	case s.day == 0:
		s.day, s.since, b.dirty = today, now.Unix(), true
	case today == s.day:
		b.behind = -1
	case today > s.day:
		b.behind = -1
		if !today.sameMonth(s.day) && !today.sameMonth(s.left) {
			s.empty(Month)
		}
		if today != s.left {
			s.empty(Day)
		}
		if today >= s.left {
			s.left = 0
		}
		s.day, b.dirty = today, true
	default:
		running := time.Since(b.started)
		if b.behind < 0 {
			b.behind = running
		}
		if running-b.behind < patience {
			return
		}
		b.behind = -1
		// The latest date that was left is the one whose month must not be emptied again.
		s.left = max(s.left, s.day)
		s.day, b.dirty = today, true
		if s.since > now.Unix() {
			s.since = now.Unix()
		}
	}
}

// empty starts a period afresh.
func (s *state) empty(p Period) {
	s.noticed[p] = Free
	reset := func(u Usage) Usage {
		if p == Day {
			u.Day = Count{}
		} else {
			u.Month = Count{}
		}
		return u
	}
	s.all = reset(s.all)
	for name, u := range s.receivers {
		if u = reset(u); u == (Usage{}) {
			delete(s.receivers, name)
		} else {
			s.receivers[name] = u
		}
	}
}
