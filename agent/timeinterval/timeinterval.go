package timeinterval

import (
	"slices"
	"time"
)

// Interval is what a name of the configuration stands for: an instant lies in it when it lies in any of its periods.
type Interval struct {
	periods []period
}

// span is a range of whole numbers that holds both of its ends.
type span struct{ from, to int }

// period is one entry of a time_intervals list. An empty field holds always.
type period struct {
	// minutes are minutes of the day; their end is not in them.
	minutes []span
	// weekdays count from Sunday, which is 0.
	weekdays []span
	// days of the month count from 1, or from the end of the month with -1 as its last day.
	days     []span
	months   []span
	years    []span
	location *time.Location
}

// Contains reports whether t lies in the interval.
func (i *Interval) Contains(t time.Time) bool {
	for p := range i.periods {
		if i.periods[p].contains(t) {
			return true
		}
	}
	return false
}

func (p *period) contains(t time.Time) bool {
	t = t.In(p.location)
	minute := t.Hour()*60 + t.Minute()
	return p.containsDay(t) && anyOf(p.minutes, func(s span) bool { return minute >= s.from && minute < s.to })
}

// containsDay reports whether the day of t, which is a time of the period's location, is one of those that the period means.
func (p *period) containsDay(t time.Time) bool {
	return anyOf(p.days, func(s span) bool { return s.holdsDay(t) }) &&
		anyOf(p.months, func(s span) bool { return s.holds(int(t.Month())) }) &&
		anyOf(p.weekdays, func(s span) bool { return s.holds(int(t.Weekday())) }) &&
		anyOf(p.years, func(s span) bool { return s.holds(t.Year()) })
}

func anyOf(spans []span, holds func(span) bool) bool {
	return len(spans) == 0 || slices.ContainsFunc(spans, holds)
}

func (s span) holds(n int) bool { return n >= s.from && n <= s.to }

// holdsDay counts negative days from the end of the month of t, and takes what lies beyond a short month for its last day,
// unless the whole range does.
func (s span) holdsDay(t time.Time) bool {
	last := daysInMonth(t)
	from, to := fromEnd(s.from, last), fromEnd(s.to, last)
	return from <= last && span{max(from, -last), min(to, last)}.holds(t.Day())
}

func fromEnd(day, last int) int {
	if day < 0 {
		return last + day + 1
	}
	return day
}

// daysInMonth counts the whole days that the clock needs for the month of t, as Alertmanager does: a month in which the clock goes
// forward is a day shorter for it. DESIGN.md says why this is not put right here.
func daysInMonth(t time.Time) int {
	begin := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, t.Location())
	return int(begin.AddDate(0, 1, 0).Sub(begin) / (24 * time.Hour))
}
