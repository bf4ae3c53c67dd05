package spool

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"time"
)

// DeadLetter is a record that its receiver refused for good.
type DeadLetter struct {
	Record

	// Reason is why, at most 256 bytes.
	Reason string
	// Answer is what the receiver answered, at most 1 KiB.
	Answer []byte
	// At is when.
	At time.Time
}

// Clone returns a dead letter that outlives the transaction.
func (d DeadLetter) Clone() DeadLetter {
	d.Record = d.Record.Clone()
	d.Answer = bytes.Clone(d.Answer)
	return d
}

// Bury moves the record to the dead letters and counts a loss with cause Refused if it had untold occurrences. Reason and
// answer are cut to their limits. A receiver has at most 100 dead letters, none older than MaxAge; the oldest go first.
func (q *Queue) Bury(key []byte, reason string, answer []byte, at time.Time) error {
	if !q.tx.writable {
		return ErrNotWritable
	}
	seq, ok := q.seqOf(key)
	if !ok {
		return q.missing(key)
	}
	r, ok := q.at(seq)
	if !ok {
		return q.tx.err
	}
	d := storedDead{
		at:     millis(at),
		reason: []byte(strings.ToValidUTF8(reason[:min(len(reason), maxReasonLen)], "")),
		answer: answer[:min(len(answer), maxAnswerLen)],
		record: r,
	}
	deadKey := seqKey(kindDead, q.name, seq)
	if _, err := q.tx.put(deadKey, seal(deadKey, d.append(nil))); err != nil {
		return err
	}
	q.stats.dead++
	if err := q.remove(seq, &r); err != nil {
		return err
	}
	for q.stats.dead > maxDead {
		if err := q.dropOldestDead(); err != nil {
			return err
		}
	}
	if r.untold == 0 {
		return nil
	}
	return q.Lose(Loss{Cause: Refused, Records: 1, Events: uint64(r.untold)})
}

func (q *Queue) missing(key []byte) error {
	if q.tx.err != nil {
		return q.tx.err
	}
	return fmt.Errorf("%w: %s has no record %x", ErrNotFound, q.name, key)
}

// Dead yields the dead letters in the order of their arrival in the queue. The loop may change the queue.
func (q *Queue) Dead() iter.Seq[DeadLetter] {
	return func(yield func(DeadLetter) bool) {
		if !q.exists {
			return
		}
		for seq, d := range q.deadBySeq() {
			letter := DeadLetter{
				Record: d.record.record(seq),
				Reason: string(d.reason),
				Answer: d.answer,
				At:     time.UnixMilli(d.at),
			}
			if !yield(letter) {
				return
			}
		}
	}
}

func (q *Queue) deadBySeq() iter.Seq2[uint64, *storedDead] {
	return func(yield func(uint64, *storedDead) bool) {
		for key, value := range q.tx.scan(named(kindDead, q.name)) {
			payload, err := unseal(key, value)
			if err != nil {
				q.tx.damaged(err)
				return
			}
			d, err := decodeDead(payload)
			if err != nil {
				q.tx.damaged(err)
				return
			}
			if !yield(seqOfKey(key), &d) {
				return
			}
		}
	}
}

// DeadLen returns the number of dead letters.
func (q *Queue) DeadLen() int { return int(q.stats.dead) }

// Revive puts the oldest dead letter with the key back into its place in the queue, and takes it off the losses: off the
// total, and off what is untold if that was not told yet. It returns ErrNotFound, and ErrWaiting when a record of the
// same key waits: which of the two to keep is not for the spool to say.
func (q *Queue) Revive(key []byte, due time.Time) error {
	if _, ok := q.seqOf(key); ok {
		return fmt.Errorf("%w: %x in %s", ErrWaiting, key, q.name)
	}
	seq, d, err := q.findDead(key)
	if err != nil {
		return err
	}
	r := d.record
	r.due = millis(due)
	r.rev = q.tx.loadTotals().rev + 1
	if err := q.dropDead(seq); err != nil {
		return err
	}
	if err := q.store(seq, &r); err != nil {
		return err
	}
	if r.untold == 0 {
		return nil
	}
	l := Loss{Cause: Refused, Records: 1, Events: uint64(r.untold), Times: 1}
	if err := q.subtract(kindTotal, l); err != nil {
		return err
	}
	return q.subtract(kindUntold, l)
}

// DropDead removes the oldest dead letter with the key. It stays counted as a loss.
func (q *Queue) DropDead(key []byte) error {
	seq, _, err := q.findDead(key)
	if err != nil {
		return err
	}
	return q.dropDead(seq)
}

func (q *Queue) findDead(key []byte) (uint64, *storedDead, error) {
	if !q.tx.writable {
		return 0, nil, ErrNotWritable
	}
	if q.exists {
		for seq, d := range q.deadBySeq() {
			if bytes.Equal(d.record.key, key) {
				return seq, d, nil
			}
		}
	}
	if q.tx.err != nil {
		return 0, nil, q.tx.err
	}
	return 0, nil, fmt.Errorf("%w: %s has no dead letter %x", ErrNotFound, q.name, key)
}

func (q *Queue) dropDead(seq uint64) error {
	existed, err := q.tx.delete(seqKey(kindDead, q.name, seq))
	if err != nil || !existed {
		return err
	}
	if q.stats.dead > 0 {
		q.stats.dead--
	}
	q.dirty = true
	return nil
}

func (q *Queue) dropOldestDead() error {
	key := q.tx.first(named(kindDead, q.name))
	if key == nil {
		q.tx.damaged(fmt.Errorf("%w: %d dead letters of %s are missing", errMalformed, q.stats.dead, q.name))
		return q.tx.err
	}
	return q.dropDead(seqOfKey(key))
}
