package timeinterval

import "time"

// horizon is how far Next looks ahead: over a leap day, as every date comes within it that comes each year.
const horizon = 400 * 24 * time.Hour

// Next returns the first instant after t at which Contains says something else than at t. It reports false where that does not come
// within 400 days.
func (i *Interval) Next(t time.Time) (time.Time, bool) {
	now, end := i.Contains(t), t.Add(horizon)
	for {
		next := end
		for p := range i.periods {
			if at := i.periods[p].border(t); at.Before(next) {
				next = at
			}
		}
		if !next.Before(end) {
			return time.Time{}, false
		}
		if i.Contains(next) != now {
			return next, true
		}
		t = next
	}
}

// border returns the next instant after t at which what the period says may change: its next minute of the day, the next midnight, or
// a change of the zone's clock. Until that change the clock runs evenly, so that all of it is a matter of seconds of the day.
func (p *period) border(t time.Time) time.Time {
	const day = 24 * 60
	t = t.In(p.location)
	_, change := t.ZoneBounds()
	second := (t.Hour()*60+t.Minute())*60 + t.Second()
	midnight := t.Add(-time.Duration(second)*time.Second - time.Duration(t.Nanosecond()))
	next := day
	if p.containsDay(t) {
		for _, s := range p.minutes {
			for _, minute := range []int{s.from, s.to} {
				if minute*60 > second && minute < next {
					next = minute
				}
			}
		}
	}
	at := midnight.Add(time.Duration(next) * time.Minute)
	if !change.IsZero() && change.Before(at) {
		return change
	}
	return at
}
