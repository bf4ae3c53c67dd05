package spool

import (
	"bytes"
	"errors"
	"time"

	berrors "go.etcd.io/bbolt/errors"
)

const (
	// expiryInterval is how often records are looked through for their age.
	expiryInterval = time.Minute
	// maxExpire is how many records one transaction expires, and how many it evicts beyond four times its puts.
	maxExpire = 1024
)

// plausible is the earliest time at which a message can have been refused. A board without a clock begins in 1970, and what was
// refused before it heard of the time is of unknown age, not old.
const plausible = 1_704_067_200_000 // 2024-01-01 in milliseconds

// reserve is the room that only makeRoom may use: a sixteenth of MaxBytes, and at least sixteen pages, because an eviction
// changes half a dozen.
func (s *Spool) reserve() int64 {
	return max(s.options.MaxBytes/16, 16*int64(s.db.Info().PageSize))
}

// highWater is the number of bytes in use above which records are evicted, lowWater that down to which.
//
// A commit writes changed pages to free ones before it frees the old ones: what lies between highWater and the reserve,
// three sixteenths of MaxBytes, is for this.
func (s *Spool) highWater() int64 { return s.options.MaxBytes/16*13 - s.reserve() }
func (s *Spool) lowWater() int64  { return s.highWater() - s.options.MaxBytes/32 }

// trim expires old records, and evicts the oldest of all queues while more than highWater is in use. used is what was in
// use before the transaction. Entries of other sizes than pages make the estimate inexact by what is unused in pages; the
// next transaction begins with the true figure.
func (tx *Tx) trim(used int64) error {
	losses := make(map[string]map[string]*Loss)
	now := tx.spool.clock.read(tx.spool.options.Monotonic())
	last := tx.spool.lastExpiry
	if tx.spool.options.MaxAge > 0 && tx.evicting == 0 && tx.spool.clock.began > 0 && (last == 0 || now-last >= expiryInterval.Milliseconds()) {
		more, err := tx.expire(now, losses)
		if err != nil {
			return err
		}
		if !more {
			tx.spool.lastExpiry = now
		}
	}
	if tx.evicting > 0 || used+tx.grown > tx.spool.highWater() {
		target := tx.spool.lowWater()
		if tx.evicting > 0 {
			target = used + tx.grown - tx.spool.options.MaxBytes/16
		}
		if err := tx.evict(used, target, losses); err != nil {
			return err
		}
	}
	for receiver, causes := range losses {
		for _, l := range causes {
			if err := tx.Queue(receiver).Lose(*l); err != nil {
				return err
			}
		}
	}
	return nil
}

// expire removes records and dead letters that are older than MaxAge, from the front of each queue, and says whether it stopped for
// their number. now is a reading of the spool's own clock.
func (tx *Tx) expire(now int64, losses map[string]map[string]*Loss) (more bool, err error) {
	tx.loadTotals()
	table, err := tx.passMilestone(tx.before, now)
	if err != nil {
		return false, err
	}
	age, n := tx.spool.options.MaxAge.Milliseconds(), 0
	last := arrivedBy(table, now-age)
	for _, receiver := range tx.Receivers() {
		q := tx.Queue(receiver)
		for _, lane := range []uint64{0, waitingLane} {
			for key := range tx.scan(laneKey(kindRecord, receiver, lane)) {
				seq := seqOfKey(key)
				if orderOf(seq) > last {
					break
				}
				r, ok := q.at(seq)
				if !ok {
					return false, tx.err
				}
				if n++; n > maxExpire {
					return true, nil
				}
				if err := q.loseRecord(seq, &r, Expired, losses); err != nil {
					return false, err
				}
			}
		}
		if err := q.expireDead(arrivedBy(table, now-age/2)); err != nil {
			return false, err
		}
	}
	return false, tx.err
}

// expireDead removes dead letters that were refused more than MaxAge ago. That is a time of the wall clock, which may have been set,
// so it has to be long as well since they arrived: last is the number of the last for which that is so.
func (q *Queue) expireDead(last uint64) error {
	limit := millis(q.tx.spool.options.Now().Add(-q.tx.spool.options.MaxAge))
	for seq, d := range q.deadBySeq() {
		if orderOf(seq) > last || d.at >= limit || d.at < plausible {
			continue
		}
		if err := q.dropDead(seq); err != nil {
			return err
		}
	}
	return q.tx.err
}

