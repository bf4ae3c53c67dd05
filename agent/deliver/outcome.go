package deliver

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/deliver/suspect"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/recent"
	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/notify"
)

func keyOf(e *inbox.Entry) suspect.Key { return suspect.Key{ID: string(e.Key)} }

func keyOfGroup(group string) suspect.Key { return suspect.Key{Group: true, ID: group} }

// delivered takes what the receiver confirmed out of the queue.
func (d *Delivery) delivered(ctx context.Context, b *batch, confirmed []inbox.Entry) {
	d.count(recent.OK)
	if !b.trial && !d.doubt.narrow.Active() && d.doubt.asides.Accused() == 0 {
		d.awaySince = time.Time{}
	}
	d.taken()
	d.clear(b, confirmed)
	d.acknowledge(ctx, &inbox.Receipt{Entries: confirmed, Over: b.Over, Losses: b.losses, Before: b.before})
	for i := range confirmed {
		if held := b.held[string(confirmed[i].Key)]; held != nil {
			d.acknowledgeCounted(ctx, held.Counted, b.before)
		}
	}
	if b.digest != nil {
		d.awaySince = time.Time{}
		counted := b.digest.Confirmed(len(confirmed))
		if b.digest.Done() {
			d.digest = nil
		}
		d.acknowledgeCounted(ctx, counted, b.before)
	}
	d.storm.Sent(stormMessage(b, len(confirmed), d.digest == nil), time.Now())
}

// clear takes off suspicion what the receiver confirmed, and decides what is blamed if the rest fails.
func (d *Delivery) clear(b *batch, confirmed []inbox.Entry) {
	doubt := &d.doubt
	switch {
	case doubt.narrow.Active() && !doubt.narrow.Again:
		// Most likely the receiver was down and is back. The rest is tried as a whole, and blamed at once if that fails.
		doubt.narrow, doubt.doubted = suspect.Narrowing{}, true
	case !doubt.narrow.Active() && !b.trial:
		doubt.doubted = false
	}
	if b.probe && len(confirmed) > 0 {
		// The group takes messages: it is another one of them that is at fault.
		doubt.cleared, doubt.doubted = d.groupOf(confirmed[0].Incident), true
	}
	doubt.narrow.Decided(confirmed)
	doubt.narrow.Taken = doubt.narrow.Active()
	for i := range confirmed {
		doubt.asides.Drop(keyOf(&confirmed[i]))
	}
	if b.trialGroup != "" {
		doubt.asides.Drop(keyOfGroup(b.trialGroup))
		doubt.cleared = b.trialGroup
	}
	doubt.tried = b.trial
}

// taken notes that the receiver takes messages: what failed alone meanwhile is itself at fault.
func (d *Delivery) taken() {
	doubt := &d.doubt
	if doubt.narrow.Active() || doubt.asides.Accused() > 0 {
		// The digest that says how long comes only now.
		d.awaySince = d.retries.trouble.Since
	}
	if s, ok := d.retries.trouble.Over(time.Now()); ok {
		d.options.Logger.Info("receiver takes messages again", "failures", s.Failures, "after", s.Duration)
	}
	for _, a := range doubt.asides.Prove() {
		d.setAside(a)
	}
	d.retries.pause.Reset()
	d.retries.probe.Reset()
	doubt.form = notify.Full
	switch {
	case doubt.refused >= d.mayRefuse():
		doubt.refusedRounds = min(doubt.refusedRounds+1, maxRefusedRounds)
	case doubt.refused == 0:
		doubt.refusedRounds = 0
	}
	doubt.refused, doubt.blameAt, doubt.mayAccuse = 0, 0, 0
	d.forgive()
}

