package retention

import (
	"time"

	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/ledger"
	"github.com/edge-eventer/edge-eventer/spool/queue"
	"github.com/edge-eventer/edge-eventer/spool/txn"
)

const (
	// expiryInterval is how often records are looked through for their age.
	expiryInterval = time.Minute
	// MaxExpire is how many records one transaction expires, and how many it evicts beyond four times its puts.
	MaxExpire = 1024
)

// plausible is the earliest time at which a message can have been refused. A board without a clock begins in 1970, and what was
// refused before it heard of the time is of unknown age, not old.
const plausible = 1_704_067_200_000 // 2024-01-01 in milliseconds

// Policy decides what leaves the spool because of its age or for want of room. It is guarded by the one Update.
type Policy struct {
	MaxBytes int64
	// MaxAge is how long a record waits; 0 for ever.
	MaxAge time.Duration
	// Now is the wall clock, monotonic one that nobody can set.
	Now       func() time.Time
	Monotonic func() time.Duration

	clock clock
	// lastExpiry is what clock showed when records were last looked through for their age; 0: they were not.
	lastExpiry int64
}

// HighWater is the number of bytes in use above which records are evicted, lowWater that down to which. reserve is the room that only
// a transaction which evicts may use.
//
// A commit writes changed pages to free ones before it frees the old ones: what lies between highWater and the reserve,
// three sixteenths of MaxBytes, is for this.
func (r *Policy) HighWater(reserve int64) int64 { return r.MaxBytes/16*13 - reserve }
func (r *Policy) lowWater(reserve int64) int64  { return r.HighWater(reserve) - r.MaxBytes/32 }

// Room is what trim looks at.
type Room struct {
	Txn    *txn.Txn
	Queues *queue.Set
	Ledger *ledger.Ledger
	// Used is how many bytes were in use before the transaction, reserve how many only an eviction may use.
	Used, Reserve int64
	// Evicting, if not 0, is how many entries are evicted at most although highWater may not be reached.
	Evicting int
}

// losses are those of a transaction by receiver and cause.
type losses map[string]map[string]*queue.Loss

// Trim expires old records, and evicts the oldest of all queues while more than highWater is in use. It returns how many entries it
// evicted. Entries of other sizes than pages make the estimate inexact by what is unused in pages; the
// next transaction begins with the true figure.
func (r *Policy) Trim(t Room) (evicted int, err error) {
	lost := make(losses)
	now := r.clock.read(r.Monotonic())
	if r.MaxAge > 0 && t.Evicting == 0 && r.clock.began > 0 && (r.lastExpiry == 0 || now-r.lastExpiry >= expiryInterval.Milliseconds()) {
		more, err := r.expire(t, now, lost)
		if err != nil {
			return 0, err
		}
		if !more {
			r.lastExpiry = now
		}
	}
	if t.Evicting > 0 || t.Used+t.Txn.Grown > r.HighWater(t.Reserve) {
		target := r.lowWater(t.Reserve)
		if t.Evicting > 0 {
			target = t.Used + t.Txn.Grown - r.MaxBytes/16
		}
		if evicted, err = t.evict(target, lost); err != nil {
			return evicted, err
		}
	}
	for receiver, causes := range lost {
		for _, l := range causes {
			if err := t.Queues.Queue(receiver).Lose(*l); err != nil {
				return evicted, err
			}
		}
	}
	return evicted, nil
}

// expire removes records and dead letters that are older than MaxAge, from the front of each queue, and says whether it stopped for
// their number. now is a reading of the spool's own clock.
func (r *Policy) expire(t Room, now int64, lost losses) (more bool, err error) {
	t.Txn.LoadTotals()
	table, err := r.passMilestone(t.Txn, now)
	if err != nil {
		return false, err
	}
	age, left := r.MaxAge.Milliseconds(), MaxExpire
	for _, receiver := range t.Queues.Receivers() {
		q := t.Queues.Queue(receiver)
		for _, lane := range []uint64{0, format.PendingLane} {
			if left, err = expireLane(t.Txn, q, lane, arrivedBy(table, now-age), left, lost); err != nil || left < 0 {
				return err == nil, err
			}
		}
		if err := r.expireDead(q, arrivedBy(table, now-age/2)); err != nil {
			return false, err
		}
	}
	return false, t.Txn.Err
}

