package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/edge-eventer/edge-eventer/agent/inhibit"
	"github.com/edge-eventer/edge-eventer/agent/timeinterval"
)

// maxIntervals bounds the names: each look at a queue asks those of its receiver.
const maxIntervals = 32

// checkIntervals compiles the time intervals. It comes before the receivers, which name them.
func (d *decoder) checkIntervals(c *Config) {
	if len(c.TimeIntervals) > maxIntervals {
		d.add("timeIntervals", "must be at most %d", maxIntervals)
	}
	c.intervals = make(map[string]*timeinterval.Interval)
	for i := range c.TimeIntervals[:min(len(c.TimeIntervals), maxIntervals)] {
		one, path := &c.TimeIntervals[i], fmt.Sprintf("timeIntervals[%d]", i)
		if !d.has(path) || d.reported(path) {
			continue
		}
		_, twice := c.intervals[one.Name]
		switch at := path + ".name"; {
		case d.reported(at):
		case one.Name == "":
			d.add(at, "must be set")
		case len(one.Name) > 63 || strings.ContainsFunc(one.Name, unicode.IsControl):
			d.add(at, "%s must be at most 63 bytes without control characters", quoted(one.Name))
		case twice:
			d.add(at, "%s is listed twice; a name must be unique", quoted(one.Name))
		}
		interval, err := timeinterval.New(one.Specs)
		d.addIntervalMistakes(path+".time_intervals", one.Specs, err)
		if one.Name != "" {
			c.intervals[one.Name] = interval
		}
	}
}

// addIntervalMistakes adds what package timeinterval found in the list at path, and lists that are there and empty, which the decoder
// leaves as if they were not there.
func (d *decoder) addIntervalMistakes(path string, specs []timeinterval.Spec, err error) {
	mistakes, _ := errors.AsType[timeinterval.Mistakes](err)
	for _, m := range mistakes {
		if at := path + m.Path; !d.reported(at) && !d.reported(path) {
			d.add(at, "%s", m.Text)
		}
	}
	for i := range specs {
		s, at := &specs[i], fmt.Sprintf("%s[%d]", path, i)
		for _, list := range []struct {
			key    string
			length int
		}{
			{"times", len(s.Times)}, {"weekdays", len(s.Weekdays)}, {"days_of_month", len(s.DaysOfMonth)},
			{"months", len(s.Months)}, {"years", len(s.Years)},
		} {
			if at := at + "." + list.key; list.length == 0 && d.has(at) && !d.reported(at) {
				d.add(at, "must not be empty; leave the key out to let it hold always")
			}
		}
	}
}

// checkInhibit compiles the rules of inhibition.
func (d *decoder) checkInhibit(c *Config) {
	var err error
	c.inhibit, err = inhibit.New(c.Inhibit, c.InhibitBuiltIn)
	mistakes, _ := errors.AsType[inhibit.Mistakes](err)
	for _, m := range mistakes {
		if at := "inhibit" + m.Path; !d.reported(at) && !d.reported("inhibit") {
			d.add(at, "%s", oneLine(m.Text))
		}
	}
}

// checkMuting looks for the names that a receiver uses.
func (d *decoder) checkMuting(path string, r *Receiver, c *Config) {
	for _, list := range []struct {
		key   string
		names []string
	}{{"muteTimeIntervals", r.MuteTimeIntervals}, {"activeTimeIntervals", r.ActiveTimeIntervals}} {
		if len(list.names) > maxIntervals {
			d.add(path+"."+list.key, "must be at most %d", maxIntervals)
		}
		for i, name := range list.names[:min(len(list.names), maxIntervals)] {
			at := fmt.Sprintf("%s.%s[%d]", path, list.key, i)
			if _, ok := c.intervals[name]; ok || !d.has(at) || d.reported(at) {
				continue
			}
			known := slices.Sorted(maps.Keys(c.intervals))
			if len(known) == 0 {
				d.add(at, "%s is no name of timeIntervals, which has none", quoted(name))
				continue
			}
			d.add(at, "%s is no name of timeIntervals;%s allowed: %s", quoted(name), meant(name, known), oneLine(strings.Join(known, ", ")))
		}
	}
	if r.MuteCritical && len(r.MuteTimeIntervals)+len(r.ActiveTimeIntervals) == 0 {
		d.note(path+".muteCritical", "not used without muteTimeIntervals or activeTimeIntervals")
	}
}
