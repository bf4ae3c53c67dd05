// Package intake takes what the watch shows into the spool: filter, ledger, fold, commit.
//
// It promises that whatever was not committed is still in the API server: one transaction holds an event's record in each queue, its
// ledger entry and the watch position. A full or read-only disk makes it wait, and the watch with it: nothing is taken that cannot be
// kept, and the position stays where it was. Its memory is bounded by one batch, 512 KiB of events.
package intake

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// changeBuffer lets the watch decode while a commit is under way; beyond it the watch waits.
const changeBuffer = 64

// Route is where an event goes: a receiver's queue, and when the receiver wants to be told.
type Route struct {
	Receiver string
	Match    *filter.Matcher
	Policy   incident.Policy
}

// Rules say what happens to events. A reload changes them between two transactions.
type Rules struct {
	Filter *filter.Filter
	// Routes is never changed, only replaced.
	Routes []Route
	// Daily says that statistics are kept for the daily report.
	Daily bool
}

// Options are set once.
type Options struct {
	Spool  *spool.Spool
	Ledger *ledger.Ledger
	// CommitInterval is how long news may wait for its commit, and the shortest time between two commits. Default: 1 s.
	CommitInterval time.Duration
	// MaxCommit bounds the bytes of one transaction. Default: 512 KiB.
	MaxCommit int
	// Ignores reports events that are no news whatever the filter says; nil: none is.
	Ignores func(*event.Event) bool
	// Severity judges committed events for the status page; nil: none is critical.
	Severity func(reason string) notify.Severity
	// Observed is told of each observation that goes into queues, maybe more than once; nil: nobody is.
	Observed func(*incident.Observation)
	// Arrived is called with the receiver's name after a commit that put something into its queue; nil: nobody is.
	Arrived func(receiver string)
	// Logger takes a line when the spool begins to refuse, and when it takes again.
	Logger *slog.Logger
}

// Intake is the one writer of news. It is the watch's Sink.
type Intake struct {
	options Options
	// shown holds what the watches showed, changes and pages in the order in which they came: a page that overtook the changes
	// before it would be followed by positions of the past.
	shown chan shown

	// mu guards rules.
	mu    sync.RWMutex
	rules Rules

	stats stats
}

var _ watch.Sink = (*Intake)(nil)

// shown is a change or, where done is not nil, a page or a note, whose sender waits for done.
type shown struct {
	change watch.Change
	page   watch.Page
	// note is committed behind all that was shown before; nil: it is a page.
	note func(*spool.Tx) error
	done chan error
}

// New returns an intake that takes nothing until Run is called.
func New(o Options, rules Rules) *Intake {
	if o.CommitInterval == 0 {
		o.CommitInterval = time.Second
	}
	if o.MaxCommit == 0 {
		o.MaxCommit = maxBatchBytes
	}
	if o.Arrived == nil {
		o.Arrived = func(string) {}
	}
	if o.Observed == nil {
		o.Observed = func(*incident.Observation) {}
	}
	if o.Ignores == nil {
		o.Ignores = func(*event.Event) bool { return false }
	}
	return &Intake{options: o, rules: rules, shown: make(chan shown, changeBuffer), stats: stats{began: time.Now()}}
}

// Reroute changes what happens to events from the next transaction on. What waits uncommitted goes the new way.
func (in *Intake) Reroute(rules Rules) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.rules = rules
}

// Routes returns where events go.
func (in *Intake) Routes() []Route {
	in.mu.RLock()
	defer in.mu.RUnlock()
	return in.rules.Routes
}

// MatchesHit returns how often each match rule of a receiver was the first to match.
func (in *Intake) MatchesHit(receiver string) []uint64 {
	for _, r := range in.Routes() {
		if r.Receiver == receiver {
			return filter.Hits(r.Match.Rules())
		}
	}
	return nil
}

// Position returns the resourceVersion up to which the namespace is spooled.
func (in *Intake) Position(namespace string) (string, error) {
	var position string
	err := in.options.Spool.View(func(tx *spool.Tx) error {
		position, _ = tx.Position(namespace)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read watch position: %w", err)
	}
	return position, nil
}

// List takes one page of a list and returns when it is on disk.
func (in *Intake) List(ctx context.Context, page watch.Page) error {
	if page.At.IsZero() {
		page.At = time.Now()
	}
	return in.submit(ctx, shown{page: page})
}

// Note commits what f does behind all that was shown before, and returns when it is on disk.
func (in *Intake) Note(ctx context.Context, f func(*spool.Tx) error) error {
	return in.submit(ctx, shown{note: f})
}

func (in *Intake) submit(ctx context.Context, s shown) error {
	done := make(chan error, 1)
	s.done = done
	select {
	case in.shown <- s:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Watched takes one change. News is on disk at most CommitInterval later; a repeat, and what only archives want, before it is
// due and at most repeatsWait later.
func (in *Intake) Watched(ctx context.Context, c watch.Change) error {
	if c.At.IsZero() {
		c.At = time.Now()
	}
	select {
	case in.shown <- shown{change: c}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run commits until ctx ends; then it commits what it holds and returns nil.
func (in *Intake) Run(ctx context.Context) error {
	var batch batch
	if err := in.options.Spool.View(func(tx *spool.Tx) error { in.options.Ledger.Load(tx); return nil }); err != nil {
		// Then events that are created again count from the beginning.
		in.options.Logger.Warn("cannot read which events recur", "err", err)
	}
	in.stats.alive()
	timer := time.NewTimer(in.options.CommitInterval)
	timer.Stop()
	for {
		in.stats.idle()
		select {
		case next := <-in.shown:
			in.stats.alive()
			if next.done != nil {
				in.flush(ctx, &batch)
				timer.Stop()
				next.done <- in.takeNext(ctx, next)
				continue
			}
			batch.add(next.change)
			switch {
			case batch.full(in.commitBytes()):
				in.flush(ctx, &batch)
				timer.Stop()
			case in.hurry(&batch):
				timer.Reset(time.Until(batch.commitBy))
			}
		case <-timer.C:
			in.stats.alive()
			in.flush(ctx, &batch)
		case <-ctx.Done():
			in.drain(&batch)
			in.flush(ctx, &batch)
			// Tried once, as the batch is.
			_ = in.commit(ctx, func(t *transaction) error { return in.options.Ledger.Save(t.tx) })
			return nil
		}
	}
}

// drain takes what was shown already into the batch, as far as the next page: who sent that one is gone.
func (in *Intake) drain(b *batch) {
	for !b.full(in.commitBytes()) {
		select {
		case next := <-in.shown:
			if next.done != nil {
				return
			}
			b.add(next.change)
		default:
			return
		}
	}
}

// takeNext commits a page or a note.
func (in *Intake) takeNext(ctx context.Context, s shown) error {
	if s.note != nil {
		return in.commit(ctx, func(t *transaction) error {
			if err := in.options.Ledger.Save(t.tx); err != nil {
				return err
			}
			return s.note(t.tx)
		})
	}
	err := in.commitPage(ctx, s.page)
	if err == nil && s.page.Last {
		in.options.Ledger.EndedList(s.page.Namespace)
	}
	return err
}
