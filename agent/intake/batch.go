package intake

import (
	"context"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxBatch and maxBatchBytes bound what one commit holds, and so what the agent keeps in memory of a busy watch.
	maxBatch      = 512
	maxBatchBytes = 512 << 10
	// maxForgets bounds how many expired events wait, uncommitted, for a commit that has another reason.
	maxForgets = 256
	// recordBytes is what an event's record takes beside its message: names, times, indexes.
	recordBytes = 512
	// repeatsWait is how long events that only add to what is on disk already may wait for their commit. A commit writes
	// some 50 KB however little it holds, and what is not committed is still in the API server: ten repeats a second cost
	// 5.6 KB of flash each with a commit a second, and 0.1 KB with one a minute. A minute is a small part of the hour for
	// which the API server keeps events, and of the five minutes for which kine keeps its history.
	repeatsWait = time.Minute
	// commitAhead is how long before a message what belongs into it is committed.
	commitAhead = 100 * time.Millisecond
)

// batch is what the next commit holds.
type batch struct {
	changes []watch.Change
	// seen counts the changes that are not deletions.
	seen  int
	bytes int
	// hasNews says that some change is more than a repeat.
	hasNews bool
	// commitBy is when the batch has to be on disk; zero: whenever there is another reason.
	commitBy time.Time
	// since is when the last commit was.
	since time.Time
}

func (b *batch) add(c watch.Change) {
	b.changes = append(b.changes, c)
	if !c.Deleted {
		b.seen++
	}
	b.bytes += len(c.Event.Message) + recordBytes
}

// full also counts expired events, which alone are no reason to write: forgetting one late costs nothing.
func (b *batch) full(most int) bool {
	return b.seen >= maxBatch || b.bytes >= most || len(b.changes)-b.seen >= maxForgets
}

// commitBytes is what one commit may hold of messages and records: a spool takes a transaction of up to a sixteenth of its
// bound, and each receiver has a record of its own.
func (in *Intake) commitBytes() int {
	return min(maxBatchBytes, in.options.MaxCommit/max(1, len(in.Routes())))
}

// flush commits the batch and begins the next one.
func (in *Intake) flush(ctx context.Context, b *batch) {
	if len(b.changes) == 0 {
		return
	}
	// The error is that of ctx: changes are given up for no other reason, and what is not committed is still in the API server.
	_ = in.commit(ctx, func(t *transaction) error { return t.takeChanges(b.changes) })
	clear(b.changes)
	*b = batch{changes: b.changes[:0], since: time.Now()}
}

// hurry brings the commit forward to when the last change of the batch needs it, and reports whether it did. Between two
// commits is a CommitInterval, less commitAhead, unless a batch is full before.
func (in *Intake) hurry(b *batch) bool {
	last := &b.changes[len(b.changes)-1]
	if last.Deleted || b.hasNews {
		return false
	}
	var by time.Time
	by, b.hasNews = in.commitBy(last)
	if soonest := b.since.Add(in.options.CommitInterval - commitAhead); by.Before(soonest) {
		by = soonest
	}
	if !b.commitBy.IsZero() && !by.Before(b.commitBy) {
		return false
	}
	b.commitBy = by
	return true
}

// deadline is the earliest time at which what a change belongs to is told.
type deadline struct {
	arrived, by time.Time
}

// tellAt notes that something of the change is told at due. A due time in the past is no reason to hurry: it waits for a link or a
// receiver.
func (d *deadline) tellAt(due time.Time) {
	if due.Before(d.arrived) {
		return
	}
	if due = due.Add(-commitAhead); due.Before(d.by) {
		d.by = due
	}
}

// commitBy returns when a change should be on disk, and whether it is news to anyone. News has to be there when the next
// message leaves, since new incidents share one; a repeat only changes counts of an incident that is on disk, and has to be
// there when that incident is told; so has what a receiver with a record for each event gets.
func (in *Intake) commitBy(c *watch.Change) (by time.Time, news bool) {
	in.mu.RLock()
	defer in.mu.RUnlock()
	interval := in.options.CommitInterval
	if c.Unreadable {
		return c.At.Add(interval), true
	}
	d := deadline{arrived: c.At, by: c.At.Add(max(repeatsWait, interval))}
	if !in.rules.Filter.WouldKeep(&c.Event) {
		return d.by, false
	}
	o := observe(&c.Event, 1, c.At)
	err := in.options.Spool.View(func(tx *spool.Tx) error {
		o.RecordKey = ledger.RecordKey(tx, &c.Event)
		for i := range in.rules.Routes {
			if r := &in.rules.Routes[i]; r.Match.WouldMatch(&c.Event) {
				isNews, err := r.tell(tx.Queue(r.Receiver), o, &d)
				if err != nil {
					return err
				}
				news = news || isNews
			}
		}
		return nil
	})
	if err != nil {
		// The commit will meet it again, and say so.
		news = true
	}
	if soon := c.At.Add(interval); news && soon.Before(d.by) {
		d.by = soon
	}
	return d.by, news
}

// tell notes when the receiver will be told of the observation, and reports whether it is news to it.
func (r *Route) tell(q *spool.Queue, o *incident.Observation, d *deadline) (news bool, err error) {
	record, pending, err := inbox.Pending(q, r.Policy, o)
	if err != nil {
		return false, err
	}
	switch {
	case pending != nil:
		d.tellAt(record.Due)
	case r.Policy.PerEvent:
		// An archive reads no faster than groupWait, so its records are written when they are due.
	default:
		news = true
		for next := range q.Due(d.by.Add(commitAhead)) {
			d.tellAt(next.Due)
			break
		}
	}
	if _, due, ok := r.Policy.Fold(pending, o); ok {
		d.tellAt(due)
	}
	return news, nil
}

func observe(e *event.Event, isNew uint32, at time.Time) *incident.Observation {
	return &incident.Observation{
		Event:    *e,
		Workload: event.Workload(e.InvolvedObject.Kind, e.InvolvedObject.Name),
		New:      isNew,
		At:       at,
	}
}
