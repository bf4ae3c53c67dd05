package timeinterval

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// maxPeriods bounds the entries of one interval.
	maxPeriods = 32
	// maxRanges bounds each list of an entry. A month has 31 days, a day 48 half hours.
	maxRanges = 64
)

// Spec is an entry of a time_intervals list as the file has it. Nil lists hold always.
type Spec struct {
	Times []TimeRange `yaml:"times"`
	// Weekdays are names or ranges of names: monday:friday. The week begins with sunday.
	Weekdays []string `yaml:"weekdays"`
	// DaysOfMonth are 1 to 31, -1 (the last day) to -31, or ranges of them: 1:5, -3:-1.
	DaysOfMonth []string `yaml:"days_of_month"`
	// Months are names or numbers, or ranges of them: may:august, 1:3.
	Months []string `yaml:"months"`
	// Years are numbers or ranges of them: 2026:2028.
	Years []string `yaml:"years"`
	// Location is an IANA name, or Local for the zone of the machine. Default: UTC.
	Location string `yaml:"location"`
}

// TimeRange is a range of a day's minutes, HH:MM. The end is not in it and may be 24:00.
type TimeRange struct {
	Start string `yaml:"start_time"`
	End   string `yaml:"end_time"`
}

// Mistake is one thing that is wrong with a list of specs.
type Mistake struct {
	// Path is that of the key below the list, such as [0].weekdays[1].
	Path string
	// Text says what is wrong and what is allowed.
	Text string
}

// Mistakes are all that is wrong with a list of specs, in its order.
type Mistakes []Mistake

// Error returns one line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].Path + ": " + m[i].Text
	}
	return strings.Join(lines, "\n")
}

// New returns the interval that 1 to 32 specs describe, each list of which has at most 64 ranges. Its error is of type Mistakes and
// holds every mistake.
func New(specs []Spec) (*Interval, error) {
	var p parser
	if len(specs) == 0 || len(specs) > maxPeriods {
		p.add("", "must have 1 to %d entries", maxPeriods)
	}
	interval := &Interval{}
	for i := range specs[:min(len(specs), maxPeriods)] {
		p.path = fmt.Sprintf("[%d]", i)
		interval.periods = append(interval.periods, p.period(&specs[i]))
	}
	if len(p.mistakes) > 0 {
		return nil, p.mistakes
	}
	return interval, nil
}

// parser collects the mistakes of what it reads. path is that of the spec under way.
type parser struct {
	path     string
	mistakes Mistakes
}

func (p *parser) add(key, format string, args ...any) {
	p.mistakes = append(p.mistakes, Mistake{Path: p.path + key, Text: fmt.Sprintf(format, args...)})
}

func (p *parser) period(s *Spec) period {
	return period{
		minutes: p.times(s.Times),
		weekdays: p.spans(".weekdays", s.Weekdays, weekday,
			"a day such as monday, or a range such as monday:friday; the week begins with sunday"),
		days: p.spans(".days_of_month", s.DaysOfMonth, dayOfMonth,
			"a day from 1 to 31 or -31 to -1, or a range such as 1:5 or -3:-1"),
		months:   p.spans(".months", s.Months, month, "a month such as january or 1, or a range such as may:august"),
		years:    p.spans(".years", s.Years, year, "a year such as 2026, or a range such as 2026:2028"),
		location: p.location(s.Location),
	}
}

func (p *parser) location(name string) *time.Location {
	location, err := time.LoadLocation(name)
	if err != nil {
		p.add(".location", "%q is no time zone; write Local, UTC or an IANA name such as Asia/Shanghai", name)
		return time.UTC
	}
	return location
}

func (p *parser) times(ranges []TimeRange) []span {
	if !p.mayHave(".times", len(ranges), ranges == nil) {
		return nil
	}
	var spans []span
	for i, r := range ranges {
		key := fmt.Sprintf(".times[%d]", i)
		from, okFrom := minuteOfDay(r.Start)
		to, okTo := minuteOfDay(r.End)
		switch {
		case !okFrom:
			p.add(key+".start_time", "%q is no time of day; write HH:MM such as \"22:00\"", r.Start)
		case !okTo:
			p.add(key+".end_time", "%q is no time of day; write HH:MM such as \"06:00\", or \"24:00\"", r.End)
		case from >= to:
			p.add(key, "the start must lie before the end; a night is two ranges, one up to 24:00 and one from 00:00")
		}
		spans = append(spans, span{from, to})
	}
	return spans
}

func minuteOfDay(text string) (int, bool) {
	if text == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", text)
	return t.Hour()*60 + t.Minute(), err == nil && len(text) == len("15:04")
}

// spans reads ranges of which number reads each end. want says what is allowed.
func (p *parser) spans(key string, texts []string, number func(string) (int, bool), want string) []span {
	if !p.mayHave(key, len(texts), texts == nil) {
		return nil
	}
	var spans []span
	for i, text := range texts {
		key := fmt.Sprintf("%s[%d]", key, i)
		first, last, isRange := strings.Cut(text, ":")
		if !isRange {
			last = first
		}
		from, okFrom := number(first)
		to, okTo := number(last)
		switch {
		case !okFrom || !okTo:
			p.add(key, "%q is not %s", text, want)
		case from < 0 && to > 0:
			p.add(key, "%q begins before the end of the month and ends after its begin: both must count from the same end", text)
		case inShortestMonth(from) > inShortestMonth(to):
			p.add(key, "%q ends before it begins; nothing wraps around, write two ranges", text)
		}
		spans = append(spans, span{from, to})
	}
	return spans
}

// inShortestMonth turns a day that counts from the end of the month into one of a month of 28 days, as Alertmanager does to find out
// whether a range can hold a day in every month. Nothing else is negative.
func inShortestMonth(n int) int {
	if n < 0 {
		return 28 + n
	}
	return n
}

// mayHave reports whether a list of n ranges is to be read. One that is there and empty would hold never, which nobody means.
func (p *parser) mayHave(key string, n int, absent bool) bool {
	switch {
	case n > maxRanges:
		p.add(key, "must be at most %d ranges", maxRanges)
		return false
	case n == 0 && !absent:
		p.add(key, "must not be empty; leave the key out to let it hold always")
	}
	return n > 0
}

func weekday(text string) (int, bool) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		if strings.EqualFold(text, day.String()) {
			return int(day), true
		}
	}
	return 0, false
}

func month(text string) (int, bool) {
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(text, m.String()) || text == strconv.Itoa(int(m)) {
			return int(m), true
		}
	}
	return 0, false
}

func dayOfMonth(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n != 0 && n >= -31 && n <= 31
}

func year(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= 9999
}
