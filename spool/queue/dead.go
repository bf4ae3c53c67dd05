package queue

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
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
	if !q.Tx.Writable {
		return failure.ErrNotWritable
	}
	seq, ok := q.SeqOf(key)
	if !ok {
		return q.missing(key)
	}
	r, ok := q.At(seq)
	if !ok {
		return q.Tx.Err
	}
	d := format.DeadLetter{
		At:     format.Millis(at),
		Reason: []byte(strings.ToValidUTF8(reason[:min(len(reason), format.MaxReasonLen)], "")),
		Answer: answer[:min(len(answer), format.MaxAnswerLen)],
		Record: r,
	}
	deadKey := format.SeqKey(format.KindDead, q.Name, seq)
	if _, err := q.Tx.Put(deadKey, format.Seal(deadKey, d.Append(nil))); err != nil {
		return err
	}
	q.Stats.Dead++
	if err := q.Remove(seq, &r); err != nil {
		return err
	}
	for q.Stats.Dead > format.MaxDead {
		if err := q.dropOldestDead(); err != nil {
			return err
		}
	}
	if r.Untold == 0 {
		return nil
	}
	return q.Lose(Loss{Cause: Refused, Records: 1, Events: uint64(r.Untold)})
}

func (q *Queue) missing(key []byte) error {
	if q.Tx.Err != nil {
		return q.Tx.Err
	}
	return fmt.Errorf("%w: %s has no record %x", failure.ErrNotFound, q.Name, key)
}

// Dead yields the dead letters in the order of their arrival in the queue. The loop may change the queue.
func (q *Queue) Dead() iter.Seq[DeadLetter] {
	return func(yield func(DeadLetter) bool) {
		if !q.Exists {
			return
		}
		for seq, d := range q.DeadBySeq() {
			letter := DeadLetter{
				Record: recordOf(&d.Record, seq),
				Reason: string(d.Reason),
				Answer: d.Answer,
				At:     time.UnixMilli(d.At),
			}
			if !yield(letter) {
				return
			}
		}
	}
}

// DeadBySeq yields the dead letters as they are stored, with their numbers.
func (q *Queue) DeadBySeq() iter.Seq2[uint64, *format.DeadLetter] {
	return func(yield func(uint64, *format.DeadLetter) bool) {
		for key, value := range q.Tx.Scan(format.Named(format.KindDead, q.Name)) {
			payload, err := format.Unseal(key, value)
			if err != nil {
				q.Tx.IsDamaged(err)
				return
			}
			d, err := format.DecodeDeadLetter(payload)
			if err != nil {
				q.Tx.IsDamaged(err)
				return
			}
			if !yield(SeqOfKey(key), &d) {
				return
			}
		}
	}
}

// DeadLen returns the number of dead letters.
func (q *Queue) DeadLen() int { return int(q.Stats.Dead) }

// Revive puts the oldest dead letter with the key back into its place in the queue, and takes it off the losses: off the
// total, and off what is untold if that was not told yet. It returns ErrNotFound, and ErrWaiting when a record of the
// same key waits: which of the two to keep is not for the spool to say.
func (q *Queue) Revive(key []byte, due time.Time) error {
	if _, ok := q.SeqOf(key); ok {
		return fmt.Errorf("%w: %x in %s", failure.ErrWaiting, key, q.Name)
	}
	seq, d, err := q.findDead(key)
	if err != nil {
		return err
	}
	r := d.Record
	r.Due = format.Millis(due)
	r.Rev = q.Tx.LoadTotals().Rev + 1
	if err := q.DropDeadAt(seq); err != nil {
		return err
	}
	if err := q.Store(seq, &r); err != nil {
		return err
	}
	if r.Untold == 0 {
		return nil
	}
	l := Loss{Cause: Refused, Records: 1, Events: uint64(r.Untold), Times: 1}
	if err := q.subtract(format.KindTotal, l); err != nil {
		return err
	}
	return q.subtract(format.KindUntold, l)
}

// DropDead removes the oldest dead letter with the key. It stays counted as a loss.
func (q *Queue) DropDead(key []byte) error {
	seq, _, err := q.findDead(key)
	if err != nil {
		return err
	}
	return q.DropDeadAt(seq)
}

func (q *Queue) findDead(key []byte) (uint64, *format.DeadLetter, error) {
	if !q.Tx.Writable {
		return 0, nil, failure.ErrNotWritable
	}
	if q.Exists {
		for seq, d := range q.DeadBySeq() {
			if bytes.Equal(d.Record.Key, key) {
				return seq, d, nil
			}
		}
	}
	if q.Tx.Err != nil {
		return 0, nil, q.Tx.Err
	}
	return 0, nil, fmt.Errorf("%w: %s has no dead letter %x", failure.ErrNotFound, q.Name, key)
}

// DropDeadAt removes the dead letter with the number, if there is one.
func (q *Queue) DropDeadAt(seq uint64) error {
	existed, err := q.Tx.Delete(format.SeqKey(format.KindDead, q.Name, seq))
	if err != nil || !existed {
		return err
	}
	if q.Stats.Dead > 0 {
		q.Stats.Dead--
	}
	q.Dirty = true
	return nil
}

func (q *Queue) dropOldestDead() error {
	key := q.Tx.First(format.Named(format.KindDead, q.Name))
	if key == nil {
		q.Tx.IsDamaged(fmt.Errorf("%w: %d dead letters of %s are missing", format.ErrMalformed, q.Stats.Dead, q.Name))
		return q.Tx.Err
	}
	return q.DropDeadAt(SeqOfKey(key))
}
