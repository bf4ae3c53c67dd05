package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Status is what the agent is doing. It is what /metrics, /readyz and the status command show.
type Status struct {
	Version string
	// Revision is the commit that the agent was built of.
	Revision string
	Started  time.Time
	Now      time.Time
	// Cluster is the configured name.
	Cluster string
	// Language is the configured one.
	Language string
	// Watch has one entry per watched namespace; none before the agent has signed in.
	Watch []watch.NamespaceStatus
	// SignInError says what keeps the agent from signing in; empty: it has.
	SignInError string
	Intake      IntakeStatus
	Spool       SpoolStatus
	// Receivers are those of the configuration, in its order, and then, with an empty Type, the queues on disk that have none.
	Receivers []ReceiverStatus
	// Recent are the last deliveries, the newest first.
	Recent []control.Delivery
	Link   link.Status
	Budget BudgetStatus
	Memory MemoryStatus
	// Config says how the last reading of the configuration ended.
	Config control.Configuration
	// NeedsRestart lists, as sentences, what a reload read and could not put to use.
	NeedsRestart []string
}

// IntakeStatus counts what the watch showed, in event versions, since the agent started.
type IntakeStatus struct {
	// Seen = Known (taken before) + Old (before startupLookback) + Filtered + Committed.
	Seen, Known, Old, Filtered, Committed uint64
	// Critical are those of Committed whose severity is critical.
	Critical uint64
	// Folded counts the events that joined an incident in a queue instead of making one, in each queue.
	Folded uint64
	// Commits are transactions, Failures those that the disk refused; CommitTimes is how long the commits took, from the begin of
	// the transaction to its last fsync.
	Commits, Failures uint64
	CommitTimes       Durations
	// Rules are the filter's rules and how often each decided.
	Rules []filter.Count
	// BlockedSince is when the spool began to refuse writes, and BlockedBy why; zero: it does not.
	BlockedSince time.Time
	BlockedBy    string
}

// SpoolStatus is the size of the spool in bytes.
type SpoolStatus struct {
	// Path of the file.
	Path            string
	File, Used, Max int64
	// Ledger is the number of events in the ledger.
	Ledger int
	// Gaps counts, since the spool was made, the absences in which events may have come and gone unseen.
	Gaps uint64
	// Compactions counts, since the start, how often the file was written anew because too much of it was empty.
	Compactions uint64
	// SyncTimes is how long the commits of events and of acknowledgements wrote and synced; on an SD card that is the fsync.
	SyncTimes Durations
}

// ReceiverStatus is the queue of one receiver and what its delivery is doing.
type ReceiverStatus struct {
	Name, Type string
	// Waiting is the number of records in the queue, among them incidents that were told and are remembered until they are
	// over; Untold counts the observations that were not delivered; Bytes is the size of the records.
	Waiting int
	Untold  uint64
	Bytes   int64
	// Held are those of Untold whose record is due at NextDue or later.
	Held    uint64
	NextDue time.Time
	// Oldest is when the oldest record arrived; zero: the queue is empty.
	Oldest time.Time
	// Dead is the number of dead letters.
	Dead int
	// Losses are those since the spool was made, by cause.
	Losses []spool.Loss
	// UntoldLosses are those that the receiver has not confirmed yet.
	UntoldLosses []spool.Loss
	// Matches are the receiver's match rules and how often each was the first to match.
	Matches  []filter.Count
	Delivery DeliveryStatus
}

// BudgetStatus is what went over the link, in bytes both ways.
type BudgetStatus struct {
	Level            budget.Level
	Used             budget.Usage
	DayMax, MonthMax int64
	// Forecast is what the month will have used at its end; 0 while that cannot be said.
	Forecast int64
	// Receivers are the accounts of the receivers.
	Receivers map[string]budget.Usage
}

// MemoryStatus is the process's memory in bytes, from /proc/self/status; 0 where there is none.
type MemoryStatus struct {
	Resident, Anonymous, File, Peak int64
}

