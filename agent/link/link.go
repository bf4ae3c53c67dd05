package link

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// State is whether there is a way out.
type State int

// The states of a link.
const (
	// Unknown: the links cannot be seen, or nothing is known against trying.
	Unknown State = iota
	// Up: there is a default route over an interface that has a carrier, or a named interface is up.
	Up
	// Down: an attempt cannot succeed.
	Down
)

// String returns unknown, up or down.
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		return "unknown"
	}
}

// MaxJitter is the longest pause that Wait adds after the link came back. Many machines share a cell that comes back for all
// of them at once, and a modem that has an address may still need a second for its first packet.
const MaxJitter = 2 * time.Second

// Options say what to watch.
type Options struct {
	// Interfaces are the names of interfaces of which one must be up, with a carrier and a global address.
	// Default: a default route over any interface.
	Interfaces []string
	// Logger takes one line at each change. Default: discarded.
	Logger *slog.Logger
}

// Link is the way out as the kernel shows it. Its methods may be called at any time from any goroutine.
type Link struct {
	logger *slog.Logger
	// told is what the log said last. Only the watching goroutine uses it.
	told string

	mu      sync.Mutex
	status  Status
	changed chan struct{}
	// downSince is when the present or last outage began.
	downSince time.Time
}

// Status is what is known of the link.
type Status struct {
	State State
	// Since is when State began.
	Since time.Time
	// Reason says in a few words why State is so.
	Reason string
	// Outages counts how often the link went down since the start.
	Outages uint64
	// OutageFrom and OutageTo are the last outage that ended; zero: none since the start.
	OutageFrom, OutageTo time.Time
}

// Watch starts to listen until ctx ends and returns at once with the present state. It never fails: without netlink
// the state is Unknown.
func Watch(ctx context.Context, o Options) *Link {
	l := newLink(o)
	watch(ctx, l, slices.Clone(o.Interfaces))
	return l
}

func newLink(o Options) *Link {
	l := &Link{logger: o.Logger, changed: make(chan struct{})}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	l.status = Status{Since: time.Now(), Reason: "not known yet"}
	return l
}

// Up returns the present state.
func (l *Link) Up() State { return l.Status().State }

// Status returns what is known.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// Changed returns a channel that is closed at the next change of the state, or when another default route or
// interface takes over while it is Up: a reason to cut a backoff short. Take the channel before reading Up.
func (l *Link) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Wait returns at once while the link is not Down. Else it waits until that ends and then a random time up to MaxJitter.
// The error is that of ctx.
func (l *Link) Wait(ctx context.Context) error {
	var jitter time.Duration
	for {
		changed := l.Changed()
		if l.Up() != Down {
			if jitter == 0 {
				return ctx.Err()
			}
			timer := time.NewTimer(jitter)
			select {
			case <-timer.C:
				// The link may have gone again in the meantime.
				jitter = 0
				continue
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
		jitter = Jitter()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Jitter returns a random pause above 0 and up to MaxJitter, for attempts that a change sets off.
func Jitter() time.Duration { return 1 + rand.N(MaxJitter) }

// publish makes state known. moved says that the way out is another one, though State may be the same.
func (l *Link) publish(state State, reason string, moved bool) {
	now := time.Now()
	l.mu.Lock()
	was := l.status.State
	l.status.Reason = reason
	var away time.Duration
	if was != state {
		l.status.State, l.status.Since = state, now
		switch {
		case state == Down:
			l.status.Outages++
			l.downSince = now
		case was == Down:
			l.status.OutageFrom, l.status.OutageTo = l.downSince, now
			away = now.Sub(l.downSince)
		}
	}
	if was != state || moved {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	l.mu.Unlock()

	line := state.String() + reason
	if line == l.told {
		return
	}
	l.told = line
	switch {
	case state == Down:
		l.logger.Warn("the link is down, nothing is sent until it is back", "reason", reason)
	case state == Unknown:
		l.logger.Info("the state of the link is not known, attempts follow the backoff", "reason", reason)
	case was == Down:
		l.logger.Info("the link is back", "reason", reason, "away", away.Round(time.Second))
	case was != Up:
		l.logger.Info("the link is up", "reason", reason)
	}
}
