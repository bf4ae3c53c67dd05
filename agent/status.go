package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/agent/watch"
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
		Memory:     readMemory("/proc/self/status"),
	}
	c, reading := a.receivers.Read()
	d.Cluster, d.Language, d.Config = c.Cluster, c.Language, reading
	for _, n := range a.namespaces() {
		d.Watch = append(d.Watch, watchStatus(&n))
	}
	a.mu.Lock()
	seen := a.seen
	a.mu.Unlock()
	d.SignInError, d.Link.State = seen.signInError, "unknown"
	if seen.link != nil {
		l := seen.link.Status()
		d.Link = status.Link{State: l.State.String(), Since: l.Since, Reason: l.Reason, Outages: l.Outages}
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
		r := status.Receiver{Name: d.Name(), Type: d.Type(), Sending: d.Status(), Queue: queueStatus(q), Matches: in.MatchesHit(d.Name())}
		splitDue(&r.Queue, q, now)
		for _, m := range r.Muted {
			r.Held = min(r.Held+m.Events, r.Untold)
		}
		receivers = append(receivers, r)
	}
	for _, name := range tx.Receivers() {
		if q := queueStatus(tx.Queue(name)); !configured[name] && q.Records+q.Dead > 0 {
			receivers = append(receivers, status.Receiver{Name: name, Queue: q})
		}
	}
	return receivers
}

func queueStatus(q *spool.Queue) status.Queue {
	s := status.Queue{
		Records: q.Len(), Untold: q.Untold(), Bytes: q.Bytes(), Dead: q.DeadLen(),
		Losses: lossStatus(q.TotalLosses()), UntoldLosses: lossStatus(q.UntoldLosses()),
	}
	if oldest, ok := q.Oldest(); ok {
		s.Oldest = oldest.Added
	}
	return s
}

func lossStatus(losses []spool.Loss) (s []status.Loss) {
	for _, l := range losses {
		s = append(s, status.Loss{Cause: l.Cause, Incidents: l.Records, Events: l.Events, Times: l.Times, Since: l.Since})
	}
	return s
}

// maxHeld is further ahead than any record is due.
const maxHeld = 10 * 365 * 24 * time.Hour

// splitDue tells what is due from what is held back. It looks at so many records as the status page does, in the order in which they are due:
// of a longer backlog all counts as due.
func splitDue(s *status.Queue, q *spool.Queue, now time.Time) {
	due, looked := uint64(0), 0
	for record := range q.Due(now.Add(maxHeld)) {
		if looked++; looked > maxLooked {
			return
		}
		switch {
		case !record.Due.After(now):
			due += uint64(record.Untold)
		case record.Untold > 0:
			s.NextDue, s.Held = record.Due, s.Untold-min(due, s.Untold)
			return
		}
	}
}

func watchStatus(n *watch.NamespaceStatus) status.Watch {
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

// readMemory reads the lines of proc(5) status that tell the memory budget.
func readMemory(path string) (m status.Memory) {
	text, err := os.ReadFile(path)
	if err != nil {
		return m
	}
	fields := map[string]*int64{"VmRSS": &m.Resident, "RssAnon": &m.Anonymous, "RssFile": &m.File, "VmHWM": &m.Peak}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if field := fields[name]; field != nil {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			*field = kib << 10
		}
	}
	return m
}
