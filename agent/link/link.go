package link

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
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
	// Moved is called when another way out takes over, or the only one comes back, before Changed tells it. It must not
	// block. Default: none.
	Moved func()
	// Logger takes one line at each change. Default: discarded.
	Logger *slog.Logger
}

// Link is the way out as the kernel shows it. Its methods may be called at any time from any goroutine.
type Link struct {
	logger *slog.Logger
	moved  func()
	// told is what the log said last. Only the watching goroutine uses it.
	told string

	mu      sync.Mutex
	status  Status
	changed chan struct{}
	// ways counts the ways out that there were.
	ways uint64
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
	l := &Link{logger: o.Logger, moved: o.Moved, changed: make(chan struct{})}
	if l.moved == nil {
		l.moved = func() {}
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	l.status = Status{Since: time.Now(), Reason: "not known yet"}
	return l
}

// Up returns the present state.
func (l *Link) Up() State { return l.Status().State }

// Ways counts how often another way out took over or the only one came back. What was connected before the count rose may be
// dead without a word: the other side knows an address that this machine no longer has, or a NAT that is no longer between.
func (l *Link) Ways() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ways
}

// Reaches reports whether address is on this machine or is reached by a route of its own, so that an attempt can succeed
// though the link is Down: in the local network, or beyond a gateway there. It asks the kernel and sends nothing. Where the
// routes cannot be seen it reports false.
func Reaches(address netip.Addr) bool { return address.IsValid() && reaches(address) }

// Status returns what is known.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// Changed returns a channel that is closed at the next change of the state, or when another default route, gateway,
// interface or address takes over while it is Up: a reason to cut a backoff short. Take the channel before reading Up.
func (l *Link) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// nearInterval is the pause between two looks for a route to a destination that is near.
const nearInterval = 15 * time.Second

// Wait returns at once while the link is not Down. Else it waits until that ends and then a random time up to MaxJitter.
// It also ends when near reports true, which it asks every 15 seconds; nil: it does not ask. The error is that of ctx.
func (l *Link) Wait(ctx context.Context, near func() bool) error {
	var jitter time.Duration
	for {
		changed := l.Changed()
		if l.Up() != Down {
			if jitter == 0 {
				return ctx.Err()
			}
			// The link may go again during the jitter.
			if err := pause(ctx, jitter); err != nil {
				return err
			}
			jitter = 0
			continue
		}
		jitter = Jitter()
		if err := l.waitDown(ctx, changed, near); err != nil || near != nil && l.Up() == Down && near() {
			return err
		}
	}
}

// waitDown ends with the state, or when it is time to ask near.
func (l *Link) waitDown(ctx context.Context, changed <-chan struct{}, near func() bool) error {
	var look <-chan time.Time
	if near != nil {
		timer := time.NewTimer(nearInterval)
		defer timer.Stop()
		look = timer.C
	}
	select {
	case <-changed:
	case <-look:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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
	another := moved || was != state && state == Up
	if another {
		l.ways++
	}
	l.mu.Unlock()
	if another {
		l.moved()
	}
	l.mu.Lock()
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
