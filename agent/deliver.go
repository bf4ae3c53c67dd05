package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// stopGrace is how long an attempt under way may go on after the agent was asked to stop: within the 5 seconds
	// in which the agent ends.
	stopGrace = 3 * time.Second
	// firstProbe and lastProbe bound the pauses between the probes of a receiver that takes no message.
	firstProbe = 30 * time.Second
	lastProbe  = 10 * time.Minute
	// maxRefused is how many messages in a row are given up as dead letters before the receiver itself is blamed: a
	// wrong keyword setting refuses every message, and must not empty the queue.
	maxRefused = 5
	// maxRefusedRounds bounds how often that is doubled: to a few more than the dead letters that a queue keeps.
	maxRefusedRounds = 5
	// maxSkip is how many messages the probes of such a receiver pass over at most: each passes over four times as many as the one before.
	maxSkip = 255
	// maxOver is how many incidents that are over may lie in the queue before a commit is made only to remove them.
	maxOver = 64
	// idleWait is the longest wait for something to be due. A clock that jumped is noticed then at the latest.
	idleWait = time.Hour
)

// delivery drains the queue of one receiver: peek, wait for the limits, render, send, and only after the receiver's own
// yes take out of the queue what was told.
type delivery struct {
	name, kind string
	receiver   notify.Receiver
	spool      *spool.Spool
	policy     incident.Policy
	// limits are those of the platform, that of the longest window first. reserved of them have a place for the next message.
	limits     []*rate.Limiter
	reserved   int
	cluster    string
	language   string
	severity   func(reason string) notify.Severity
	timeout    time.Duration
	maxBackoff time.Duration
	// More than digestAfter incidents that are due, or several of which one is overdue by digestAge, become a digest.
	digestAfter int
	digestAge   time.Duration
	// sendResolved says that the next message names incidents that are over. Where maxOver of them gather first, they are
	// forgotten without a word, as all are without it.
	sendResolved bool
	logger       *slog.Logger
	// link is the way out; nil: it is not looked at. budget says how much may be sent; nil: everything.
	link   wayOut
	budget *budget.Budget
	// dialer knows whether a receiver is near; nil: none is.
	dialer *dial.Dialer
	// wake interrupts the wait for the next due time.
	wake chan struct{}
	// again interrupts the wait for the next attempt of a receiver that is failing: an operator asks for it.
	again chan struct{}
	// noted is told what became of each attempt; nil: nobody is.
	noted func(control.Delivery)

	// putBack is set from when clock was found put back until what it held is corrected.
	clock   wallClock
	putBack bool
	// form is that of the next message; Simple where the richer one of an incident on its own was refused.
	form   notify.Form
	narrow narrowing
	asides asides
	// tried says that the last message was of what is set aside: others go next.
	tried bool
	// blameAt is from how many failures in a row on a message is suspected again, and mayAccuse how many are then, after as many were
	// suspected as it takes to blame the receiver; 0: maxTries and maxAccused.
	blameAt, mayAccuse int
	// doubted says that a part of a message was taken after the whole failed, and the next message is the rest as a whole.
	doubted bool
	// resumeAt is when what failed last is tried again, if nothing else is there to try in its place.
	resumeAt time.Time
	// cleared is the group that was set aside last and took a message since: of those that fail now, the message is at fault.
	cleared string
	// awaySince is when a receiver could no longer be reached that takes messages again, until a digest has said so.
	awaySince time.Time
	// asked says that an operator wants everything tried at once.
	asked atomic.Bool
	// digest is the one that is being sent; nil: none is.
	digest *digest
	// notBefore is until when the receiver asked to be left alone. Neither a link that changed nor news cuts that short.
	notBefore time.Time
	// ways is which way out the receiver's connections were made by.
	ways uint64
	// refused counts the messages given up since one was taken, and refusedRounds how often a probe was taken after so many that the
	// receiver itself was blamed: the fault was theirs, and twice as many may follow.
	refused, refusedRounds int
	pause                  *backoff.ExponentialBackOff
	probes                 *backoff.ExponentialBackOff
	trouble                trouble

	mu     sync.Mutex
	status DeliveryStatus
}

// The states of a delivery.
const (
	// stateIdle: nothing is due.
	stateIdle = "idle"
	// stateLinkDown: there is no way out.
	stateLinkDown = "link down"
	// stateWaiting: for the rate limit.
	stateWaiting = "waiting"
	// stateSending: an attempt is under way.
	stateSending = "sending"
	// stateBackoff: an attempt failed and will be repeated.
	stateBackoff = "backoff"
	// stateRefused: the receiver takes no message; it is probed slowly.
	stateRefused = "refused"
)

