package inbox

import (
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Receipt is what one message told.
type Receipt struct {
	Entries []Entry
	// Over are the keys of incidents that are over, with which the message had to do no more.
	Over [][]byte
	// Losses are those that the message told, and Before what was lost in all before its entries were read: what is more of it later may
	// be one of them.
	Losses, Before []spool.Loss
}

// Acknowledge notes in one transaction what the receiver confirmed at the given time, and returns how many observations that were.
func (b *Inbox) Acknowledge(r *Receipt, at time.Time) (observations uint64, err error) {
	err = b.Spool.Update(func(tx *spool.Tx) error {
		observations = 0
		q := tx.Queue(b.Receiver)
		for i := range r.Entries {
			e := &r.Entries[i]
			observations += uint64(e.Incident.Untold())
			there, err := b.confirm(q, e, at)
			if err == nil && !there {
				err = q.NotLost(r.Before, uint64(e.Incident.Untold()))
			}
			if err != nil {
				return err
			}
		}
		for _, key := range r.Over {
			if err := b.forgetOver(q, key, at); err != nil {
				return err
			}
		}
		return q.LossesTold(r.Losses)
	})
	return observations, err
}

// confirm notes that e was told. The record may have changed since e was read; what came meanwhile stays untold. It reports false
// where the incident is gone: evicted, or expired, and perhaps begun anew.
func (b *Inbox) confirm(q *spool.Queue, e *Entry, at time.Time) (there bool, err error) {
	record, ok := q.Get(e.Key)
	if !ok {
		return false, nil
	}
	in, err := incident.Decode(record.Body)
	if err != nil {
		return false, err
	}
	there = in.Opened.Equal(e.Incident.Opened)
	in, due, keep := b.Policy.ToldUntil(in, e.Incident, at)
	if !keep {
		return there, q.Delete(e.Key)
	}
	return there, put(q, e.Key, due, in)
}

// Forget removes incidents that are over, without a word.
func (b *Inbox) Forget(keys [][]byte, at time.Time) error {
	err := b.Spool.Update(func(tx *spool.Tx) error {
		for _, key := range keys {
			if err := b.forgetOver(tx.Queue(b.Receiver), key, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget incidents that are over: %w", err)
	}
	return nil
}

// forgetOver removes the incident unless it came back since it was read.
func (b *Inbox) forgetOver(q *spool.Queue, key []byte, at time.Time) error {
	record, ok := q.Get(key)
	if !ok {
		return nil
	}
	in, err := incident.Decode(record.Body)
	if err != nil {
		return err
	}
	if !b.Policy.Over(in, at) {
		return nil
	}
	return q.Delete(key)
}

// Bury makes a dead letter of an incident that was refused for good, unless it ended and began anew meanwhile: that one was not refused.
func (b *Inbox) Bury(e *Entry, reason string, answer []byte, at time.Time) error {
	return b.Spool.Update(func(tx *spool.Tx) error {
		q := tx.Queue(b.Receiver)
		record, ok := q.Get(e.Key)
		if !ok {
			return nil
		}
		in, err := incident.Decode(record.Body)
		if err != nil || !in.Opened.Equal(e.Incident.Opened) {
			return err
		}
		return q.Bury(e.Key, reason, answer, at)
	})
}
