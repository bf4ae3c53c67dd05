package deliver

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/deliver/suspect"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxRefused is how many messages in a row are given up as dead letters before the receiver itself is blamed: a
	// wrong keyword setting refuses every message, and must not empty the queue.
	maxRefused = 5
	// maxRefusedRounds bounds how often that is doubled: to a few more than the dead letters that a queue keeps.
	maxRefusedRounds = 5
	// maxSkip is how many messages the probes of such a receiver pass over at most: each passes over four times as many as the one before.
	maxSkip = 255
	// frugalInterval is the pause between two messages when four fifths of a budget are used.
	frugalInterval = time.Hour
)

// batch is what the next message tells.
type batch struct {
	inbox.Batch
	// digest is set when the entries are those of a digest. wantsDigest says that one is to be made when it can leave.
	digest      *inbox.Digest
	wantsDigest bool
	// stormy says that the digest is a short one, because of a storm; urgent that it, or the entries, are only what does not wait for its end.
	stormy, urgent bool
	// stormUntil is when a pause of the storm ends that holds everything else.
	stormUntil time.Time
	// losses are to be told, before is what was lost in all before the entries were read.
	losses, before []spool.Loss
	// held is what the entries hold back, by their keys.
	held map[string]*inbox.Held
	// untold counts the observations in the queue.
	untold uint64
	// trial says that the entries are set aside and tried on their own, in the given form; trialGroup is the group that is tried.
	trial      bool
	trialGroup string
	form       notify.Form
	// probe says that the entry is one in turn of a group that is suspected, with nothing there to try in its place.
	probe bool
}

// entriesOf returns the entries that a request tells.
func (b *batch) entriesOf(request *notify.Request) []inbox.Entry {
	var entries []inbox.Entry
	for _, i := range request.Indexes() {
		entries = append(entries, b.Entries[i])
	}
	return entries
}

// peek reads what is due, or what is to be tried of what fails alone. What it returns is bounded by the receiver's batch limits.
func (d *Delivery) peek(now time.Time) (batch, error) {
	b := batch{Batch: inbox.Batch{Next: now.Add(inbox.IdleWait)}, form: d.doubt.form}
	level := d.level()
	if pause := d.frugalPause(level, now); pause > 0 {
		b.Next = now.Add(min(pause, inbox.IdleWait))
		return b, nil
	}
	hold, level := d.stormHold(&b, now, level)
	if hold {
		return b, nil
	}
	anew, err := d.inbox.Read(now, func(r *inbox.Reading) (err error) {
		b.untold = r.Untold()
		b.losses, b.before = r.Losses()
		if err := d.chooseInStorm(r, &b, now, level); err != nil {
			return err
		}
		b.held, err = r.HeldBy(b.Entries)
		return err
	})
	switch {
	case err != nil:
		return b, err
	case anew && d.digest == nil:
		return batch{Batch: inbox.Batch{Next: now}}, nil
	case len(b.Entries) == 0 && !b.wantsDigest && len(b.Over) >= inbox.MaxOver:
		return b, d.inbox.Forget(b.Over, time.Now())
	}
	return b, nil
}

// choose decides what the next message tells: the next part of a digest, what a message that failed is narrowed down to, what is set
// aside and due again, or the rest of the queue.
func (d *Delivery) choose(r *inbox.Reading, b *batch, now time.Time, level budget.Level) error {
	if d.digest != nil {
		b.digest, b.Entries, b.before = d.digest, d.digest.Rows, d.digest.Before
		return nil
	}
	if d.doubt.narrow.Active() {
		if err := d.readSuspects(r, b, level); err != nil || len(b.Entries) > 0 {
			return err
		}
		d.doubt.form, b.form = notify.Full, notify.Full
	}
	if !d.doubt.tried && d.retries.trouble.Failures == 0 {
		if err := d.readAside(r, b, now, level); err != nil || len(b.Entries) > 0 {
			return err
		}
	}
	if d.wantsDigest(r, b, now, level) {
		b.wantsDigest = true
		return nil
	}
	if err := d.readDue(r, b, level); err != nil || len(b.Entries) > 0 {
		return err
	}
	if d.doubt.asides.Accused() > 0 && now.Before(d.retries.resumeAt) {
		if d.retries.resumeAt.Before(b.Next) {
			b.Next = d.retries.resumeAt
		}
	} else if d.doubt.asides.Accused() > 0 {
		// Nothing is there to try in its place.
		b.probe = d.doubt.asides.Acquit()
		if err := d.readDue(r, b, level); err != nil || len(b.Entries) > 0 {
			return err
		}
	}
	return d.readAside(r, b, now, level)
}

// wantsDigest reports whether so much is due, or so late, that it is to be summed up. At four fifths of the budget everything is.
func (d *Delivery) wantsDigest(r *inbox.Reading, b *batch, now time.Time, level budget.Level) bool {
	if !d.inbox.Limits.Digest || d.options.Policy.PerEvent || d.doubt.refused > 0 || level == budget.CriticalOnly {
		return false
	}
	if d.stormBegins(r, now) {
		b.stormy = true
		return true
	}
	backlog := d.options.Backlog
	if level == budget.Frugal {
		backlog.After = 0
	}
	return r.Exceeds(backlog, d.doubt.asides.Holds)
}

