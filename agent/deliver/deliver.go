// Package deliver drains the queue of one receiver: choose what the next message tells, attempt it, and only after the receiver's own yes
// take out of the queue what was told.
//
// It promises that nothing leaves the queue without a yes, or a no for good that is kept as a dead letter; that a message or a topic that
// fails alone holds no other; that an attempt ends at its time-out and the loop within 3 seconds of being stopped.
package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/deliver/gate"
	"github.com/edge-eventer/edge-eventer/agent/deliver/suspect"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/disk"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/agent/mute"
	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/agent/storm"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// StopGrace is how long an attempt under way may go on after the delivery was asked to stop: within the 5 seconds
	// in which the agent ends.
	StopGrace = 3 * time.Second
	// firstProbe and lastProbe bound the pauses between the probes of a receiver that takes no message.
	firstProbe = 30 * time.Second
	lastProbe  = 10 * time.Minute
)

// Options say whose queue is drained, and how.
type Options struct {
	Name, Type string
	Receiver   notify.Receiver
	Spool      *spool.Spool
	Policy     incident.Policy
	// Limits are the rates of requests, that of the longest window first.
	Limits []*rate.Limiter
	// Cluster and Language are those of the configuration.
	Cluster, Language string
	// Severity judges a reason.
	Severity func(reason string) notify.Severity
	// Timeout bounds one attempt, MaxBackoff the pause after one that failed.
	Timeout, MaxBackoff time.Duration
	// Backlog is how much makes a digest.
	Backlog inbox.Backlog
	// StormLimit is how many messages an hour of a storm costs at most; 0: as many as it takes.
	StormLimit int
	// SendResolved says that the next message names incidents that are over. Where inbox.MaxOver of them gather first, they are
	// forgotten without a word, as all are without it.
	SendResolved bool
	// LastDelivered is when the receiver last confirmed a message in an earlier life of the agent; zero: that is not known.
	LastDelivered time.Time
	// Muter says what is held back; nil: nothing is.
	Muter *mute.Muter
	// Link is the way out; nil: it is not looked at. Budget says how much may be sent; nil: everything.
	Link   gate.WayOut
	Budget *budget.Budget
	// Dialer knows whether the receiver is near; nil: it is not.
	Dialer *dial.Dialer
	// Noted is told what became of each attempt; nil: nobody is.
	Noted  func(status.Delivery)
	Logger *slog.Logger
}

// Delivery is the loop of one receiver. All its fields but those that mu guards are owned by the goroutine of Run.
type Delivery struct {
	options Options
	inbox   *inbox.Inbox
	gate    gate.Gate
	doubt   doubt
	retries retries
	// digest is the one that is being sent; nil: none is.
	digest *inbox.Digest
	// awaySince is when a receiver could no longer be reached that takes messages again, until a digest has said so.
	awaySince time.Time
	// storm spaces the messages while more is new than they can name. stormLooked is when the queue was last searched in a pause of it.
	storm       storm.Pace
	stormLooked time.Time

	// wake interrupts the wait for the next due time, again that for the next attempt of a receiver that is failing.
	wake, again chan struct{}
	// ended has the silences that are over and of which it was told what they held.
	ended map[string]bool
	// asked says that an operator wants everything tried at once.
	asked atomic.Bool

	// mu guards status.
	mu     sync.Mutex
	status status.Sending
}

// doubt is what is known of a message that failed, and of a receiver that refuses.
type doubt struct {
	// form is that of the next message; Simple where the richer one of an incident on its own was refused.
	form   notify.Form
	narrow suspect.Narrowing
	asides suspect.Asides
	// tried says that the last message was of what is set aside: others go next.
	tried bool
	// blameAt is from how many failures in a row on a message is suspected again, and mayAccuse how many are then, after as many were
	// suspected as it takes to blame the receiver; 0: suspect.MaxTries and suspect.MaxAccused.
	blameAt, mayAccuse int
	// doubted says that a part of a message was taken after the whole failed, and the next message is the rest as a whole.
	doubted bool
	// cleared is the group that was set aside last and took a message since: of those that fail now, the message is at fault.
	cleared string
	// refused counts the messages given up since one was taken, and refusedRounds how often a probe was taken after so many that the
	// receiver itself was blamed: the fault was theirs, and twice as many may follow.
	refused, refusedRounds int
}

