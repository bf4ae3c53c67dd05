package queue

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
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

func (l Loss) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, l.Records)
	b = binary.BigEndian.AppendUint64(b, l.Events)
	b = binary.BigEndian.AppendUint64(b, l.Times)
	return binary.BigEndian.AppendUint64(b, uint64(format.Millis(l.Since)))
}

// DecodeLoss reads a loss as it is stored.
func DecodeLoss(cause string, b []byte) (Loss, error) {
	if len(b) < format.LossLen {
		return Loss{}, fmt.Errorf("%w: loss of %d bytes", format.ErrMalformed, len(b))
	}
	return Loss{
		Cause:   cause,
		Records: binary.BigEndian.Uint64(b),
		Events:  binary.BigEndian.Uint64(b[8:]),
		Times:   binary.BigEndian.Uint64(b[16:]),
		Since:   time.UnixMilli(int64(binary.BigEndian.Uint64(b[24:]))),
	}, nil
}

func (l Loss) isNothing() bool {
	return l.Records == 0 && l.Events == 0 && l.Times == 0
}

// Lose counts a loss: as untold, and in the total.
func (q *Queue) Lose(l Loss) error {
	if l.Cause == "" || len(l.Cause) > 32 {
		return fmt.Errorf("%w: cause %q", failure.ErrTooLarge, l.Cause)
	}
	if l.Since.IsZero() {
		l.Since = q.Tx.Env.Now()
	}
	l.Times = max(1, l.Times)
	if err := q.Create(); err != nil {
		return err
	}
	for _, kind := range []byte{format.KindUntold, format.KindTotal} {
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
	return q.putLoss(kind, l)
}

// putLoss stores a sum. Behind a total stays what was told of it, which only grows: a rescue that finds an older copy of what is untold
// must not tell it again.
func (q *Queue) putLoss(kind byte, l Loss) error {
	payload := l.append(nil)
	if kind == format.KindTotal {
		payload = q.told(l.Cause).append(payload)
	}
	return q.Tx.PutChanged(format.Named(kind, q.Name, []byte(l.Cause)...), payload)
}

// toldLosses is how much of a total was told.
type toldLosses struct{ records, events, times uint64 }

func (t toldLosses) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, t.records)
	b = binary.BigEndian.AppendUint64(b, t.events)
	return binary.BigEndian.AppendUint64(b, t.times)
}

// decodeTold reads what lies behind a total. A file of an older release has nothing there.
func decodeTold(total []byte) (toldLosses, bool) {
	const at = 32
	if len(total) < at+24 {
		return toldLosses{}, false
	}
	return toldLosses{
		binary.BigEndian.Uint64(total[at:]), binary.BigEndian.Uint64(total[at+8:]), binary.BigEndian.Uint64(total[at+16:]),
	}, true
}

// told returns how much of the total of a cause was told: in a file of an older release what is not untold.
func (q *Queue) told(cause string) toldLosses {
	payload, ok := q.Tx.Payload(format.Named(format.KindTotal, q.Name, []byte(cause)...))
	if !ok {
		return toldLosses{}
	}
	if t, ok := decodeTold(payload); ok {
		return t
	}
	total, _ := q.loss(format.KindTotal, cause)
	untold, _ := q.loss(format.KindUntold, cause)
	return toldLosses{
		total.Records - min(total.Records, untold.Records), total.Events - min(total.Events, untold.Events), total.Times - min(total.Times, untold.Times),
	}
}

// noteTold adds what is being told of a cause.
func (q *Queue) noteTold(l Loss) error {
	total, ok := q.loss(format.KindTotal, l.Cause)
	untold, isUntold := q.loss(format.KindUntold, l.Cause)
	if !ok || !isUntold {
		return nil
	}
	t := q.told(l.Cause)
	t.records += min(untold.Records, l.Records)
	t.events += min(untold.Events, l.Events)
	t.times += min(untold.Times, l.Times)
	return q.Tx.PutChanged(format.Named(format.KindTotal, q.Name, []byte(l.Cause)...), t.append(total.append(nil)))
}

// SettleUntold takes from what a rescue found untold all that was told, as the total says.
func (q *Queue) SettleUntold() error {
	for _, l := range q.TotalLosses() {
		payload, _ := q.Tx.Payload(format.Named(format.KindTotal, q.Name, []byte(l.Cause)...))
		t, ok := decodeTold(payload)
		untold, found := q.loss(format.KindUntold, l.Cause)
		if !ok {
			continue
		}
		rest := Loss{
			l.Cause, l.Records - min(l.Records, t.records), l.Events - min(l.Events, t.events), l.Times - min(l.Times, t.times), l.Since,
		}
		if found {
			rest = Loss{l.Cause, min(rest.Records, untold.Records), min(rest.Events, untold.Events), min(rest.Times, untold.Times), untold.Since}
		}
		key := format.Named(format.KindUntold, q.Name, []byte(l.Cause)...)
		if rest.isNothing() {
			if _, err := q.Tx.Delete(key); err != nil {
				return err
			}
			continue
		}
		if err := q.Tx.PutChanged(key, rest.append(nil)); err != nil {
			return err
		}
	}
	return q.Tx.Err
}

func (q *Queue) loss(kind byte, cause string) (Loss, bool) {
	if !q.valid() {
		return Loss{}, false
	}
	payload, ok := q.Tx.Payload(format.Named(kind, q.Name, []byte(cause)...))
	if !ok {
		return Loss{}, false
	}
	l, err := DecodeLoss(cause, payload)
	if err != nil {
		q.Tx.IsDamaged(err)
	}
	return l, err == nil
}

// UntoldLosses returns what has to be told, sorted by cause.
func (q *Queue) UntoldLosses() []Loss {
	return q.losses(format.KindUntold)
}

// TotalLosses returns all that was ever lost, sorted by cause.
func (q *Queue) TotalLosses() []Loss {
	return q.losses(format.KindTotal)
}

func (q *Queue) losses(kind byte) []Loss {
	if !q.valid() {
		return nil
	}
	var losses []Loss
	prefix := format.Named(kind, q.Name)
	for key := range q.Tx.Scan(prefix) {
		if l, ok := q.loss(kind, string(key[len(prefix):])); ok {
			losses = append(losses, l)
		}
	}
	return losses
}

// LossesTold takes what was told, as UntoldLosses returned it, from what is untold. What came meanwhile stays.
func (q *Queue) LossesTold(told []Loss) error {
	for _, l := range told {
		if err := q.noteTold(l); err != nil {
			return err
		}
		if err := q.subtract(format.KindUntold, l); err != nil {
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
		for _, kind := range []byte{format.KindTotal, format.KindUntold} {
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
	key := format.Named(kind, q.Name, []byte(l.Cause)...)
	if sum.isNothing() {
		_, err := q.Tx.Delete(key)
		return err
	}
	if kind == format.KindUntold {
		// When the first of the rest was counted is not known: not before the last of what was told.
		sum.Since = q.Tx.Env.Now()
	}
	return q.putLoss(kind, sum)
}