// skipOf returns how many messages a probe passes over after so many have failed: 0, 3, 15, 63, maxSkip, and again. A few dozen bad ones
// in front of the others are passed within minutes.
func skipOf(failures int) int { return maxSkip >> (8 - 2*(failures%5)) }

// mayRefuse is how many messages in a row are given up before the receiver itself is blamed.
func (d *Delivery) mayRefuse() int { return maxRefused << d.doubt.refusedRounds }

// readDue reads from the queue in the order of due times, without what is set aside.
func (d *Delivery) readDue(r *inbox.Reading, b *batch, level budget.Level) (err error) {
	s := inbox.Selection{
		CriticalOnly: level == budget.CriticalOnly, Group: b.trialGroup,
		Holds: d.doubt.asides.Holds, HoldsGroup: d.doubt.asides.HoldsGroup,
	}
	switch {
	case b.trialGroup != "":
		// Each trial is of another message, for it may be the first one that is bad.
		s.One, s.Skip = true, skipOf(d.doubt.asides.Tries(suspect.Key{Group: true, ID: b.trialGroup}))
	case b.probe, d.doubt.refused >= d.mayRefuse():
		s.One, s.Skip = true, skipOf(d.retries.trouble.Failures)
	}
	b.Batch, err = r.Due(s)
	return err
}

// readSuspects reads the first incidents of a message that failed. Those that are gone or were told are no suspects any more.
func (d *Delivery) readSuspects(r *inbox.Reading, b *batch, level budget.Level) error {
	var size int64
	limits := d.inbox.Limits
	keys, most := d.doubt.narrow.Suspects()
	for _, key := range keys {
		e, ok, err := r.Entry(key, level == budget.CriticalOnly)
		if err != nil {
			return err
		}
		if !ok {
			d.doubt.narrow.Remove(key)
			continue
		}
		size += int64(len(e.Incident.Event.Message))
		if len(b.Entries) > 0 && (len(b.Entries) >= min(most, limits.Batch) || size > limits.BatchBytes) {
			break
		}
		b.Entries = append(b.Entries, e)
	}
	return nil
}

// readAside reads what is set aside and due again: one incident, or all that have failed less than suspect.MaxTries times, or one of a
// group. It lets b be due no later than the next of them.
func (d *Delivery) readAside(r *inbox.Reading, b *batch, now time.Time, level budget.Level) error {
	for {
		key, a, next := d.doubt.asides.Due(now)
		if a == nil {
			if !next.IsZero() && next.Before(b.Next) {
				b.Next = next
			}
			return nil
		}
		before := b.Next
		if key.Group {
			b.trialGroup = key.ID
			err := d.readDue(r, b, level)
			b.Next = before
			if err != nil || len(b.Entries) > 0 {
				b.trial, b.form = true, notify.Full
				return err
			}
			b.trialGroup = ""
		} else if err := d.readYoungAsides(r, b, key, a.Form, now, level); err != nil || len(b.Entries) > 0 {
			return err
		}
		// It was evicted, or told by another message: nothing of it waits.
		d.doubt.asides.Drop(key)
	}
}

func (d *Delivery) readYoungAsides(r *inbox.Reading, b *batch, first suspect.Key, form notify.Form, now time.Time, level budget.Level) error {
	b.form = form
	keys := d.doubt.asides.Young(first, now)
	for _, key := range keys[:min(len(keys), d.inbox.Limits.Batch)] {
		e, ok, err := r.Entry([]byte(key.ID), level == budget.CriticalOnly)
		if err != nil {
			return err
		}
		if ok {
			b.Entries = append(b.Entries, e)
		}
	}
	b.trial = len(b.Entries) > 0
	d.inbox.Sort(b.Entries)
	return nil
}

// level says how much may be sent.
func (d *Delivery) level() budget.Level {
	if d.options.Budget == nil {
		return budget.Free
	}
	return d.options.Budget.Level()
}

// frugalPause returns how long the next message has to wait for the budget's sake. The parts of a digest belong together.
func (d *Delivery) frugalPause(level budget.Level, now time.Time) time.Duration {
	if level != budget.Frugal || d.digest != nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status.LastDelivered.Add(frugalInterval).Sub(now)
}

// sumUp makes the digest that b wants, of what is due now that it can leave.
func (d *Delivery) sumUp(b *batch) error {
	_, err := d.inbox.Read(time.Now(), func(r *inbox.Reading) (err error) {
		if b.stormy {
			d.digest, err = r.ShortDigest(d.doubt.asides.Holds, b.urgent)
		} else {
			d.digest, err = r.Digest(d.doubt.asides.Holds)
		}
		if err != nil {
			return err
		}
		d.digest.AwaySince = d.unreachableSince()
		b.untold, b.before = r.Untold(), d.digest.Before
		b.losses, _ = r.Losses()
		b.held, err = r.HeldBy(d.digest.Rows)
		return err
	})
	if err != nil {
		return err
	}
	b.digest, b.Entries = d.digest, d.digest.Rows
	return nil
}

// unreachableSince returns since when the receiver could not be reached that can be now, the zero time where it could.
func (d *Delivery) unreachableSince() (since time.Time) {
	since = d.gate.OutageAfter(d.Status().LastDelivered)
	if trouble := &d.retries.trouble; trouble.Failures > 0 && (since.IsZero() || trouble.Since.Before(since)) {
		since = trouble.Since
	}
	if since.IsZero() {
		since = d.awaySince
	}
	return since
}
