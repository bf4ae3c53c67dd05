package spool

import (
	"fmt"
	"time"
)

// Causes of a loss.
const (
	Evicted = "evicted" // the file was full
	Expired = "expired" // older than MaxAge
	Refused = "refused" // the receiver refused the message for good
	Damaged = "damaged" // the file was damaged and the record could not be read
	Unseen  = "unseen"  // nobody watched for longer than events live
	// Undecodable stands for what was shown and could not be read.
	Undecodable = "undecodable"
)

// Loss is what one receiver was not and will not be told, except by telling of the loss.
type Loss struct {
	// Cause is one of the constants, or another word of at most 32 bytes.
	Cause string
	// Records is how many incidents or messages, Events how many occurrences in them. Both may be 0 where nobody knows.
	Records, Events uint64
	// Times is how often a loss of this cause was counted. Lose takes 0 for 1.
	Times uint64
	// Since is when the first of them was counted. Lose takes the zero time for now.
	Since time.Time
}

func (l Loss) isNothing() bool {
	return l.Records == 0 && l.Events == 0 && l.Times == 0
}

// Lose counts a loss: as untold, and in the total.
func (q *Queue) Lose(l Loss) error {
	if l.Cause == "" || len(l.Cause) > 32 {
		return fmt.Errorf("%w: cause %q", ErrTooLarge, l.Cause)
	}
	if l.Since.IsZero() {
		l.Since = q.tx.spool.options.Now()
	}
	l.Times = max(1, l.Times)
	if err := q.create(); err != nil {
		return err
	}
	for _, kind := range []byte{kindUntold, kindTotal} {
		if err := q.addLoss(kind, l); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) addLoss(kind byte, l Loss) error {
	if sum, ok := q.loss(kind, l.Cause); ok {
		l.Records += sum.Records
		l.Events += sum.Events
		l.Times += sum.Times
		if sum.Since.Before(l.Since) {
			l.Since = sum.Since
		}
	}
	return q.tx.putChanged(named(kind, q.name, []byte(l.Cause)...), l.append(nil))
}

func (q *Queue) loss(kind byte, cause string) (Loss, bool) {
	if !q.valid() {
		return Loss{}, false
	}
	payload, ok := q.tx.payload(named(kind, q.name, []byte(cause)...))
	if !ok {
		return Loss{}, false
	}
	l, err := decodeLoss(cause, payload)
	if err != nil {
		q.tx.damaged(err)
	}
	return l, err == nil
}

// UntoldLosses returns what has to be told, sorted by cause.
func (q *Queue) UntoldLosses() []Loss {
	return q.losses(kindUntold)
}

// TotalLosses returns all that was ever lost, sorted by cause.
func (q *Queue) TotalLosses() []Loss {
	return q.losses(kindTotal)
}

func (q *Queue) losses(kind byte) []Loss {
	if !q.valid() {
		return nil
	}
	var losses []Loss
	prefix := named(kind, q.name)
	for key := range q.tx.scan(prefix) {
		if l, ok := q.loss(kind, string(key[len(prefix):])); ok {
			losses = append(losses, l)
		}
	}
	return losses
}

// LossesTold takes what was told, as UntoldLosses returned it, from what is untold. What came meanwhile stays.
func (q *Queue) LossesTold(told []Loss) error {
	for _, l := range told {
		if err := q.subtract(kindUntold, l); err != nil {
			return err
		}
	}
	return nil
}

// NotLost takes off the losses what was counted as lost after before was read, TotalLosses of an earlier transaction, and turned out to be
// delivered: a record of so many events that was evicted or expired while its message was on its way. It does nothing where no such loss
// was counted. The loss is taken off what is untold as far as it is.
func (q *Queue) NotLost(before []Loss, events uint64) error {
	for _, l := range q.TotalLosses() {
		known := Loss{Cause: l.Cause}
		for _, b := range before {
			if b.Cause == l.Cause {
				known = b
			}
		}
		if l.Records <= known.Records || l.Events-min(l.Events, known.Events) < events {
			continue
		}
		for _, kind := range []byte{kindTotal, kindUntold} {
			sum, ok := q.loss(kind, l.Cause)
			if !ok {
				continue
			}
			taken := Loss{Cause: l.Cause, Records: 1, Events: events}
			if sum.Records <= 1 && sum.Events <= events {
				taken.Times = sum.Times
			}
			if err := q.subtract(kind, taken); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// subtract takes l from a sum, down to nothing.
func (q *Queue) subtract(kind byte, l Loss) error {
	sum, ok := q.loss(kind, l.Cause)
	if !ok {
		return nil
	}
	sum.Records -= min(sum.Records, l.Records)
	sum.Events -= min(sum.Events, l.Events)
	sum.Times -= min(sum.Times, l.Times)
	key := named(kind, q.name, []byte(l.Cause)...)
	if sum.isNothing() {
		_, err := q.tx.delete(key)
		return err
	}
	if kind == kindUntold {
		// When the first of the rest was counted is not known: not before the last of what was told.
		sum.Since = q.tx.spool.options.Now()
	}
	return q.tx.putChanged(key, sum.append(nil))
}
