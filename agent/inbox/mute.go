package inbox

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/agent/mute"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Muted counts what one reason holds back.
type Muted struct {
	Incidents int
	Events    uint64
}

// subject is the entry as matchers see it.
func (e *Entry) subject() *matcher.Subject {
	return &matcher.Subject{Incident: e.Incident, Severity: e.Severity}
}

// verdict asks the muter at the time of a reading of the queue.
func (b *Inbox) verdict(q *spool.Queue, now time.Time) *mute.Verdict {
	return b.Muter.At(now, func(key string) bool {
		_, ok := q.Get([]byte(key))
		return ok
	})
}

// mutes reports whether an entry that is due is held back, and counts it then.
func (b *Batch) mutes(v *mute.Verdict, e *Entry) bool {
	why, held := v.Hold(e.subject())
	if !held {
		return false
	}
	if b.Muted == nil {
		b.Muted = make(map[mute.Reason]Muted)
	}
	m := b.Muted[why]
	m.Incidents++
	m.Events += uint64(e.Incident.Untold())
	b.Muted[why] = m
	return true
}

// untilVerdict lets the batch be read again when what is held back may be free.
func (b *Batch) untilVerdict(v *mute.Verdict) {
	if len(b.Muted) > 0 && !v.Until.IsZero() && v.Until.Before(b.Next) {
		b.Next = v.Until
	}
}

// muted reports whether the incident of a record is held back. Where nothing is held, the record is not decoded.
// One that cannot be is found when it is to be sent.
func (r *Reading) muted(record *spool.Record) bool {
	if !r.verdict.Holds() {
		return false
	}
	in, err := incident.Decode(record.Body)
	if err != nil {
		return false
	}
	e := Entry{record.Key, in, r.inbox.severityOf(in)}
	_, held := r.verdict.Hold(e.subject())
	return held
}
