package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxDailyRows bounds the statistics: what has no row of its own is counted as one.
	maxDailyRows = 32
	// maxDailyName bounds a row's name, and maxDaily all rows together: a value of the spool.
	maxDailyName = 64
	maxDaily     = 4 << 10
	// dailyValue and dailySent name what the spool keeps: the statistics since the last report, and when that was.
	dailyValue = "daily"
	dailySent  = "daily-sent"
)

// daily counts the failures per workload and reason since the last report.
type daily struct {
	Rows []dailyRow `json:"r,omitempty"`
	// Others counts what has no row.
	Others uint64 `json:"o,omitempty"`
}

type dailyRow struct {
	Name  string `json:"n"`
	Count uint64 `json:"c"`
	// First and Last are in Unix seconds.
	First int64 `json:"f"`
	Last  int64 `json:"l"`
}

func readDaily(tx *spool.Tx) (*daily, error) {
	d := new(daily)
	if text := tx.Value(dailyValue); len(text) > 0 {
		if err := json.Unmarshal(text, d); err != nil {
			return nil, fmt.Errorf("read daily statistics: %w", err)
		}
	}
	return d, nil
}

func (d *daily) write(tx *spool.Tx) error {
	for {
		text, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("write daily statistics: %w", err)
		}
		if len(text) <= maxDaily {
			return tx.SetValue(dailyValue, text)
		}
		// A reason of control characters needs 6 bytes for each of them.
		last := len(d.Rows) - 1
		d.Others += d.Rows[last].Count
		d.Rows = d.Rows[:last]
	}
}

// add counts an observation. The first maxDailyRows workloads of the day have rows.
func (d *daily) add(o *incident.Observation) {
	object := o.Event.InvolvedObject
	name := o.Workload
	if object.Namespace != "" {
		name = object.Namespace + "/" + name
	}
	name = strings.ToValidUTF8(fmt.Sprintf("%s %s %s", o.Event.Reason, object.Kind, name), "")
	for len(name) > maxDailyName {
		runes := []rune(name)
		name = string(runes[:len(runes)-1])
	}
	last := o.Event.LastSeen().Unix()
	i := slices.IndexFunc(d.Rows, func(r dailyRow) bool { return r.Name == name })
	switch {
	case i >= 0:
		r := &d.Rows[i]
		r.Count += uint64(o.New)
		r.First, r.Last = min(r.First, last), max(r.Last, last)
	case len(d.Rows) < maxDailyRows:
		d.Rows = append(d.Rows, dailyRow{Name: name, Count: uint64(o.New), First: last, Last: last})
	default:
		d.Others += uint64(o.New)
	}
}

// text is the report, one line a workload, the most failures first.
func (d *daily) text(zone *time.Location, language string) string {
	none, others, between := "No failure.", "%d further failures of other workloads", "%d × %s, %s to %s"
	if language == "zh" {
		none, others, between = "没有故障。", "其他工作负载另有 %d 次", "%d × %s，%s 至 %s"
	}
	rows := slices.SortedStableFunc(slices.Values(d.Rows), func(a, b dailyRow) int { return cmp.Compare(b.Count, a.Count) })
	var lines []string
	for _, r := range rows {
		clock := func(seconds int64) string { return time.Unix(seconds, 0).In(zone).Format("01-02 15:04") }
		lines = append(lines, fmt.Sprintf(between, r.Count, r.Name, clock(r.First), clock(r.Last)))
	}
	if d.Others > 0 {
		lines = append(lines, fmt.Sprintf(others, d.Others))
	}
	if len(lines) == 0 {
		return none
	}
	return strings.Join(lines, "\n")
}

// reportAt returns the first time after last at which the clock of the zone shows at, a time of day as HH:MM.
func reportAt(last time.Time, at string, zone *time.Location) (time.Time, error) {
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

// sendReports tells the daily statistics at report.at. One that fell due while the agent was down is told at the start.
func (a *Agent) sendReports(ctx context.Context, p *parts) error {
	for {
		c, reloaded := a.configurationUntil()
		var pause time.Duration
		if c.Report.At == "" {
			pause = idleWait
		} else {
			due, err := a.reportDue(c, p.spool)
			if err != nil {
				return err
			}
			pause = min(idleWait, time.Until(due))
			if pause <= 0 {
				if err := a.report(c, p); err != nil {
					a.logger.Error("the daily statistics cannot be told", "err", err)
					pause = time.Minute
				}
			}
		}
		if _, err := waitOr(ctx, max(0, pause), nil, reloaded); err != nil {
			return nil
		}
	}
}

// reportDue returns when the next report is due. The first one is due at the first report.at after the agent's first start.
func (a *Agent) reportDue(c *config.Config, s *spool.Spool) (time.Time, error) {
	last := a.started
	err := s.View(func(tx *spool.Tx) error {
		if text := tx.Value(dailySent); len(text) > 0 {
			return last.UnmarshalText(text)
		}
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("read time of the last report: %w", err)
	}
	if last.After(time.Now()) {
		// It was written while the clock was ahead.
		last = time.Now()
	}
	return reportAt(last, c.Report.At, c.Location())
}

// report puts the statistics into every queue and begins anew, in one transaction.
func (a *Agent) report(c *config.Config, p *parts) error {
	now, err := time.Now().MarshalText()
	if err != nil {
		return err
	}
	return p.own.tellIn(reasonReport, func(tx *spool.Tx) (string, error) {
		d, err := readDaily(tx)
		if err != nil {
			return "", err
		}
		if err := tx.SetValue(dailyValue, nil); err != nil {
			return "", err
		}
		return d.text(c.Location(), c.Language), tx.SetValue(dailySent, now)
	})
}

// sendHeartbeats tells a receiver that has heard nothing for the time of heartbeat that the agent is well.
func (a *Agent) sendHeartbeats(ctx context.Context, p *parts) error {
	told := make(map[string]time.Time)
	for {
		c, reloaded := a.configurationUntil()
		interval := c.Heartbeat
		pause := idleWait
		if interval > 0 {
			pause = min(idleWait, max(time.Minute, interval/24))
			a.mu.Lock()
			deliveries := a.deliveries()
			a.mu.Unlock()
			for _, d := range deliveries {
				last := latest(a.started, d.Status().LastDelivered, told[d.name])
				if time.Since(last) < interval {
					continue
				}
				if err := p.own.tell(reasonHeartbeat, heartbeatText(c.Language, interval), d.name); err != nil {
					a.logger.Error("the heartbeat cannot be told", "receiver", d.name, "err", err)
					continue
				}
				told[d.name] = time.Now()
			}
		}
		if _, err := waitOr(ctx, pause, nil, reloaded); err != nil {
			return nil
		}
	}
}

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}

// configurationUntil returns the one in use, and a channel that is closed when it is not any more.
func (a *Agent) configurationUntil() (*config.Config, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current, a.reloaded
}
