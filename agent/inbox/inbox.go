// Package inbox is the queue of one receiver as incidents: what is observed is folded in, what is due is peeked at, and what the
// receiver confirmed or refused for good is acknowledged or buried.
//
// It promises that what came into the queue after it was read stays untold, whatever becomes of what was read, and that nothing it
// returns grows with the queue: a batch has the receiver's bounds, a digest 72 bytes for each incident that it only counts.
package inbox

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/mute"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Inbox is one receiver's queue. Its fields are set before its first use and never changed; it is used by one goroutine.
type Inbox struct {
	Spool    *spool.Spool
	Receiver string
	Policy   incident.Policy
	// Limits are those of the receiver: how much one message tells, in which order.
	Limits notify.Limits
	// Severity judges a reason.
	Severity func(reason string) notify.Severity
	// Group returns the place within the receiver that an incident goes to; nil or empty: it has one only.
	Group func(*incident.Incident) string
	// SendResolved says that incidents that are over are named in the next message.
	SendResolved bool
	// Muter says what is held back now; nil: nothing is.
	Muter *mute.Muter
	// Rebased is told how many due times were corrected after the clock was set back; nil: nobody is.
	Rebased func(incidents int)

	clock wallClock
	// rebasing is set from when the clock was found set back until what it held is corrected.
	rebasing bool
}

// Entry is an incident as it was read from the queue.
type Entry struct {
	Key      []byte
	Incident *incident.Incident
	Severity notify.Severity
}

// Reading is the queue as it stands within one transaction. It must not be kept.
type Reading struct {
	inbox *Inbox
	queue *spool.Queue
	now   time.Time
	// verdict is what the muter says at now.
	verdict *mute.Verdict
}

// Read calls f with the queue as it stands, after it has corrected what a clock that was set back left behind. It reports true where
// that shows only now: then what f read says nothing, and the queue is to be read anew.
func (b *Inbox) Read(now time.Time, f func(*Reading) error) (anew bool, err error) {
	b.rebasing = b.clock.setBack(now) || b.rebasing
	if b.rebasing {
		if err := b.rebase(); err != nil {
			return false, err
		}
		b.rebasing = false
	}
	err = b.Spool.View(func(tx *spool.Tx) error {
		q := tx.Queue(b.Receiver)
		last, ok := q.LastDue()
		anew = ok && last.After(now.Add(b.Policy.Longest()+time.Minute))
		return f(&Reading{inbox: b, queue: q, now: now, verdict: b.verdict(q, now)})
	})
	if err != nil {
		return false, fmt.Errorf("read queue: %w", err)
	}
	if anew {
		return true, b.rebase()
	}
	return false, nil
}

// Untold counts the observations in the queue that the receiver has not confirmed.
func (r *Reading) Untold() uint64 { return r.queue.Untold() }

// Losses returns what was lost and not told yet, and all that was lost since the spool was made.
func (r *Reading) Losses() (untold, total []spool.Loss) {
	return r.queue.UntoldLosses(), r.queue.TotalLosses()
}

// Entry returns an incident by its key, if it is still to be told and nothing holds it back.
func (r *Reading) Entry(key []byte, criticalOnly bool) (Entry, bool, error) {
	record, ok := r.queue.Get(key)
	if !ok {
		return Entry{}, false, nil
	}
	in, err := incident.Decode(record.Body)
	if err != nil {
		return Entry{}, false, fmt.Errorf("decode record %x: %w", key, err)
	}
	e := Entry{bytes.Clone(key), in, r.inbox.severityOf(in)}
	_, muted := r.verdict.Hold(e.subject())
	return e, in.Untold() > 0 && passes(criticalOnly, &e) && !muted, nil
}

func (b *Inbox) severityOf(in *incident.Incident) notify.Severity { return b.Severity(in.Event.Reason) }

func (b *Inbox) groupOf(in *incident.Incident) string {
	if b.Group == nil {
		return ""
	}
	return b.Group(in)
}

// passes reports whether an incident is sent while only critical ones are. What the agent tells of itself is: the notice that the
// budget is used up, a heartbeat that somebody waits for, the statistics.
func passes(criticalOnly bool, e *Entry) bool {
	return !criticalOnly || e.Severity == notify.Critical || e.Incident.Own
}

// Sort puts entries into the order in which the receiver wants them.
func (b *Inbox) Sort(entries []Entry) {
	if !b.Limits.OldestFirst {
		slices.SortStableFunc(entries, worstAndNewestFirst)
	}
}