// failed decides by the outcome what becomes of the message and when to try again.
func (d *Delivery) failed(ctx context.Context, b *batch, request *notify.Request, err error) time.Duration {
	outcome := notify.OutcomeOf(err)
	d.count(outcome.String())
	d.digest = nil
	failure, _ := errors.AsType[*notify.Error](err)
	if failure == nil {
		failure = &notify.Error{Outcome: outcome, Reason: "not sent", Err: err}
	}
	if failure.RetryAfter > 0 {
		d.gate.LeaveAlone(failure.RetryAfter)
	}
	entries := b.entriesOf(request)
	switch {
	case failure.Refused != nil:
		return d.partly(ctx, b, entries, failure)
	case b.trial && (failure.Answered() || outcome == notify.BadPayload):
		return d.trialFailed(b, entries, failure)
	case failure.GroupOnly && request.Group != "" && len(entries) > 0 && d.holdGroup(request.Group, &entries[0], failure):
		return 0
	case outcome == notify.BadPayload && d.doubt.refused < d.mayRefuse():
		return d.badPayload(entries, failure)
	}
	return d.backOff(request, entries, failure)
}

// backOff lets the receiver rest, and narrows down what it is that it does not take.
func (d *Delivery) backOff(request *notify.Request, entries []inbox.Entry, failure *notify.Error) time.Duration {
	changed := d.retries.trouble.Changed(time.Now(), failure.Error())
	if d.blame(request, entries, failure) {
		return 0
	}
	var pause time.Duration
	state := StateBackoff
	switch {
	case failure.Outcome == notify.Retry:
		pause = d.retries.pause.NextBackOff()
	case d.doubt.narrow.Active():
		state, pause = StateRefused, firstProbe/2
	default:
		state, pause = StateRefused, max(firstProbe/2, d.retries.probe.NextBackOff())
	}
	pause = max(pause, failure.RetryAfter)
	if changed {
		if state == StateRefused {
			d.options.Logger.Error("receiver refuses every message, the queue is kept", "err", failure, "next", pause.Round(time.Second))
		} else {
			d.options.Logger.Warn("delivery failed, will be tried again", "err", failure, "next", pause.Round(time.Second))
		}
	}
	d.mu.Lock()
	d.status.LastError, d.status.FileMissing = failure.Error(), errors.Is(failure, fs.ErrNotExist)
	if state == StateRefused && d.status.RefusedSince.IsZero() {
		d.status.RefusedSince = time.Now()
	}
	d.mu.Unlock()
	d.retries.resumeAt = time.Now().Add(pause)
	d.state(state, d.retries.resumeAt)
	return pause
}

// blame suspects a part of a message that failed suspect.MaxTries times in a row though the receiver answered: it is sent in halves, and
// what fails alone lets the others go first. Whether it is at fault shows when one of these is taken; when several fail, it is the
// receiver. It reports whether the fault was found.
func (d *Delivery) blame(request *notify.Request, entries []inbox.Entry, failure *notify.Error) bool {
	doubt := &d.doubt
	proved := doubt.narrow.Taken || doubt.doubted
	enough := max(suspect.MaxTries, doubt.blameAt)
	if proved {
		enough = 1
	}
	if !failure.Answered() || len(entries) == 0 || d.retries.trouble.Failures < enough || doubt.refused >= d.mayRefuse() {
		return false
	}
	key := keyOf(&entries[0])
	if request.Group != "" && request.Group != doubt.cleared {
		key = keyOfGroup(request.Group)
	} else if len(entries) > 1 {
		if !doubt.narrow.Active() {
			d.retries.pause.Reset()
		}
		doubt.narrow.Halve(entries)
		doubt.narrow.Again, doubt.narrow.Taken, doubt.doubted = doubt.narrow.Again || doubt.doubted, proved, false
		return false
	}
	doubt.narrow.Decided(entries)
	limit := max(suspect.MaxAccused, doubt.mayAccuse)
	if proved || doubt.asides.Accused() < limit {
		if a, ok := doubt.asides.Hold(key, &entries[0], failure, proved, 1); ok {
			if proved {
				d.setAside(a)
			}
			return proved
		}
	}
	doubt.asides.Acquit()
	doubt.narrow = suspect.Narrowing{}
	doubt.blameAt, doubt.mayAccuse = 2*d.retries.trouble.Failures, min(2*limit, suspect.MaxAside/2)
	return false
}