// loseRecord removes a record and notes the loss, if it is one.
func (q *Queue) loseRecord(seq uint64, r *stored, cause string, losses map[string]map[string]*Loss) error {
	if err := q.remove(seq, r); err != nil {
		return err
	}
	if r.untold == 0 {
		return nil
	}
	if losses[q.name] == nil {
		losses[q.name] = make(map[string]*Loss)
	}
	l := losses[q.name][cause]
	if l == nil {
		l = &Loss{Cause: cause}
		losses[q.name][cause] = l
	}
	l.Records++
	l.Events += uint64(r.untold)
	return nil
}

// evict removes what is oldest until the estimate of bytes in use is down to target: dead letters first, which are counted
// as lost already, then records with nothing untold, for which nobody waits, then the other records, then ledger entries. It removes at most 1,024 and four for each put of the transaction,
// so that no Update takes long and each gets ahead.
func (tx *Tx) evict(used, target int64, losses map[string]map[string]*Loss) error {
	budget := maxExpire + 4*tx.puts
	if tx.evicting > 0 {
		budget = tx.evicting
	}
	if tx.evicted != nil {
		before := budget
		defer func() { *tx.evicted += before - budget }()
	}
	for _, kind := range []byte{kindDead, kindRecord} {
		fronts := tx.fronts(kind)
		for len(fronts) > 0 && used+tx.grown > target && budget > 0 {
			budget--
			oldest := 0
			for i := range fronts {
				if fronts[i].seq < fronts[oldest].seq {
					oldest = i
				}
			}
			f := &fronts[oldest]
			if err := f.drop(losses); err != nil {
				return err
			}
			if !f.advance() {
				fronts = append(fronts[:oldest], fronts[oldest+1:]...)
			}
		}
	}
	for used+tx.grown > target && budget > 0 && tx.loadTotals().ledgerLen > 0 {
		n := min(64, budget)
		budget -= n
		if err := tx.forgetOldest(n); err != nil {
			return err
		}
	}
	return tx.err
}

// front is the oldest record or dead letter of a queue.
type front struct {
	queue *Queue
	kind  byte
	seq   uint64
}

func (tx *Tx) fronts(kind byte) []front {
	var fronts []front
	for _, receiver := range tx.Receivers() {
		f := front{queue: tx.Queue(receiver), kind: kind}
		if f.advance() {
			fronts = append(fronts, f)
		}
	}
	return fronts
}

// advance looks up what is oldest now.
func (f *front) advance() bool {
	key := f.queue.tx.first(named(f.kind, f.queue.name))
	if key == nil {
		return false
	}
	f.seq = seqOfKey(key)
	return true
}

func (f *front) drop(losses map[string]map[string]*Loss) error {
	if f.kind == kindDead {
		return f.queue.dropDead(f.seq)
	}
	r, ok := f.queue.at(f.seq)
	if !ok {
		return f.queue.tx.err
	}
	if r.untold > 0 && f.seq < waitingLane {
		// A file of an older release has no lanes. The record goes where it belongs, to its place there.
		return f.queue.changeLane(f.seq, &r)
	}
	return f.queue.loseRecord(f.seq, &r, Evicted, losses)
}

// changeLane moves a record into the lane in which it belongs, and keeps its order.
func (q *Queue) changeLane(seq uint64, r *stored) error {
	if err := q.remove(seq, r); err != nil {
		return err
	}
	q.tx.loadTotals().nextSeq |= waitingLane
	q.tx.totalsDirty = true
	moved := stored{due: r.due, added: r.added, rev: q.tx.totals.rev + 1, untold: r.untold, key: bytes.Clone(r.key), body: bytes.Clone(r.body)}
	return q.store(orderOf(seq)|laneOf(r.untold), &moved)
}

// makeRoom evicts after a transaction that did not fit, in transactions of their own, which may use the reserve. It frees up
// to an eighth of MaxBytes, so that a transaction of any size below MaxBytes fits after a few attempts.
//
// A leaf of large bodies is written to as many pages in a row. Where free pages are too scattered even for an eviction, the
// file is compacted, which puts all that is free in one piece.
func (s *Spool) makeRoom() {
	compacted := false
	for range 8 {
		err := s.update(func(tx *Tx) error {
			tx.evicting = maxExpire
			// Without a change there is nothing to commit.
			tx.changes++
			return nil
		})
		switch {
		case err == nil:
			if free := s.options.MaxBytes - s.usedBytes.Load(); free > s.options.MaxBytes/8+s.reserve() {
				return
			}
		case errors.Is(err, berrors.ErrMaxSizeReached) && !compacted:
			compacted = true
			if s.compactOpen() != nil {
				return
			}
		default:
			return
		}
	}
}
