package agent

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/fleet"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/memory"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
	"github.com/edge-eventer/edge-eventer/spool"
)

// errNotStarted is returned by Status before the spool is open.
var errNotStarted = errors.New("the spool is not open yet")

// Status returns how the agent stands. It may be called from any goroutine, at any time while Run runs. With an error, which says why the
// spool cannot be read, it returns what is known without it.
func (a *Agent) Status() (status.Document, error) {
	d, err := a.gather()
	d.Judge()
	return d, err
}

// siteRecord returns what the engines are told of the site, and whether the link's budget is used up.
func (a *Agent) siteRecord() (text string, scarce bool, err error) {
	d, err := a.Status()
	if err != nil {
		return "", false, err
	}
	return string(fleet.Of(&d).JSON()), d.Budget.Level == status.CriticalOnly, nil
}

// gather fills a document from the stages.
func (a *Agent) gather() (status.Document, error) {
	d := status.Document{
		Agent: status.Agent{
			Version: a.options.Version, Revision: a.options.Revision, GoVersion: runtime.Version(), Started: a.started, Now: time.Now(),
		},
		Watch:      []status.Watch{},
		Spool:      status.Spool{Path: a.config.Spool.Path, Max: a.config.Spool.MaxBytes},
		Receivers:  []status.Receiver{},
		Deliveries: a.recent.Newest(),
		Budget:     budgetStatus(a.budget),
		Memory:     memory.Status(),
	}
	c, reading := a.receivers.Read()
	d.Cluster, d.Language, d.Config = c.Cluster, c.Language, reading
	for _, n := range a.namespaces() {
		d.Watch = append(d.Watch, watchStatus(&n))
	}
	a.mu.Lock()
	seen := a.seen
	a.mu.Unlock()
	d.SignInError, d.LinkState = seen.signInError, "unknown"
	if seen.link != nil {
		l := seen.link.Status()
		d.Link = status.Link{LinkState: l.State.String(), LinkSince: l.Since, LinkReason: l.Reason, Outages: l.Outages}
	}
	st := seen.stages
	if st == nil {
		if seen.notOpen != "" {
			return d, fmt.Errorf("%w: %s", errNotStarted, seen.notOpen)
		}
		return d, errNotStarted
	}
	d.Intake = st.intake.Status()
	d.Spool.BlockedSince, d.Spool.BlockedBy = st.intake.Blocked()
	d.Spool.File, d.Spool.Used = st.spool.Size()
	d.Spool.Compactions = st.spool.Compactions()
	d.Spool.Syncs = a.syncs.Syncs()
	d.Silences = a.silenceStatus(d.Now)
	err := st.spool.View(func(tx *spool.Tx) error {
		d.Spool.Ledger, d.Spool.Gaps = tx.LedgerLen(), ledger.Gaps(tx)
		d.Receivers = receiverStatus(tx, a.receivers.Deliveries(), st.intake, d.Now)
		for i := range d.Receivers {
			d.Receivers[i].MissingFiles = a.secrets.Unreadable(d.Receivers[i].Name)
		}
		return nil
	})
	if err != nil {
		return d, fmt.Errorf("read spool: %w", err)
	}
	return d, nil
}

// receiverStatus returns the configured receivers, and then the queues that have none and hold something.
func receiverStatus(tx *spool.Tx, deliveries []*deliver.Delivery, in *intake.Intake, now time.Time) []status.Receiver {
	receivers := make([]status.Receiver, 0, len(deliveries))
	configured := make(map[string]bool)
	for _, d := range deliveries {
		q := tx.Queue(d.Name())
		configured[d.Name()] = true
		r := status.Receiver{Name: d.Name(), Type: d.Type(), Sending: d.Status(), Queue: inbox.Status(q, now), Matches: in.MatchesHit(d.Name())}
		for _, m := range r.Muted {
			r.Held = min(r.Held+m.Events, r.Untold)
		}
		receivers = append(receivers, r)
	}
	for _, name := range tx.Receivers() {
		if q := inbox.Status(tx.Queue(name), now); !configured[name] && q.Records+q.Dead > 0 {
			receivers = append(receivers, status.Receiver{Name: name, Queue: q})
		}
	}
	return receivers
}

func watchStatus(n *health.Status) status.Watch {
	w := status.Watch{
		Namespace: n.Namespace, State: string(n.State), Since: n.Since, LastEvent: n.LastEvent, LastList: n.LastList, LastAnswer: n.LastAnswer,
		WatchCounts: status.WatchCounts{Lists: n.Lists, Watches: n.Watches, Expired: n.Expired, Failures: n.Failures, Skipped: n.Skipped},
	}
	if n.Failing != nil {
		w.FailingSince, w.Failure, w.Unseen = n.Failing.Since, n.Failing.Err.Error(), n.Failing.Unseen
	}
	return w
}

func budgetStatus(b *budget.Budget) *status.Budget {
	used := b.Used()
	s := &status.Budget{
		Level: b.Level().String(), Day: int64(used.Day.Total()), DayMax: b.Limit(budget.Day),
		Month: int64(used.Month.Total()), MonthMax: b.Limit(budget.Month), Receivers: make(map[string]status.Traffic),
	}
	s.Forecast, _ = b.Forecast()
	for name, usage := range b.Receivers() {
		s.Receivers[name] = status.Traffic{Received: usage.Month.In, Sent: usage.Month.Out}
	}
	return s
}