// setAside notes that what is set aside is at fault, and the receiver is not.
func (d *Delivery) setAside(a *suspect.Suspect) {
	d.options.Logger.Warn("a message fails alone and is set aside, the others go on", "workload", a.Workload, "reason", a.Reason,
		"since", a.Since, "err", a.Failure)
	d.retries.trouble = retry.Trouble{}
	d.forgive()
}

// holdGroup sets a topic or the like aside of which the receiver said that it alone is at fault.
func (d *Delivery) holdGroup(group string, e *inbox.Entry, failure *notify.Error) bool {
	a, ok := d.doubt.asides.Hold(keyOfGroup(group), e, failure, true, 0)
	if ok && a.Tries == 1 {
		d.options.Logger.Warn("what goes to this topic is set aside, the rest goes on", "topic", group, "err", failure)
	}
	return ok
}

// partly takes out of the queue what a receiver accepted of a message, and sets aside what it did not.
func (d *Delivery) partly(ctx context.Context, b *batch, entries []inbox.Entry, failure *notify.Error) time.Duration {
	var confirmed []inbox.Entry
	d.taken()
	full := false
	for i := range entries {
		at := slices.Index(failure.Refused, i)
		if at < 0 {
			confirmed = append(confirmed, entries[i])
			d.doubt.asides.Drop(keyOf(&entries[i]))
			continue
		}
		if failure.OutcomeOfRefused(at) == notify.BadPayload {
			full = d.bury(&entries[i], failure) != nil || full
			continue
		}
		_, held := d.doubt.asides.Hold(keyOf(&entries[i]), &entries[i], failure, true, 0)
		full = full || !held
	}
	d.doubt.narrow.Decided(entries)
	d.doubt.tried = b.trial
	if len(confirmed) > 0 {
		d.acknowledge(ctx, &inbox.Receipt{Entries: confirmed, Over: b.Over, Losses: b.losses, Before: b.before})
	}
	if !full {
		return 0
	}
	pause := d.retries.pause.NextBackOff()
	d.state(StateBackoff, time.Now().Add(pause))
	return pause
}

// trialFailed lets what is set aside wait longer. What was refused for good is tried once in its simplest form, and then buried.
func (d *Delivery) trialFailed(b *batch, entries []inbox.Entry, failure *notify.Error) time.Duration {
	asides := &d.doubt.asides
	d.doubt.tried = true
	refused := failure.Outcome == notify.BadPayload && d.doubt.refused < d.mayRefuse()
	if b.trialGroup != "" {
		if refused {
			asides.Drop(keyOfGroup(b.trialGroup))
			return d.badPayload(entries, failure)
		}
		asides.Hold(keyOfGroup(b.trialGroup), &entries[0], failure, true, 0)
		return 0
	}
	for i := range entries {
		key := keyOf(&entries[i])
		if refused && len(entries) == 1 && asides.Simplified(key) && d.bury(&entries[i], failure) == nil {
			asides.Drop(key)
			return 0
		}
		if a, ok := asides.Hold(key, &entries[i], failure, true, 0); ok && refused {
			a.Form, a.Tries = notify.Simple, max(a.Tries, suspect.MaxTries)
		}
	}
	return 0
}

// badPayload narrows the message until the one incident that spoils it is found, tries that in its simplest form, and then
// keeps it as a dead letter, so that it blocks nothing.
func (d *Delivery) badPayload(entries []inbox.Entry, failure *notify.Error) time.Duration {
	doubt := &d.doubt
	switch {
	case len(entries) == 0:
		return d.retries.pause.NextBackOff()
	case len(entries) > 1 || doubt.form == notify.Full:
		doubt.narrow.Halve(entries)
		doubt.narrow.Again = true
		if len(entries) == 1 {
			doubt.form = notify.Simple
		}
		return 0
	}
	doubt.form = notify.Full
	doubt.refused++
	if err := d.bury(&entries[0], failure); err != nil {
		return d.retries.pause.NextBackOff()
	}
	doubt.narrow.Decided(entries)
	if doubt.refused >= d.mayRefuse() {
		doubt.narrow = suspect.Narrowing{}
	}
	return 0
}