// retries are when and how often a receiver that fails is tried again.
type retries struct {
	// pause is between attempts, probe between those of a receiver that refuses everything.
	pause, probe *backoff.ExponentialBackOff
	trouble      retry.Trouble
	// resumeAt is when what failed last is tried again, if nothing else is there to try in its place.
	resumeAt time.Time
}

// New returns a delivery that sends nothing until Run is called.
func New(o Options) *Delivery {
	d := &Delivery{options: o, wake: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	d.inbox = &inbox.Inbox{
		Spool: o.Spool, Receiver: o.Name, Policy: o.Policy, Limits: o.Receiver.Limits(), Severity: o.Severity, Group: d.groupOf,
		SendResolved: o.SendResolved, Muter: o.Muter,
		Rebased: func(incidents int) {
			o.Logger.Warn("the clock was put back, or pauses were made shorter: due times are corrected", "incidents", incidents)
		},
	}
	d.gate = gate.Gate{Name: o.Name, Receiver: o.Receiver, Limits: o.Limits, Link: o.Link, Dialer: o.Dialer}
	d.storm.Limit = o.StormLimit
	d.retries.pause = retry.NewBackOff(2*time.Second, o.MaxBackoff)
	d.retries.probe = retry.NewBackOff(2*firstProbe, 2*lastProbe)
	d.status.LastDelivered = o.LastDelivered
	return d
}

// Name returns the receiver's.
func (d *Delivery) Name() string { return d.options.Name }

// Type returns the receiver's.
func (d *Delivery) Type() string { return d.options.Type }

// Close closes the receiver's connections. It is called after Run has returned.
func (d *Delivery) Close() { d.options.Receiver.Close() }

// Wake says that something arrived in the queue.
func (d *Delivery) Wake() { signal(d.wake) }

// TryAgain makes the delivery try at once, also where the receiver is failing, and also what is set aside: an operator asks for it.
func (d *Delivery) TryAgain() {
	d.asked.Store(true)
	signal(d.wake)
	signal(d.again)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends, and returns nil at most StopGrace later.
func (d *Delivery) Run(ctx context.Context) error {
	sendCtx, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(StopGrace, func() { abandon(context.Cause(ctx)) })
		context.AfterFunc(sendCtx, func() { timer.Stop() })
	})()

	defer d.keep(ctx)()

	var reading retry.Trouble
	for ctx.Err() == nil {
		if d.asked.Swap(false) {
			d.doubt.asides.RetryAll(time.Now())
		}
		d.endSilences(time.Now())
		b, err := d.peek(time.Now())
		pause, idle := time.Until(b.Next), err == nil && len(b.Entries) == 0 && !b.wantsDigest
		switch {
		case err != nil:
			if reading.Changed(time.Now(), err.Error()) {
				d.options.Logger.Error("cannot read the queue", "err", err)
			}
			pause = d.retries.pause.NextBackOff()
		case idle:
			// By the monotonic clock: a due time from disk would be long past once the wall clock was put ahead.
			d.showMuted(b.Muted)
			d.rest(time.Now().Add(pause))
		case d.mayLeave(ctx):
			pause = d.attempt(ctx, sendCtx, &b)
		default:
			pause = 0
		}
		if pause > 0 && d.wait(ctx, pause, err != nil || d.retries.trouble.Failures > 0 && !idle && d.doubt.asides.Accused() == 0) != nil {
			return nil
		}
	}
	return nil
}

// wait waits until something is to be done. News is no reason to try a receiver earlier that is failing, unless it may be the message
// that is at fault; an operator's word is. Where nothing is due, what failed is gone, by an eviction, a rescue or an operator, and its
// pause is over.
func (d *Delivery) wait(ctx context.Context, pause time.Duration, failing bool) error {
	wake := d.wake
	if failing {
		wake = d.again
	}
	changed, err := retry.WaitOr(ctx, pause, wake, d.gate.Changed())
	if err != nil {
		return err
	}
	if changed && d.retries.trouble.Failures > 0 && retry.Wait(ctx, link.Jitter()) == nil {
		// The way out is another one: what failed before says nothing of it.
		d.retries.pause.Reset()
	}
	return nil
}

