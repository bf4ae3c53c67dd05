package selfreport

import (
	"context"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/daily"
	"github.com/edge-eventer/edge-eventer/agent/notice"
	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/spool"
)

// idleWait is the longest wait for something to be due. A clock that jumped is noticed then at the latest.
const idleWait = time.Hour

// Settings returns the configuration in use, and a channel that is closed when it is not any more.
type Settings func() (*config.Config, <-chan struct{})

// Daily tells the daily statistics at report.at. A report that fell due while the agent was down is told at the start; the first one is
// due at the first report.at after started. It returns nil when ctx ends, or an error where the spool does not say when the last one was.
func (r *Reporter) Daily(ctx context.Context, settings Settings, started time.Time) error {
	// ahead is since when the last report is known to be noted by a clock that ran ahead: the next one is due after that.
	var ahead time.Time
	for {
		c, reloaded := settings()
		pause := idleWait
		if c.Report.At != "" {
			due, err := r.dailyDue(c, started, &ahead)
			if err != nil {
				return err
			}
			pause = min(idleWait, time.Until(due))
			if pause <= 0 {
				if err := r.tellDaily(c); err != nil {
					r.Logger.Error("the daily statistics cannot be told", "err", err)
					pause = time.Minute
				}
			}
		}
		if _, err := retry.WaitOr(ctx, max(0, pause), nil, reloaded); err != nil {
			return nil
		}
	}
}

// dailyDue returns when the next report is due.
func (r *Reporter) dailyDue(c *config.Config, started time.Time, ahead *time.Time) (time.Time, error) {
	last := started
	err := r.Spool.View(func(tx *spool.Tx) error {
		sent, ok, err := daily.Sent(tx)
		if ok {
			last = sent
		}
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	switch {
	case !last.After(now):
		*ahead = time.Time{}
	case ahead.IsZero():
		*ahead = now
		last = now
	default:
		last = *ahead
	}
	return daily.Due(last, c.Report.At, c.Location())
}

// tellDaily puts the statistics into every queue and begins anew, in one transaction.
func (r *Reporter) tellDaily(c *config.Config) error {
	return r.TellIn(notice.Report, func(tx *spool.Tx) (string, error) {
		d, err := daily.Take(tx, time.Now())
		if err != nil {
			return "", err
		}
		return d.Text(c.Location(), c.Language), nil
	})
}

// Heartbeats tells a receiver that has heard nothing for the time of heartbeat, since the start at the earliest, that the agent is
// well. heard returns the receivers and when each last confirmed a message. It returns nil when ctx ends.
func (r *Reporter) Heartbeats(ctx context.Context, settings Settings, started time.Time, heard func() map[string]time.Time) error {
	notified := make(map[string]time.Time)
	for {
		c, reloaded := settings()
		pause := idleWait
		if interval := c.Heartbeat; interval > 0 {
			pause = min(idleWait, max(time.Minute, interval/24))
			for name, last := range heard() {
				if time.Since(latest(started, last, notified[name])) < interval {
					continue
				}
				if err := r.Tell(notice.Heartbeat, notice.HeartbeatText(c.Language, interval), name); err != nil {
					r.Logger.Error("the heartbeat cannot be told", "receiver", name, "err", err)
					continue
				}
				notified[name] = time.Now()
			}
		}
		if _, err := retry.WaitOr(ctx, pause, nil, reloaded); err != nil {
			return nil
		}
	}
}

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}