// DeliveryStatus is what a delivery is doing.
type DeliveryStatus struct {
	// State is idle, link down, waiting, sending, backoff or refused.
	State string
	// Since is when the state began.
	Since time.Time
	// Next is when the next attempt is planned, in the states waiting, backoff and refused.
	Next time.Time
	// RefusedSince is when the receiver began to refuse every message; zero: it does not.
	RefusedSince time.Time
	// LastError is the text of the last failure, empty after a success.
	LastError string
	// FileMissing says that the last failure was a file with an address or a secret that is not there.
	FileMissing bool
	// LastDelivered is when the receiver last confirmed a message.
	LastDelivered time.Time
	// Aside is what fails alone while others are taken, the oldest first, and AsideCount how much that is in all.
	Aside      []Aside
	AsideCount int
	// MuteOnLosses says that the last message had losses to tell and no place for them: a body whose templates leave out the message.
	MuteOnLosses bool
	// Attempts counts by outcome: ok, retry, bad_payload, bad_target.
	Attempts map[string]uint64
	// Delivered counts the observations that the receiver confirmed.
	Delivered uint64
}

// run delivers until ctx ends.
func (d *delivery) run(ctx context.Context) error {
	d.pause = newBackoff(2*time.Second, d.maxBackoff)
	d.probes = newBackoff(2*firstProbe, 2*lastProbe)
	sendCtx, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(stopGrace, func() { abandon(context.Cause(ctx)) })
		context.AfterFunc(sendCtx, func() { timer.Stop() })
	})()

	defer d.keep(ctx)()

	var reading trouble
	for {
		if d.asked.Swap(false) {
			d.asides.again(time.Now())
		}
		b, err := d.look(time.Now())
		pause, idle := time.Until(b.next), err == nil && len(b.incidents) == 0 && !b.wantsDigest
		switch {
		case err != nil:
			if reading.changed(time.Now(), err.Error()) {
				d.logger.Error("cannot read the queue", "err", err)
			}
			pause = d.pause.NextBackOff()
		case idle:
			// By the clock that cannot be set: a due time from disk would be long past once the wall clock was put ahead.
			d.rest(time.Now().Add(pause))
		case d.mayLeave(ctx):
			pause = d.attempt(ctx, sendCtx, &b)
		default:
			pause = 0
		}
		if pause > 0 {
			wake := d.wake
			if d.trouble.failures > 0 && !idle && d.asides.accused() == 0 || err != nil {
				// News is no reason to try a receiver earlier that is failing, unless it may be the message that is at fault; an
				// operator's word is. Where nothing is due, what failed is gone, by an eviction, a rescue or an operator, and its
				// pause is over.
				wake = d.again
			}
			changed, err := waitOr(ctx, pause, wake, d.linkChanged())
			if err != nil {
				return nil
			}
			if changed && d.trouble.failures > 0 && wait(ctx, link.Jitter()) == nil {
				// The way out is another one: what failed before says nothing of it.
				d.pause.Reset()
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// told is an incident as it was read from the queue.
type told struct {
	key      []byte
	incident *incident.Incident
	severity notify.Severity
}

// waiting is what peek found.
type waiting struct {
	incidents []told
	// digest is set when the incidents are those of a digest. wantsDigest says that one is to be made when it can leave.
	digest      *digest
	wantsDigest bool
	losses      []spool.Loss
	// lost is what was lost before the incidents were read. What is more of it later may be one of them.
	lost []spool.Loss
	// untold counts the observations in the queue.
	untold uint64
	// trial says that the incidents are set aside and tried on their own, in the given form; trialGroup is the group that is tried.
	trial bool
	// probe says that the incident is one in turn of a group that is suspected, with nothing there to try in its place.
	probe      bool
	trialGroup string
	form       notify.Form
	// over are the keys of incidents that can be forgotten, resolved those incidents where the receiver is told of them.
	over     [][]byte
	resolved []*incident.Incident
	// next is when something will be due, if nothing is.
	next time.Time
}

// in returns the incidents that a request tells.
func (w *waiting) in(request *notify.Request) []told {
	var in []told
	for _, i := range request.Indexes() {
		in = append(in, w.incidents[i])
	}
	return in
}

// look reads what is due, after it has corrected what a clock that was put back left behind.
func (d *delivery) look(now time.Time) (waiting, error) {
	d.putBack = d.clock.putBack(now) || d.putBack
	if d.putBack {
		if err := d.rebase(); err != nil {
			return waiting{}, err
		}
		d.putBack = false
	}
	return d.peek(now)
}

// peek reads what is due, or what is to be tried of what fails alone. What it returns is bounded by the receiver's batch limits.
func (d *delivery) peek(now time.Time) (waiting, error) {
	w := waiting{next: now.Add(idleWait), form: d.form}
	level := d.level()
	if pause := d.frugalPause(level, now); pause > 0 {
		w.next = now.Add(min(pause, idleWait))
		return w, nil
	}
	var stranded bool
	err := d.spool.View(func(tx *spool.Tx) error {
		q := tx.Queue(d.name)
		w.losses, w.untold, w.lost = q.UntoldLosses(), q.Untold(), q.TotalLosses()
		if err := d.choose(q, &w, now, level); err != nil {
			return err
		}
		last, ok := q.LastDue()
		stranded = ok && last.After(now.Add(d.policy.Longest()+time.Minute))
		return nil
	})
	if err != nil {
		return w, fmt.Errorf("read queue: %w", err)
	}
	if stranded && d.digest == nil {
		w = waiting{next: now}
		return w, d.rebase()
	}
	if len(w.incidents) == 0 && !w.wantsDigest && len(w.over) >= maxOver {
		return w, d.forget(w.over)
	}
	return w, nil
}

// choose decides what the next message tells: the next part of a digest, what a message that failed is narrowed down to, what is set
// aside and due again, or the rest of the queue.
func (d *delivery) choose(q *spool.Queue, w *waiting, now time.Time, level budget.Level) error {
	if d.digest != nil {
		w.digest, w.incidents, w.lost = d.digest, d.digest.rows, d.digest.lost
		return nil
	}
	if d.narrow.active() {
		if err := d.readSuspects(q, w, level); err != nil || len(w.incidents) > 0 {
			return err
		}
		d.form, w.form = notify.Full, notify.Full
	}
	if !d.tried && d.trouble.failures == 0 {
		if err := d.readAside(q, w, now, level); err != nil || len(w.incidents) > 0 {
			return err
		}
	}
	if d.receiver.Limits().Digest && !d.policy.PerEvent && d.refused == 0 && level != budget.CriticalOnly && d.digestDue(q, now, level) {
		w.wantsDigest = true
		return nil
	}
	if err := d.readDue(q, w, now, level); err != nil || len(w.incidents) > 0 {
		return err
	}
	if d.asides.accused() > 0 && now.Before(d.resumeAt) {
		w.next = earlier(w.next, d.resumeAt)
	} else if d.asides.accused() > 0 {
		// Nothing is there to try in its place.
		w.probe = d.asides.acquit()
		if err := d.readDue(q, w, now, level); err != nil || len(w.incidents) > 0 {
			return err
		}
	}
	return d.readAside(q, w, now, level)
}

// skipOf returns how many messages a probe passes over after so many have failed: 0, 3, 15, 63, maxSkip, and again. A few dozen bad ones
// in front of the others are passed within minutes.
func skipOf(failures int) int { return maxSkip >> (8 - 2*(failures%5)) }

// mayRefuse is how many messages in a row are given up before the receiver itself is blamed.
func (d *delivery) mayRefuse() int { return maxRefused << d.refusedRounds }

// readDue reads from the queue in the order of due times, without what is set aside. Incidents that were never told and are due within
// groupWait go along: companions share one message.
func (d *delivery) readDue(q *spool.Queue, w *waiting, now time.Time, level budget.Level) error {
	limits := d.receiver.Limits()
	most, skip := limits.Batch, 0
	switch {
	case w.trialGroup != "":
		// Each trial is of another message, for it may be the first one that is bad.
		most, skip = 1, skipOf(d.asides.all[asideKey{true, w.trialGroup}].tries)
	case w.probe, d.refused >= d.mayRefuse():
		most, skip = 1, skipOf(d.trouble.failures)
	}
	var due bool
	passed := 0
	var size int64
	w.over, w.resolved, w.next = nil, nil, now.Add(idleWait)
	for record := range q.Due(now.Add(idleWait)) {
		if record.Due.After(now) && (!due || record.Due.After(now.Add(d.policy.GroupWait))) {
			w.next = record.Due
			break
		}
		if d.asides.holds(record.Key) {
			continue
		}
		in, err := incident.Decode(record.Body)
		if err != nil {
			return fmt.Errorf("decode record %x: %w", record.Key, err)
		}
		switch {
		case d.policy.Over(in, now):
			if len(w.over) < maxOver {
				w.over = append(w.over, bytes.Clone(record.Key))
				if d.sendResolved {
					w.resolved = append(w.resolved, in)
				}
			}
			continue
		case in.Untold() == 0, record.Due.After(now) && !in.ToldAt.IsZero():
			continue
		case !passes(level, in, d.severityOf(in)):
			continue
		case w.trialGroup != "":
			if d.groupOf(in) != w.trialGroup {
				continue
			}
		case d.asides.holdsGroup(func() string { return d.groupOf(in) }):
			continue
		}
		if passed <= skip && len(w.incidents) > 0 {
			// The last one stays where there is none behind it.
			w.incidents, size = w.incidents[:0], 0
		}
		passed++
		size += int64(len(record.Body))
		if len(w.incidents) > 0 && (len(w.incidents) >= most || size > limits.BatchBytes) {
			break
		}
		due = due || !record.Due.After(now)
		w.incidents = append(w.incidents, told{bytes.Clone(record.Key), in, d.severityOf(in)})
	}
	w.sort(d.receiver.Limits())
	return nil
}

// sort puts the incidents into the order in which the receiver wants them.
func (w *waiting) sort(limits notify.Limits) {
	if !limits.OldestFirst {
		slices.SortStableFunc(w.incidents, worstAndNewestFirst)
	}
}

// groupOf returns the place within the receiver that the incident goes to, empty where it has one only.
func (d *delivery) groupOf(in *incident.Incident) string {
	grouper, ok := d.receiver.(notify.Grouper)
	if !ok {
		return ""
	}
	alert := in.Alert(d.policy, d.cluster, d.severityOf(in))
	return grouper.Group(&alert)
}

// readSuspects reads the first incidents of a message that failed. Those that are gone or were told are no suspects any more.
func (d *delivery) readSuspects(q *spool.Queue, w *waiting, level budget.Level) error {
	var size int64
	limits := d.receiver.Limits()
	for _, key := range slices.Clone(d.narrow.suspects) {
		t, ok, err := d.waitingUnder(q, key, level)
		if err != nil {
			return err
		}
		if !ok {
			d.narrow.removeKey(key)
			continue
		}
		size += int64(len(t.incident.Event.Message))
		if len(w.incidents) > 0 && (len(w.incidents) >= min(d.narrow.most, limits.Batch) || size > limits.BatchBytes) {
			break
		}
		w.incidents = append(w.incidents, t)
	}
	return nil
}

// readAside reads what is set aside and due again: one incident, or all that have failed less than maxTries times, or one of a group. It
// lets w be due no later than the next of them.
func (d *delivery) readAside(q *spool.Queue, w *waiting, now time.Time, level budget.Level) error {
	for {
		key, a, next := d.asides.due(now)
		if a == nil {
			if !next.IsZero() && next.Before(w.next) {
				w.next = next
			}
			return nil
		}
		before := w.next
		if key.group {
			w.trialGroup = key.id
			err := d.readDue(q, w, now, level)
			w.next = before
			if err != nil || len(w.incidents) > 0 {
				w.trial, w.form = true, notify.Full
				return err
			}
			w.trialGroup = ""
		} else if err := d.readYoungAsides(q, w, key, a, now, level); err != nil || len(w.incidents) > 0 {
			return err
		}
		// It was evicted, or told by another message: nothing of it waits.
		d.asides.drop(key)
	}
}

func (d *delivery) readYoungAsides(q *spool.Queue, w *waiting, first asideKey, a *aside, now time.Time, level budget.Level) error {
	w.form = a.form
	keys := []asideKey{first}
	if a.tries < maxTries {
		for key, other := range d.asides.all {
			if key != first && !key.group && other.proved && other.tries < maxTries && !other.next.After(now) {
				keys = append(keys, key)
			}
		}
	}
	for _, key := range keys[:min(len(keys), d.receiver.Limits().Batch)] {
		t, ok, err := d.waitingUnder(q, []byte(key.id), level)
		if err != nil {
			return err
		}
		if ok {
			w.incidents = append(w.incidents, t)
		}
	}
	w.trial = len(w.incidents) > 0
	w.sort(d.receiver.Limits())
	return nil
}

// waitingUnder reads an incident by its key, if it is still to be told.
func (d *delivery) waitingUnder(q *spool.Queue, key []byte, level budget.Level) (told, bool, error) {
	record, ok := q.Get(key)
	if !ok {
		return told{}, false, nil
	}
	in, err := incident.Decode(record.Body)
	if err != nil {
		return told{}, false, fmt.Errorf("decode record %x: %w", key, err)
	}
	t := told{bytes.Clone(key), in, d.severityOf(in)}
	return t, in.Untold() > 0 && passes(level, in, t.severity), nil
}

// frugalInterval is the pause between two messages when four fifths of a budget are used.
const frugalInterval = time.Hour

// level says how much may be sent.
func (d *delivery) level() budget.Level {
	if d.budget == nil {
		return budget.Free
	}
	return d.budget.Level()
}

// frugalPause returns how long the next message has to wait for the budget's sake. The parts of a digest belong together.
func (d *delivery) frugalPause(level budget.Level, now time.Time) time.Duration {
	if level != budget.Frugal || d.digest != nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status.LastDelivered.Add(frugalInterval).Sub(now)
}

// linkChanged returns a channel that is closed when the link goes or comes; nil where it is not looked at.
func (d *delivery) linkChanged() <-chan struct{} {
	if d.link == nil {
		return nil
	}
	return d.link.Changed()
}

func worstAndNewestFirst(a, b told) int {
	if a.severity != b.severity {
		if a.severity == notify.Critical {
			return -1
		}
		return 1
	}
	return cmp.Compare(b.incident.Last.UnixNano(), a.incident.Last.UnixNano())
}

func (d *delivery) severityOf(in *incident.Incident) notify.Severity {
	return d.severity(in.Event.Reason)
}

// attempt sends one message and returns how long to wait before the next.
func (d *delivery) attempt(ctx, sendCtx context.Context, w *waiting) time.Duration {
	if w.wantsDigest {
		if err := d.sumUp(w); err != nil {
			d.logger.Error("cannot read the queue", "err", err)
			return d.pause.NextBackOff()
		}
		if len(w.incidents) == 0 {
			d.digest = nil
			return 0
		}
	}
	d.reserved = 0
	d.state(stateSending, time.Time{})
	request, err := d.receiver.Render(d.message(w), w.form)
	if err == nil {
		err = d.send(sendCtx, request)
	} else {
		err = &notify.Error{Outcome: notify.BadPayload, Reason: "cannot be rendered", Err: err}
		request = &notify.Request{Incidents: len(w.incidents)}
	}
	d.checkLosses(w, request, err)
	if err == nil {
		d.noteAttempt(w, request, nil)
		d.delivered(ctx, w, w.in(request))
		d.showAsides()
		return 0
	}
	if sendCtx.Err() != nil {
		return 0
	}
	d.noteAttempt(w, request, err)
	pause := d.failed(ctx, w, request, err)
	d.showAsides()
	return pause
}

// checkLosses leaves in w only the losses that the answer confirmed. Those of a form that has no place for them stay untold, and
// the status says so.
func (d *delivery) checkLosses(w *waiting, request *notify.Request, err error) {
	if len(w.losses) == 0 {
		return
	}
	told := request.LossesTold(err)
	if !told {
		w.losses = nil
	}
	if !told && err != nil {
		return
	}
	d.mu.Lock()
	changed := d.status.MuteOnLosses == told
	d.status.MuteOnLosses = !told
	d.mu.Unlock()
	if changed && !told {
		d.logger.Warn("losses cannot be told: the receiver's body has no place for them, use .Message in it")
	}
}

// rush returns how long to stay away from a platform that is overloaded at whole and half hours: from 2 seconds before to 10
// to 20 seconds after. The zone does not matter: those of all platforms differ from UTC by half hours.
func rush(now time.Time) time.Duration {
	const half, before, after = 30 * time.Minute, 2 * time.Second, 10 * time.Second
	since := now.Add(before).Sub(now.Add(before).Truncate(half))
	if since >= before+after {
		return 0
	}
	return before + after - since + rand.N(after)
}

func (d *delivery) message(w *waiting) *notify.Message {
	m := &notify.Message{Now: time.Now()}
	for _, t := range w.incidents {
		alert := t.incident.Alert(d.policy, d.cluster, t.severity)
		alert.FirstSeen, alert.LastSeen = t.incident.Span(m.Now)
		m.Incidents = append(m.Incidents, alert)
	}
	if w.digest != nil {
		m.Digest = w.digest.summary()
	}
	for _, in := range w.resolved {
		alert := in.Alert(d.policy, d.cluster, d.severityOf(in))
		alert.FirstSeen, alert.LastSeen = in.Span(m.Now)
		m.Resolved = append(m.Resolved, alert)
	}
	for _, l := range w.losses {
		m.Losses = append(m.Losses, notify.Loss{Cause: l.Cause, Incidents: l.Records, Events: l.Events, Since: l.Since})
	}
	d.freshen(m, w.untold)
	return m
}

func (d *delivery) send(ctx context.Context, request *notify.Request) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, fmt.Errorf("no answer within %s", d.timeout))
	defer cancel()
	return d.receiver.Send(ctx, request)
}

// delivered takes what the receiver confirmed out of the queue.
func (d *delivery) delivered(ctx context.Context, w *waiting, confirmed []told) {
	d.count("ok")
	if !w.trial && !d.narrow.active() && d.asides.accused() == 0 {
		d.awaySince = time.Time{}
	}
	d.taken()
	switch {
	case d.narrow.active() && !d.narrow.again:
		// Most likely the receiver was down and is back. The rest is tried as a whole, and blamed at once if that fails.
		d.narrow, d.doubted = narrowing{}, true
	case !d.narrow.active() && !w.trial:
		d.doubted = false
	}
	if w.probe && len(confirmed) > 0 {
		// The group takes messages: it is another one of them that is at fault.
		d.cleared, d.doubted = d.groupOf(confirmed[0].incident), true
	}
	d.narrow.decided(confirmed)
	d.narrow.taken = d.narrow.active()
	for i := range confirmed {
		d.asides.drop(asideKey{id: string(confirmed[i].key)})
	}
	if w.trialGroup != "" {
		d.asides.drop(asideKey{true, w.trialGroup})
		d.cleared = w.trialGroup
	}
	d.tried = w.trial
	d.acknowledge(ctx, w, confirmed)
	if w.digest != nil {
		d.awaySince = time.Time{}
		counted := w.digest.confirmed(len(confirmed))
		if w.digest.done() {
			d.digest = nil
		}
		d.acknowledgeCounted(ctx, counted, w.lost)
	}
}

// taken notes that the receiver takes messages: what failed alone meanwhile is itself at fault.
func (d *delivery) taken() {
	if d.narrow.active() || d.asides.accused() > 0 {
		// The digest that says how long comes only now.
		d.awaySince = d.trouble.since
	}
	if s, ok := d.trouble.over(time.Now()); ok {
		d.logger.Info("receiver takes messages again", "failures", s.failures, "after", s.duration)
	}
	for _, a := range d.asides.prove() {
		d.setAside(a)
	}
	d.pause.Reset()
	d.probes.Reset()
	d.form = notify.Full
	switch {
	case d.refused >= d.mayRefuse():
		d.refusedRounds = min(d.refusedRounds+1, maxRefusedRounds)
	case d.refused == 0:
		d.refusedRounds = 0
	}
	d.refused, d.blameAt, d.mayAccuse = 0, 0, 0
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.LastError, d.status.RefusedSince, d.status.FileMissing = "", time.Time{}, false
}

// showAsides puts what is set aside into the status.
func (d *delivery) showAsides() {
	list, n := d.asides.shown()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Aside, d.status.AsideCount = list, n
}

// acknowledge repeats until the spool has taken it, or ctx ends: what was confirmed must not be sent again, and a full disk
// would have it sent again for as long as it is full.
//
// Where the spool has no room to note all of it at once, it is noted in halves: an acknowledgement that waits for an eviction would lose
// others for what was delivered.
func (d *delivery) acknowledge(ctx context.Context, w *waiting, confirmed []told) {
	at := time.Now()
	pause := newBackoff(time.Second, 30*time.Second)
	var trouble trouble
	for {
		observations, err := d.takeOut(w, confirmed, at)
		if err == nil {
			if streak, ok := trouble.over(time.Now()); ok {
				d.logger.Info("the delivered message is out of the queue", "failures", streak.failures, "after", streak.duration)
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.status.LastDelivered = at
			d.status.Delivered += observations
			return
		}
		if half := len(confirmed) / 2; half > 0 && errors.Is(err, spool.ErrNoSpace) && !isDisk(err) {
			d.acknowledge(ctx, w, confirmed[:half])
			d.acknowledge(ctx, &waiting{lost: w.lost}, confirmed[half:])
			return
		}
		if trouble.changed(time.Now(), err.Error()) {
			d.logger.Error("cannot take a delivered message out of the queue, nothing is sent until that is done", "err", err)
		}
		next := pause.NextBackOff()
		d.state(stateBackoff, time.Now().Add(next))
		if wait(ctx, next) != nil {
			d.logger.Error("a delivered message is still in the queue: it will be repeated", "err", err)
			return
		}
	}
}

// takeOut notes in one transaction what was confirmed, and returns how many observations that were.
func (d *delivery) takeOut(w *waiting, confirmed []told, at time.Time) (observations uint64, err error) {
	err = d.spool.Update(func(tx *spool.Tx) error {
		observations = 0
		q := tx.Queue(d.name)
		for i := range confirmed {
			t := &confirmed[i]
			observations += uint64(t.incident.Untold())
			there, err := d.toldUntil(q, t, at)
			if err == nil && !there {
				err = q.NotLost(w.lost, uint64(t.incident.Untold()))
			}
			if err != nil {
				return err
			}
		}
		for _, key := range w.over {
			if err := d.forgetOver(q, key, at); err != nil {
				return err
			}
		}
		return q.LossesTold(w.losses)
	})
	return observations, err
}

// acknowledgeCounted notes that incidents were told in numbers, in transactions of bounded size.
func (d *delivery) acknowledgeCounted(ctx context.Context, counted []mark, lost []spool.Loss) {
	for len(counted) > 0 {
		chunk := make([]told, 0, digestChunk)
		for _, m := range counted[:min(digestChunk, len(counted))] {
			chunk = append(chunk, told{key: m.key, incident: &incident.Incident{Opened: m.opened, Occurrences: m.occurrences, Told: m.told}})
		}
		counted = counted[len(chunk):]
		d.acknowledge(ctx, &waiting{lost: lost}, chunk)
	}
}

// toldUntil notes that t was told. The record may have changed since t was read; what came meanwhile stays untold. It reports false
// where the incident is gone: evicted, or expired, and perhaps begun anew.
func (d *delivery) toldUntil(q *spool.Queue, t *told, at time.Time) (there bool, err error) {
	record, ok := q.Get(t.key)
	if !ok {
		return false, nil
	}
	in, err := incident.Decode(record.Body)
	if err != nil {
		return false, err
	}
	there = in.Opened.Equal(t.incident.Opened)
	in, due, keep := d.policy.ToldUntil(in, t.incident, at)
	if !keep {
		return there, q.Delete(t.key)
	}
	return there, putIncident(q, t.key, due, in)
}

func (d *delivery) forget(keys [][]byte) error {
	err := d.spool.Update(func(tx *spool.Tx) error {
		for _, key := range keys {
			if err := d.forgetOver(tx.Queue(d.name), key, time.Now()); err != nil {
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
func (d *delivery) forgetOver(q *spool.Queue, key []byte, at time.Time) error {
	record, ok := q.Get(key)
	if !ok {
		return nil
	}
	in, err := incident.Decode(record.Body)
	if err != nil {
		return err
	}
	if !d.policy.Over(in, at) {
		return nil
	}
	return q.Delete(key)
}

// failed decides by the outcome what becomes of the message and when to try again.
func (d *delivery) failed(ctx context.Context, w *waiting, request *notify.Request, err error) time.Duration {
	outcome := notify.OutcomeOf(err)
	d.count(outcome.String())
	d.digest = nil
	failure, _ := errors.AsType[*notify.Error](err)
	if failure == nil {
		failure = &notify.Error{Outcome: outcome, Reason: "not sent", Err: err}
	}
	if failure.RetryAfter > 0 {
		d.notBefore = time.Now().Add(failure.RetryAfter)
	}
	in := w.in(request)
	switch {
	case failure.Refused != nil:
		return d.partly(ctx, w, in, failure)
	case w.trial && (failure.Answered() || outcome == notify.BadPayload):
		return d.trialFailed(w, in, failure)
	case failure.GroupOnly && request.Group != "" && len(in) > 0 && d.holdGroup(request.Group, &in[0], failure):
		return 0
	case outcome == notify.BadPayload && d.refused < d.mayRefuse():
		return d.badPayload(in, failure)
	}
	return d.backOff(request, in, failure)
}

// backOff lets the receiver rest, and narrows down what it is that it does not take.
func (d *delivery) backOff(request *notify.Request, in []told, failure *notify.Error) time.Duration {
	changed := d.trouble.changed(time.Now(), failure.Error())
	if d.blame(request, in, failure) {
		return 0
	}
	var pause time.Duration
	state := stateBackoff
	switch {
	case failure.Outcome == notify.Retry:
		pause = d.pause.NextBackOff()
	case d.narrow.active():
		state, pause = stateRefused, firstProbe/2
	default:
		state, pause = stateRefused, max(firstProbe/2, d.probes.NextBackOff())
	}
	pause = max(pause, failure.RetryAfter)
	if changed {
		if state == stateRefused {
			d.logger.Error("receiver refuses every message, the queue is kept", "err", failure, "next", pause.Round(time.Second))
		} else {
			d.logger.Warn("delivery failed, will be tried again", "err", failure, "next", pause.Round(time.Second))
		}
	}
	d.mu.Lock()
	d.status.LastError, d.status.FileMissing = failure.Error(), errors.Is(failure, fs.ErrNotExist)
	if state == stateRefused && d.status.RefusedSince.IsZero() {
		d.status.RefusedSince = time.Now()
	}
	d.mu.Unlock()
	d.resumeAt = time.Now().Add(pause)
	d.state(state, d.resumeAt)
	return pause
}

// blame suspects a part of a message that failed maxTries times in a row though the receiver answered: it is sent in halves, and what
// fails alone lets the others go first. Whether it is at fault shows when one of these is taken; when several fail, it is the receiver.
// It reports whether the fault was found.
func (d *delivery) blame(request *notify.Request, in []told, failure *notify.Error) bool {
	proved := d.narrow.taken || d.doubted
	enough := max(maxTries, d.blameAt)
	if proved {
		enough = 1
	}
	if !failure.Answered() || len(in) == 0 || d.trouble.failures < enough || d.refused >= d.mayRefuse() {
		return false
	}
	key := asideKey{id: string(in[0].key)}
	if request.Group != "" && request.Group != d.cleared {
		key = asideKey{true, request.Group}
	} else if len(in) > 1 {
		if !d.narrow.active() {
			d.pause.Reset()
		}
		d.narrow.halve(in)
		d.narrow.again, d.narrow.taken, d.doubted = d.narrow.again || d.doubted, proved, false
		return false
	}
	d.narrow.decided(in)
	limit := max(maxAccused, d.mayAccuse)
	if proved || d.asides.accused() < limit {
		if a, ok := d.asides.hold(key, &in[0], failure, proved, 1); ok {
			if proved {
				d.setAside(a)
			}
			return proved
		}
	}
	d.asides.acquit()
	d.narrow = narrowing{}
	d.blameAt, d.mayAccuse = 2*d.trouble.failures, min(2*limit, maxAside/2)
	return false
}

// setAside notes that what is set aside is at fault, and the receiver is not.
func (d *delivery) setAside(a *aside) {
	d.logger.Warn("a message fails alone and is set aside, the others go on", "workload", a.workload, "reason", a.reason,
		"since", a.since, "err", a.failure)
	d.trouble = trouble{}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.LastError, d.status.RefusedSince, d.status.FileMissing = "", time.Time{}, false
}

// holdGroup sets a topic or the like aside of which the receiver said that it alone is at fault.
func (d *delivery) holdGroup(group string, t *told, failure *notify.Error) bool {
	a, ok := d.asides.hold(asideKey{true, group}, t, failure, true, 0)
	if ok && a.tries == 1 {
		d.logger.Warn("what goes to this topic is set aside, the rest goes on", "topic", group, "err", failure)
	}
	return ok
}

// partly takes out of the queue what a receiver accepted of a message, and sets aside what it did not.
func (d *delivery) partly(ctx context.Context, w *waiting, in []told, failure *notify.Error) time.Duration {
	var confirmed []told
	d.taken()
	full := false
	for i := range in {
		at := slices.Index(failure.Refused, i)
		if at < 0 {
			confirmed = append(confirmed, in[i])
			d.asides.drop(asideKey{id: string(in[i].key)})
			continue
		}
		if failure.OutcomeOfRefused(at) == notify.BadPayload {
			full = d.bury(&in[i], failure) != nil || full
			continue
		}
		_, held := d.asides.hold(asideKey{id: string(in[i].key)}, &in[i], failure, true, 0)
		full = full || !held
	}
	d.narrow.decided(in)
	d.tried = w.trial
	if len(confirmed) > 0 {
		d.acknowledge(ctx, w, confirmed)
	}
	if !full {
		return 0
	}
	pause := d.pause.NextBackOff()
	d.state(stateBackoff, time.Now().Add(pause))
	return pause
}

// trialFailed lets what is set aside wait longer. What was refused for good is tried once in its simplest form, and then buried.
func (d *delivery) trialFailed(w *waiting, in []told, failure *notify.Error) time.Duration {
	d.tried = true
	refused := failure.Outcome == notify.BadPayload && d.refused < d.mayRefuse()
	if w.trialGroup != "" {
		if refused {
			d.asides.drop(asideKey{true, w.trialGroup})
			return d.badPayload(in, failure)
		}
		d.asides.hold(asideKey{true, w.trialGroup}, &in[0], failure, true, 0)
		return 0
	}
	for i := range in {
		key := asideKey{id: string(in[i].key)}
		a := d.asides.all[key]
		if refused && len(in) == 1 && a != nil && a.form == notify.Simple {
			if d.bury(&in[i], failure) == nil {
				d.asides.drop(key)
				return 0
			}
		}
		if a, ok := d.asides.hold(key, &in[i], failure, true, 0); ok && refused {
			a.form, a.tries = notify.Simple, max(a.tries, maxTries)
		}
	}
	return 0
}

// badPayload narrows the message until the one incident that spoils it is found, tries that in its simplest form, and then
// keeps it as a dead letter, so that it blocks nothing.
func (d *delivery) badPayload(in []told, failure *notify.Error) time.Duration {
	switch {
	case len(in) == 0:
		return d.pause.NextBackOff()
	case len(in) > 1 || d.form == notify.Full:
		d.narrow.halve(in)
		d.narrow.again = true
		if len(in) == 1 {
			d.form = notify.Simple
		}
		return 0
	}
	d.form = notify.Full
	d.refused++
	if err := d.bury(&in[0], failure); err != nil {
		return d.pause.NextBackOff()
	}
	d.narrow.decided(in)
	if d.refused >= d.mayRefuse() {
		d.narrow = narrowing{}
	}
	return 0
}

// bury makes a dead letter of a message that was refused for good, unless its incident ended and began anew meanwhile: that one was
// not refused.
func (d *delivery) bury(t *told, failure *notify.Error) error {
	err := d.spool.Update(func(tx *spool.Tx) error {
		q := tx.Queue(d.name)
		record, ok := q.Get(t.key)
		if !ok {
			return nil
		}
		in, err := incident.Decode(record.Body)
		if err != nil || !in.Opened.Equal(t.incident.Opened) {
			return err
		}
		return q.Bury(t.key, failure.Error(), failure.Answer, time.Now())
	})
	if err != nil {
		d.logger.Error("cannot set a refused message aside", "err", err)
		return err
	}
	d.logger.Warn("message refused for good, kept as dead letter", "err", failure,
		"workload", t.incident.Workload, "reason", t.incident.Event.Reason)
	return nil
}

func (d *delivery) count(outcome string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.Attempts == nil {
		d.status.Attempts = make(map[string]uint64)
	}
	d.status.Attempts[outcome]++
}

// rest notes that nothing is due before next. While the message that failed last is suspected, the state stays that of its pause.
func (d *delivery) rest(next time.Time) {
	if d.trouble.failures == 0 || d.asides.accused() == 0 {
		d.state(stateIdle, next)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Next = next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (d *delivery) state(state string, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.State != state {
		d.status.State, d.status.Since = state, time.Now()
	}
	d.status.Next = next
}

// Status returns what the delivery is doing.
func (d *delivery) Status() DeliveryStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.Attempts = make(map[string]uint64, len(d.status.Attempts))
	maps.Copy(s.Attempts, d.status.Attempts)
	return s
}

// standsStill reports whether an attempt has lasted longer than its time-out allows, or the loop has slept past its time.
func (d *delivery) standsStill() (time.Duration, bool) {
	s := d.Status()
	var overdue time.Duration
	switch s.State {
	case stateSending:
		overdue = time.Since(s.Since) - d.timeout
	case stateIdle, stateBackoff, stateRefused:
		overdue = time.Since(s.Next)
	}
	return overdue, overdue > healthLimit && !s.Since.IsZero()
}