// expireLane removes the records of a lane up to a number, left of them at most. It returns how many may still be removed; less than 0
// where there were more.
func expireLane(tx *txn.Txn, q *queue.Queue, lane, last uint64, left int, lost losses) (int, error) {
	for key := range tx.Scan(format.LaneKey(format.KindRecord, q.Name, lane)) {
		seq := queue.SeqOfKey(key)
		if format.OrderOf(seq) > last {
			break
		}
		r, ok := q.At(seq)
		if !ok {
			return left, tx.Err
		}
		if left--; left < 0 {
			break
		}
		if err := lost.record(q, seq, &r, queue.Expired); err != nil {
			return left, err
		}
	}
	return left, nil
}

// expireDead removes dead letters that were refused more than MaxAge ago. That is a time of the wall clock, which may have been set,
// so it has to be long as well since they arrived: last is the number of the last for which that is so.
func (r *Policy) expireDead(q *queue.Queue, last uint64) error {
	limit := format.Millis(r.Now().Add(-r.MaxAge))
	for seq, d := range q.DeadBySeq() {
		if format.OrderOf(seq) > last || d.At >= limit || d.At < plausible {
			continue
		}
		if err := q.DropDeadAt(seq); err != nil {
			return err
		}
	}
	return q.Tx.Err
}

// record removes a record and notes the loss, if it is one.
func (lost losses) record(q *queue.Queue, seq uint64, r *format.Record, cause string) error {
	if err := q.Remove(seq, r); err != nil {
		return err
	}
	if r.Untold == 0 {
		return nil
	}
	if lost[q.Name] == nil {
		lost[q.Name] = make(map[string]*queue.Loss)
	}
	l := lost[q.Name][cause]
	if l == nil {
		l = &queue.Loss{Cause: cause}
		lost[q.Name][cause] = l
	}
	l.Records++
	l.Events += uint64(r.Untold)
	return nil
}

// evict removes what is oldest until the estimate of bytes in use is down to target: dead letters first, which are counted
// as lost already, then records with nothing untold, for which nobody waits, then the other records, then ledger entries. It removes at
// most 1,024 and four for each put of the transaction, so that no Update takes long and each gets ahead. It returns how many.
func (t *Room) evict(target int64, lost losses) (evicted int, err error) {
	most := MaxExpire + 4*t.Txn.Puts
	if t.Evicting > 0 {
		most = t.Evicting
	}
	tooMuch := func() bool { return t.Used+t.Txn.Grown > target && evicted < most }
	for _, kind := range []byte{format.KindDead, format.KindRecord} {
		fronts := t.fronts(kind)
		for len(fronts) > 0 && tooMuch() {
			evicted++
			oldest := 0
			for i := range fronts {
				if fronts[i].seq < fronts[oldest].seq {
					oldest = i
				}
			}
			f := &fronts[oldest]
			if err := f.drop(lost); err != nil {
				return evicted, err
			}
			if !f.advance() {
				fronts = append(fronts[:oldest], fronts[oldest+1:]...)
			}
		}
	}
	for tooMuch() && t.Ledger.LedgerLen() > 0 {
		n := min(64, most-evicted)
		evicted += n
		if err := t.Ledger.ForgetOldest(n); err != nil {
			return evicted, err
		}
	}
	return evicted, t.Txn.Err
}

// front is the oldest record or dead letter of a queue.
type front struct {
	queue *queue.Queue
	kind  byte
	seq   uint64
}

func (t *Room) fronts(kind byte) []front {
	var fronts []front
	for _, receiver := range t.Queues.Receivers() {
		f := front{queue: t.Queues.Queue(receiver), kind: kind}
		if f.advance() {
			fronts = append(fronts, f)
		}
	}
	return fronts
}

// advance looks up what is oldest now.
func (f *front) advance() bool {
	key := f.queue.Tx.First(format.Named(f.kind, f.queue.Name))
	if key == nil {
		return false
	}
	f.seq = queue.SeqOfKey(key)
	return true
}

func (f *front) drop(lost losses) error {
	if f.kind == format.KindDead {
		return f.queue.DropDeadAt(f.seq)
	}
	r, ok := f.queue.At(f.seq)
	if !ok {
		return f.queue.Tx.Err
	}
	if r.Untold > 0 && f.seq < format.PendingLane {
		// A file of an older release has no lanes. The record goes where it belongs, to its place there.
		return f.queue.ChangeLane(f.seq, &r)
	}
	return lost.record(f.queue, f.seq, &r, queue.Evicted)
}