// Status returns what the agent is doing. It may be called at any time while Run runs.
func (a *Agent) Status() (Status, error) {
	a.mu.Lock()
	s := Status{
		Version:      a.options.Version,
		Revision:     a.options.Revision,
		Started:      a.started,
		Now:          time.Now(),
		Cluster:      a.current.Cluster,
		Language:     a.current.Language,
		SignInError:  a.signInError,
		Memory:       readMemory("/proc/self/status"),
		Recent:       a.recent.newest(),
		Config:       a.reading,
		NeedsRestart: a.needsRestart,
	}
	if a.link != nil {
		s.Link = a.link.Status()
	}
	s.Budget = BudgetStatus{
		Level: a.budget.Level(), Used: a.budget.Used(), DayMax: a.budget.Limit(budget.Day), MonthMax: a.budget.Limit(budget.Month),
		Receivers: a.budget.Receivers(),
	}
	s.Budget.Forecast, _ = a.budget.Forecast()
	parts, deliveries := a.parts, a.deliveries()
	if a.watcher != nil {
		s.Watch = a.watcher.Status().Namespaces
	}
	s.Spool.Path, s.Spool.Max = a.config.Spool.Path, a.config.Spool.MaxBytes
	notOpen := a.notOpen
	a.mu.Unlock()
	if parts == nil {
		if notOpen != "" {
			return s, fmt.Errorf("%w: %s", errNotStarted, notOpen)
		}
		return s, errNotStarted
	}
	s.Intake = parts.intake.stats.status()
	s.Intake.Rules = parts.intake.rulesHit()
	s.Spool.File, s.Spool.Used = parts.spool.Size()
	s.Spool.Compactions = parts.spool.Compactions()
	s.Spool.SyncTimes = a.syncs.read()
	err := parts.spool.View(func(tx *spool.Tx) error {
		s.Spool.Ledger, s.Spool.Gaps = tx.LedgerLen(), tx.Counter(gapCounter)
		configured := make(map[string]bool)
		for _, d := range deliveries {
			configured[d.name] = true
			r := queueStatus(tx, d.name)
			r.split(tx.Queue(d.name), s.Now)
			r.Type, r.Delivery, r.Matches = d.kind, d.Status(), parts.intake.matchesHit(d.name)
			s.Receivers = append(s.Receivers, r)
		}
		for _, name := range tx.Receivers() {
			if r := queueStatus(tx, name); !configured[name] && r.Waiting+r.Dead > 0 {
				s.Receivers = append(s.Receivers, r)
			}
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("read spool: %w", err)
	}
	return s, nil
}

func queueStatus(tx *spool.Tx, name string) ReceiverStatus {
	q := tx.Queue(name)
	r := ReceiverStatus{
		Name: name, Waiting: q.Len(), Untold: q.Untold(), Bytes: q.Bytes(), Dead: q.DeadLen(), Losses: q.TotalLosses(), UntoldLosses: q.UntoldLosses(),
	}
	if oldest, ok := q.Oldest(); ok {
		r.Oldest = oldest.Added
	}
	return r
}

// split tells what is due from what is held back. It looks at so many records as the page does, in the order in which they are due: of a
// longer backlog all counts as due.
func (r *ReceiverStatus) split(q *spool.Queue, now time.Time) {
	due, looked := uint64(0), 0
	for record := range q.Due(now.Add(maxHeld)) {
		if looked++; looked > maxGlance {
			return
		}
		switch {
		case !record.Due.After(now):
			due += uint64(record.Untold)
		case record.Untold > 0:
			r.NextDue, r.Held = record.Due, r.Untold-min(due, r.Untold)
			return
		}
	}
}

// maxHeld is further ahead than any record is due.
const maxHeld = 10 * 365 * 24 * time.Hour

func (s *intakeStats) status() IntakeStatus {
	status := IntakeStatus{
		Seen: s.seen.Load(), Known: s.known.Load(), Old: s.old.Load(), Filtered: s.filtered.Load(),
		Committed: s.committed.Load(), Critical: s.critical.Load(), Commits: s.commits.Load(), Failures: s.failures.Load(),
		Folded: s.folded.Load(), CommitTimes: s.commitTimes.read(),
	}
	if since := s.blockedSince.Load(); since != 0 {
		status.BlockedSince = time.Unix(0, since)
		if why := s.blockedBy.Load(); why != nil {
			status.BlockedBy = *why
		}
	}
	return status
}

// readMemory reads the lines of proc(5) status that tell the memory budget.
func readMemory(path string) (m MemoryStatus) {
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

// problem is a reason why the agent is not ready. What is the agent's own words, in English and Chinese; why may hold those of a receiver or
// of the API server.
type problem struct{ what, zh, why string }

// sentences returns problems as sentences, with the words of others or without.
func sentences(problems []problem, with bool) []string {
	var texts []string
	for _, p := range problems {
		if with && p.why != "" {
			p.what += ": " + p.why
		}
		texts = append(texts, p.what)
	}
	return texts
}

// reasons returns problems as sentences in the configured language.
func (s *Status) reasons() []string {
	problems := s.problems()
	if s.Language == "zh" {
		for i := range problems {
			problems[i].what = problems[i].zh
		}
	}
	return sentences(problems, true)
}

// Problems lists, as sentences, why the agent is not ready: the watch does not see, the spool cannot be written, a receiver
// refuses. The link being away is none: that is what the spool is for.
func (s *Status) Problems() []string { return sentences(s.problems(), true) }

func (s *Status) problems() []problem {
	var problems []problem
	add := func(why, what, zh string, args ...any) {
		problems = append(problems, problem{fmt.Sprintf(what, args...), fmt.Sprintf(zh, args...), why})
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case s.SignInError != "":
		add(s.SignInError, "cannot sign in to the cluster", "无法登录集群")
	case len(s.Watch) == 0:
		add("", "has not signed in to the cluster yet", "尚未登录集群")
	}
	for _, n := range s.Watch {
		where, whereZh := "all namespaces", "所有命名空间"
		if n.Namespace != "" {
			where, whereZh = "namespace "+n.Namespace, "命名空间 "+n.Namespace
		}
		switch {
		case n.Failing != nil && n.Failing.Unseen:
			add(n.Failing.Err.Error(), "no sight of %[1]s since %[3]s", "自 %[3]s 起看不到%[2]s的事件", where, whereZh, stamp(n.Failing.Since))
		case n.LastAnswer.IsZero():
			add("", "the API server has not answered yet for %[1]s", "API 服务器尚未就%[2]s作出应答", where, whereZh)
		}
	}
	if !s.Intake.BlockedSince.IsZero() {
		add("", "%s (since %s)", "%s（自 %s 起）", s.Intake.BlockedBy, stamp(s.Intake.BlockedSince))
	}
	for _, r := range s.Receivers {
		if !r.Delivery.RefusedSince.IsZero() {
			add(r.Delivery.LastError, "receiver %s refuses every message since %s", "接收方 %s 自 %s 起拒收所有消息", r.Name,
				stamp(r.Delivery.RefusedSince))
		}
	}
	return problems
}
