// Package daily keeps the statistics of the daily report: how often each workload failed since the last one, and why. It promises that
// they fit into one value of the spool, 4 KiB, whatever is counted.
package daily

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxRows bounds the statistics: what has no row of its own is counted as one.
	maxRows = 32
	// maxName bounds a row's name, and maxBytes all rows together: a value of the spool.
	maxName  = 64
	maxBytes = 4 << 10
	// statisticsValue, beforeValue and sentValue name what the spool keeps: the statistics since the last report, those of the one before, and
	// when that was.
	statisticsValue = "daily"
	beforeValue     = "daily-before"
	sentValue       = "daily-sent"
)

// Statistics count the failures per workload and reason since the last report.
type Statistics struct {
	Rows []row `json:"r,omitempty"`
	// Others counts what has no row.
	Others uint64 `json:"o,omitempty"`

	// before are those of the report before; nil: there was none.
	before *Statistics
}

type row struct {
	Name  string `json:"n"`
	Count uint64 `json:"c"`
	// First and Last are in Unix seconds.
	First int64 `json:"f"`
	Last  int64 `json:"l"`
}

// Read returns the statistics since the last report.
func Read(tx *spool.Tx) (*Statistics, error) { return read(tx, statisticsValue) }

func read(tx *spool.Tx, name string) (*Statistics, error) {
	d := new(Statistics)
	if text := tx.Value(name); len(text) > 0 {
		if err := json.Unmarshal(text, d); err != nil {
			return nil, fmt.Errorf("read daily statistics: %w", err)
		}
	}
	return d, nil
}

// Write stores the statistics, without the last rows where they need more room than there is: what these had is counted.
func (d *Statistics) Write(tx *spool.Tx) error {
	for {
		text, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("write daily statistics: %w", err)
		}
		if len(text) <= maxBytes {
			return tx.SetValue(statisticsValue, text)
		}
		// A reason of control characters needs 6 bytes for each of them.
		last := len(d.Rows) - 1
		d.Others += d.Rows[last].Count
		d.Rows = d.Rows[:last]
	}
}

// Add counts an observation. The first maxRows workloads of the day have rows.
func (d *Statistics) Add(o *incident.Observation) {
	object := o.Event.InvolvedObject
	name := o.Workload
	if object.Namespace != "" {
		name = object.Namespace + "/" + name
	}
	name = strings.ToValidUTF8(fmt.Sprintf("%s %s %s", o.Event.Reason, object.Kind, name), "")
	for len(name) > maxName {
		runes := []rune(name)
		name = string(runes[:len(runes)-1])
	}
	last := o.Event.LastSeen().Unix()
	i := slices.IndexFunc(d.Rows, func(r row) bool { return r.Name == name })
	switch {
	case i >= 0:
		r := &d.Rows[i]
		r.Count += uint64(o.New)
		r.First, r.Last = min(r.First, last), max(r.Last, last)
	case len(d.Rows) < maxRows:
		d.Rows = append(d.Rows, row{Name: name, Count: uint64(o.New), First: last, Last: last})
	default:
		d.Others += uint64(o.New)
	}
}

// Text is the report: what changed since the one before, then one line a workload, the most failures first.
func (d *Statistics) Text(zone *time.Location, language string) string {
	none, others, between := "No failure.", "%d further failures of other workloads", "%d × %s, %s to %s"
	if language == "zh" {
		none, others, between = "没有故障。", "其他工作负载另有 %d 次", "%d × %s，%s 至 %s"
	}
	rows := slices.SortedStableFunc(slices.Values(d.Rows), func(a, b row) int { return cmp.Compare(b.Count, a.Count) })
	var lines []string
	for _, r := range rows {
		clock := func(seconds int64) string { return time.Unix(seconds, 0).In(zone).Format("01-02 15:04") }
		lines = append(lines, fmt.Sprintf(between, r.Count, r.Name, clock(r.First), clock(r.Last)))
	}
	if d.Others > 0 {
		lines = append(lines, fmt.Sprintf(others, d.Others))
	}
	changes := d.changes(language)
	if len(lines) == 0 {
		lines, changes = append([]string{none}, changes...), nil
	}
	return strings.Join(append(changes, lines...), "\n")
}

// Due returns the first time after last at which the clock of the zone shows at, a time of day as HH:MM.
func Due(last time.Time, at string, zone *time.Location) (time.Time, error) {
	clock, err := time.Parse("15:04", at)
	if err != nil {
		return time.Time{}, fmt.Errorf("report.at: %w", err)
	}
	y, m, d := last.In(zone).Date()
	next := time.Date(y, m, d, clock.Hour(), clock.Minute(), 0, 0, zone)
	if !next.After(last) {
		next = time.Date(y, m, d+1, clock.Hour(), clock.Minute(), 0, 0, zone)
	}
	return next, nil
}

// Sent returns when the last report was told, and false where none was.
func Sent(tx *spool.Tx) (last time.Time, ok bool, err error) {
	text := tx.Value(sentValue)
	if len(text) == 0 {
		return last, false, nil
	}
	if err := last.UnmarshalText(text); err != nil {
		return last, false, fmt.Errorf("read time of the last report: %w", err)
	}
	return last, true, nil
}

// Take returns the statistics, and begins anew at now.
func Take(tx *spool.Tx, now time.Time) (*Statistics, error) {
	d, err := Read(tx)
	if err != nil {
		return nil, err
	}
	if len(tx.Value(beforeValue)) > 0 {
		if d.before, err = read(tx, beforeValue); err != nil {
			return nil, err
		}
	}
	// A day without failures is kept too: it says that there was a report.
	today, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("keep daily statistics: %w", err)
	}
	if err := tx.SetValue(beforeValue, today); err != nil {
		return nil, err
	}
	if err := tx.SetValue(statisticsValue, nil); err != nil {
		return nil, err
	}
	text, err := now.MarshalText()
	if err != nil {
		return nil, fmt.Errorf("note time of the report: %w", err)
	}
	return d, tx.SetValue(sentValue, text)
}