// mayLeave reports whether a message may be sent now. Otherwise it has waited for what holds messages back, and what is due has to
// be read anew: a digest that is made before the link is there is stale when it leaves, and lacks the critical incident that came
// meanwhile.
func (d *Delivery) mayLeave(ctx context.Context) bool {
	reason, until := d.gate.Check(ctx)
	switch reason {
	case gate.Open:
		return ctx.Err() == nil
	case gate.LinkDown:
		d.state(StateLinkDown, time.Time{})
		d.digest = nil
		_ = d.gate.AwaitLink(ctx)
		return false
	case gate.LeftAlone:
		d.state(StateBackoff, until)
	case gate.Paced:
		d.state(StateWaiting, until)
	}
	_ = retry.Wait(ctx, time.Until(until))
	return false
}

// groupOf returns the place within the receiver that the incident goes to, empty where it has one only.
func (d *Delivery) groupOf(in *incident.Incident) string {
	grouper, ok := d.options.Receiver.(notify.Grouper)
	if !ok {
		return ""
	}
	alert := d.alert(in)
	return grouper.Group(&alert)
}

// alert is the incident as receivers render it.
func (d *Delivery) alert(in *incident.Incident) notify.Incident {
	return in.Alert(d.options.Policy, d.options.Cluster, d.options.Severity(in.Event.Reason))
}

// acknowledge repeats until the spool has taken it, or ctx ends: what was confirmed must not be sent again, and a full disk
// would have it sent again for as long as it is full.
//
// Where the spool has no room to note all of it at once, it is noted in halves: an acknowledgement that waits for an eviction would lose
// others for what was delivered.
func (d *Delivery) acknowledge(ctx context.Context, r *inbox.Receipt) {
	at := time.Now()
	var observations uint64
	halves := func(err error) bool {
		return len(r.Entries) > 1 && errors.Is(err, spool.ErrNoSpace) && !disk.Fault(err)
	}
	loop := retry.Loop{
		Failed: func(err error) {
			d.options.Logger.Error("cannot take a delivered message out of the queue, nothing is sent until that is done", "err", err)
		},
		Paused: func(next time.Duration) { d.state(StateBackoff, time.Now().Add(next)) },
		Recovered: func(s retry.Streak) {
			d.options.Logger.Info("the delivered message is out of the queue", "failures", s.Failures, "after", s.Duration)
		},
	}
	err := loop.Do(ctx, func() (err error) {
		observations, err = d.inbox.Acknowledge(r, at)
		return err
	}, halves)
	switch {
	case err == nil:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.status.LastDelivered = at
		d.status.Delivered += observations
	case halves(err):
		half := len(r.Entries) / 2
		d.acknowledge(ctx, &inbox.Receipt{Entries: r.Entries[:half], Over: r.Over, Losses: r.Losses, Before: r.Before})
		d.acknowledge(ctx, &inbox.Receipt{Entries: r.Entries[half:], Before: r.Before})
	default:
		d.options.Logger.Error("a delivered message is still in the queue: it will be repeated", "err", err)
	}
}

// maxCounted bounds one transaction that acknowledges what a digest only counted.
const maxCounted = 256

// acknowledgeCounted notes that incidents were told in numbers, in transactions of bounded size.
func (d *Delivery) acknowledgeCounted(ctx context.Context, counted inbox.Counted, before []spool.Loss) {
	for len(counted) > 0 {
		d.acknowledge(ctx, &inbox.Receipt{Entries: counted.Next(maxCounted), Before: before})
	}
}

// bury makes a dead letter of a message that was refused for good.
func (d *Delivery) bury(e *inbox.Entry, failure *notify.Error) error {
	if err := d.inbox.Bury(e, failure.Error(), failure.Answer, time.Now()); err != nil {
		d.options.Logger.Error("cannot set a refused message aside", "err", err)
		return fmt.Errorf("keep a dead letter: %w", err)
	}
	d.options.Logger.Warn("message refused for good, kept as dead letter", "err", failure,
		"workload", e.Incident.Workload, "reason", e.Incident.Event.Reason)
	return nil
}
