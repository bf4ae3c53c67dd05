package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/page"
	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// keepHistory takes a sample every page.Step until ctx ends, and writes all of them then. Meanwhile they are written with the note
// that the watch is well, every sightStamp: that is what a power cut forgets at most, and no fsync of its own.
func (a *Agent) keepHistory(ctx context.Context, s *spool.Spool) error {
	a.history.Add(a.sample())
	for retry.Wait(ctx, page.Step) == nil {
		a.history.Add(a.sample())
	}
	a.history.Add(a.sample())
	if err := s.Update(a.storeHistory); err != nil {
		a.logger.Debug("the history of the status page is not written", "err", err)
	}
	return nil
}

// storeHistory writes the samples and the last deliveries.
func (a *Agent) storeHistory(tx *spool.Tx) error {
	return cmp.Or(a.history.Store(tx), a.recent.Store(tx))
}

// loadHistory takes up what the last run stored. What cannot be read is no reason not to start.
func (a *Agent) loadHistory(s *spool.Spool) error {
	var unreadable error
	err := s.View(func(tx *spool.Tx) error {
		unreadable = errors.Join(a.history.Restore(tx), a.recent.Restore(tx))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	if unreadable != nil {
		a.logger.Warn("the history of the status page begins anew", "err", unreadable)
	}
	return nil
}

// sample returns how the agent stands for the pictures of the status page.
func (a *Agent) sample() page.Sample {
	// Without the spool the document says what is known, and that is what the picture shows.
	d, _ := a.Status()
	return page.SampleOf(&d)
}

// eachIncident yields the incidents in the queue of the first receiver that folds, or of the first of all: the others' are the same
// problems.
func (a *Agent) eachIncident(yield func(page.Incident) bool) error {
	st := a.running()
	c, _ := a.receivers.Settings()
	if st == nil {
		return errNotStarted
	}
	name := c.Receivers[0].Name
	for _, r := range c.Receivers {
		if r.Fold != "event" {
			name = r.Name
			break
		}
	}
	err := st.spool.View(func(tx *spool.Tx) error {
		return inbox.Incidents(tx.Queue(name), func(in *incident.Incident) bool {
			e := &in.Event
			if in.Own && e.Reason == notify.SiteStatus {
				return true
			}
			_, last := in.Span(time.Now())
			return yield(page.Incident{
				Severity: string(c.SeverityOf(e.Reason)), Namespace: e.InvolvedObject.Namespace, Kind: e.InvolvedObject.Kind,
				Workload: in.Workload, Reason: e.Reason, Message: e.Message, Occurrences: in.Occurrences, Last: last, Told: in.Untold() == 0,
			})
		})
	})
	if err != nil {
		return fmt.Errorf("read incidents: %w", err)
	}
	return nil
}
