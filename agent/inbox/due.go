package inbox

import (
	"bytes"
	"cmp"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/mute"
	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// IdleWait is the longest wait for something to be due. A clock that jumped is noticed then at the latest.
	IdleWait = time.Hour
	// MaxOver is how many incidents that are over a Batch names. A commit is made only to remove them once there are so many.
	MaxOver = 64
)

// Selection says what is peeked at. Its zero value is a message of everything that is due, within the receiver's bounds.
type Selection struct {
	// One says that the message tells one incident, after Skip others were passed over, as far as there are so many.
	One  bool
	Skip int
	// CriticalOnly leaves out what is neither critical nor of the agent itself.
	CriticalOnly bool
	// Group is the only place within the receiver that is wanted; empty: all but those that HoldsGroup names.
	Group string
	// Holds reports whether the incident under the key stays behind the others, HoldsGroup whether all of its group does. The group is
	// asked for only where it matters.
	Holds      func(key []byte) bool
	HoldsGroup func(group func() string) bool
}

// Batch is what is due.
type Batch struct {
	Entries []Entry
	// Over are the keys of incidents that can be forgotten, Resolved those incidents where the receiver is told of them.
	Over     [][]byte
	Resolved []*incident.Incident
	// Next is when something will be due that is not in the batch, IdleWait ahead at most.
	Next time.Time
	// Muted is what is due and held back, by reason; all of it where the batch has no entries.
	Muted map[mute.Reason]Muted
}

// Due reads from the queue in the order of due times. Incidents that were never told and are due within groupWait go along: companions
// share one message.
func (r *Reading) Due(s Selection) (Batch, error) {
	now, policy := r.now, r.inbox.Policy
	batch := Batch{Next: now.Add(IdleWait)}
	bounds := bounds{most: r.inbox.Limits.Batch, bytes: r.inbox.Limits.BatchBytes, skip: s.Skip}
	if s.One {
		bounds.most = 1
	}
	due := false
	for record := range r.queue.Due(now.Add(IdleWait)) {
		if record.Due.After(now) && (!due || record.Due.After(now.Add(policy.GroupWait))) {
			batch.Next = record.Due
			break
		}
		if s.Holds != nil && s.Holds(record.Key) {
			continue
		}
		in, err := incident.Decode(record.Body)
		if err != nil {
			return batch, fmt.Errorf("decode record %x: %w", record.Key, err)
		}
		if policy.Over(in, now) {
			batch.over(bytes.Clone(record.Key), in, r.inbox.SendResolved)
			continue
		}
		e := Entry{record.Key, in, r.inbox.severityOf(in)}
		if in.Untold() == 0 || record.Due.After(now) && !in.ToldAt.IsZero() || !s.wants(r.inbox, &e) {
			continue
		}
		if batch.mutes(r.verdict, &e) {
			continue
		}
		if !bounds.admit(&batch, len(record.Body)) {
			break
		}
		due = due || !record.Due.After(now)
		e.Key = bytes.Clone(e.Key)
		batch.Entries = append(batch.Entries, e)
	}
	batch.untilVerdict(r.verdict)
	r.inbox.Sort(batch.Entries)
	return batch, nil
}

// wants reports whether the entry is one of the selection.
func (s *Selection) wants(b *Inbox, e *Entry) bool {
	if !passes(s.CriticalOnly, e) {
		return false
	}
	group := func() string { return b.groupOf(e.Incident) }
	if s.Group != "" {
		return group() == s.Group
	}
	return s.HoldsGroup == nil || !s.HoldsGroup(group)
}

// over notes an incident that can be forgotten.
func (b *Batch) over(key []byte, in *incident.Incident, resolved bool) {
	if len(b.Over) >= MaxOver {
		return
	}
	b.Over = append(b.Over, key)
	if resolved {
		b.Resolved = append(b.Resolved, in)
	}
}

// bounds are those of one message.
type bounds struct {
	most, skip, passed int
	size, bytes        int64
}

// admit reports whether there is room for a record of n bytes. Those that are passed over make room for the one behind them, so that
// the last one stays where there is none.
func (b *bounds) admit(batch *Batch, n int) bool {
	if b.passed <= b.skip && len(batch.Entries) > 0 {
		batch.Entries, b.size = batch.Entries[:0], 0
	}
	b.passed++
	b.size += int64(n)
	return len(batch.Entries) == 0 || len(batch.Entries) < b.most && b.size <= b.bytes
}

// worstAndNewestFirst orders critical before others, and then the later before the earlier.
func worstAndNewestFirst(a, b Entry) int {
	if a.Severity != b.Severity {
		if a.Severity == notify.Critical {
			return -1
		}
		return 1
	}
	return cmp.Compare(b.Incident.Last.UnixNano(), a.Incident.Last.UnixNano())
}
