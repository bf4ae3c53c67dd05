package agent

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Status returns how the agent stands. It may be called from any goroutine, at any time while Run runs. With an error, which says why the
// spool cannot be read, it returns what is known without it.
func (a *Agent) Status() (status.Document, error) {
	d, err := a.gather()
	d.Judge()
	return d, err
}

// gather fills a document from the stages.
func (a *Agent) gather() (status.Document, error) {
	a.mu.Lock()
	d := status.Document{
		Agent: status.Agent{
			Version: a.options.Version, Revision: a.options.Revision, GoVersion: runtime.Version(),
			Cluster: a.current.Cluster, Language: a.current.Language, Started: a.started, Now: time.Now(),
		},
		SignInError: a.signInError,
		Watch:       []status.Watch{},
		Spool:       status.Spool{Path: a.config.Spool.Path, Max: a.config.Spool.MaxBytes},
		Receivers:   []status.Receiver{},
		Deliveries:  a.recent.newest(),
		Budget:      budgetStatus(a.budget),
		Config:      a.reading,
		Memory:      readMemory("/proc/self/status"),
	}
	d.Config.NeedsRestart = a.needsRestart
	if a.link != nil {
		l := a.link.Status()
		d.Link = status.Link{State: l.State.String(), Since: l.Since, Reason: l.Reason, Outages: l.Outages}
	} else {
		d.Link.State = "unknown"
	}
	if a.watcher != nil {
		for _, n := range a.watcher.Status().Namespaces {
			d.Watch = append(d.Watch, watchStatus(&n))
		}
	}
	parts, deliveries, notOpen := a.parts, a.deliveries(), a.notOpen
	a.mu.Unlock()
	if parts == nil {
		if notOpen != "" {
			return d, fmt.Errorf("%w: %s", errNotStarted, notOpen)
		}
		return d, errNotStarted
	}
	d.Intake = parts.intake.stats.status()
	d.Intake.Rules = hits(parts.intake.rulesHit())
	d.Spool.BlockedSince, d.Spool.BlockedBy = parts.intake.stats.blocked()
	d.Spool.File, d.Spool.Used = parts.spool.Size()
	d.Spool.Compactions = parts.spool.Compactions()
	syncs := a.syncs.read()
	d.Spool.Syncs = status.Syncs{Count: syncs.Count(), Mean: syncs.Mean().Seconds(), Max: syncs.Max.Seconds(), Times: durationsStatus(&syncs)}
	err := parts.spool.View(func(tx *spool.Tx) error {
		d.Spool.Ledger, d.Spool.Gaps = tx.LedgerLen(), tx.Counter(gapCounter)
		d.Receivers = receiverStatus(tx, deliveries, parts.intake, d.Now)
		return nil
	})
	if err != nil {
		return d, fmt.Errorf("read spool: %w", err)
	}
	return d, nil
}

// receiverStatus returns the configured receivers, and then the queues that have none and hold something.
func receiverStatus(tx *spool.Tx, deliveries []*delivery, in *intake, now time.Time) []status.Receiver {
	receivers := make([]status.Receiver, 0, len(deliveries))
	configured := make(map[string]bool)
	for _, d := range deliveries {
		configured[d.name] = true
		r := status.Receiver{Name: d.name, Type: d.kind, Sending: d.Status().document(), Queue: queueStatus(tx.Queue(d.name)), Matches: hits(in.matchesHit(d.name))}
		splitDue(&r.Queue, tx.Queue(d.name), now)
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

// document returns what a delivery is doing as a part of the document.
func (s DeliveryStatus) document() status.Sending {
	d := status.Sending{
		State: s.State, Since: s.Since, Next: s.Next, RefusedSince: s.RefusedSince, LastError: s.LastError, FileMissing: s.FileMissing,
		LastDelivered: s.LastDelivered, AsideCount: s.AsideCount, MuteOnLosses: s.MuteOnLosses, Attempts: s.Attempts, Delivered: s.Delivered,
	}
	for i := range s.Aside {
		d.Aside = append(d.Aside, status.Aside(s.Aside[i]))
	}
	return d
}

// status returns the counters as a part of the document.
func (s *intakeStats) status() status.Intake {
	commitTimes := s.commitTimes.read()
	return status.Intake{
		Seen: s.seen.Load(), Known: s.known.Load(), Old: s.old.Load(), Filtered: s.filtered.Load(),
		Committed: s.committed.Load(), Critical: s.critical.Load(), Folded: s.folded.Load(),
		Commits: s.commits.Load(), Failures: s.failures.Load(), CommitTimes: durationsStatus(&commitTimes),
	}
}

// blocked returns since when the spool refuses writes, and why; the zero time while it does not.
func (s *intakeStats) blocked() (since time.Time, why string) {
	at := s.blockedSince.Load()
	if at == 0 {
		return time.Time{}, ""
	}
	if w := s.blockedBy.Load(); w != nil {
		why = *w
	}
	return time.Unix(0, at), why
}

func durationsStatus(d *Durations) status.Durations {
	s := status.Durations{Counts: d.Buckets[:], Sum: d.Sum.Seconds()}
	for _, bound := range durationBounds() {
		s.Bounds = append(s.Bounds, bound.Seconds())
	}
	return s
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

// hits returns how often each rule decided.
func hits(rules []filter.Count) []uint64 {
	counts := make([]uint64, len(rules))
	for i, r := range rules {
		counts[i] = r.Hits
	}
	return counts
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
