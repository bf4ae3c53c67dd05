package health

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// State is what the watch of a namespace is doing.
type State string

// The states of a watch.
const (
	// Waiting is a pause after a failure, or before the first request.
	Waiting State = "waiting"
	// Listing is from the first request of a list, or of a check whether the position is still good, to its end.
	Listing State = "listing"
	// Watching is while a watch is open.
	Watching State = "watching"
)

// Status is how the watch of one namespace stands. A zero time means never.
type Status struct {
	Namespace string
	State     State
	// Since is when State began.
	Since time.Time
	// LastEvent is when the sink last took an event from a list or a watch.
	LastEvent time.Time
	// LastList is when a list was last complete.
	LastList time.Time
	// Seen is up to when everything that the namespace showed was given to the sink, as far as is known: an open watch that
	// works sees all, unless the sink holds it back.
	Seen time.Time
	// LastAnswer is when the API server last showed anything: a page, the start of a watch, a frame.
	LastAnswer time.Time

	// Failing is nil while all is well.
	Failing *Failing

	Counts
}

// Counts are what the watch of one namespace met since the start.
type Counts struct {
	// Lists counts complete lists, Watches opened watches.
	Lists, Watches uint64
	// Expired counts answers that a position or a continue token is too old (410), Failures all failures.
	Expired, Failures uint64
	// Skipped counts events that could not be read: without UID or resourceVersion, no JSON, or too large.
	Skipped uint64
}

// Failing is a streak of failures.
type Failing struct {
	// Since is when the first failure of the streak was met.
	Since time.Time
	// Count is how many there were.
	Count int
	// Unseen says that the API server shows no events: it is away, refuses, or does not answer. It is false when the failure is
	// the sink's, or when only a position expired.
	Unseen bool
	// Reason is the last failure as one of a fixed set of words, for a metric's label: unauthorized, forbidden, throttled,
	// refused, unreachable, stalled, expired, closed, malformed, sink.
	Reason string
	// Err is the last failure.
	Err error
}

// Keeper keeps the Status of a namespace and logs when it changes. Its methods may be called from any goroutine.
type Keeper struct {
	logger *slog.Logger

	// mu guards what follows.
	mu sync.Mutex
	s  Status
	// step is the one that failed last; told is set once the streak was logged.
	step Step
	told bool
	// open is set while a watch is open that works, and held while the sink has a change in hand.
	open, held bool
}

// New returns the Keeper of a namespace, "" for all, that waits.
func New(namespace string, logger *slog.Logger) *Keeper {
	return &Keeper{
		logger: logger,
		s:      Status{Namespace: namespace, State: Waiting, Since: time.Now()},
	}
}

// Status returns how the namespace stands.
func (h *Keeper) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.look()
	s := h.s
	if s.Failing != nil {
		failing := *s.Failing
		s.Failing = &failing
	}
	return s
}

// look moves Seen to now where an open watch says so. The caller holds mu.
func (h *Keeper) look() {
	if h.open && !h.held && h.s.State == Watching {
		h.s.Seen = time.Now()
	}
}

// Seen notes up to when everything was shown, and returns it.
func (h *Keeper) Seen() time.Time { return h.Status().Seen }

// Listed notes that a list which was asked for at the given time is complete.
func (h *Keeper) Listed(at time.Time) {
	h.Note(func(s *Status) {
		s.Lists++
		s.LastList = time.Now()
		s.Seen = at
	})
}

// Holds notes that the sink has a change in hand that came at the given time, which proves that the watch works; the zero time
// that it has it no more.
func (h *Keeper) Holds(arrived time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = !arrived.IsZero()
	if h.held {
		h.s.Seen, h.open = arrived, true
	}
}

// Opened notes that a watch that works is open.
func (h *Keeper) Opened() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = true
}

// Closed notes the end of a watch. Where it broke off, it may have been blind for as long as that takes to notice.
func (h *Keeper) Closed(blind time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open && !h.held {
		if at := time.Now().Add(-blind); at.After(h.s.Seen) {
			h.s.Seen = at
		}
	}
	h.open, h.held = false, false
}

// Note changes the counters.
func (h *Keeper) Note(change func(*Status)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.s)
}

// Set notes what the watch is doing from now on.
func (h *Keeper) Set(state State) {
	h.Note(func(s *Status) {
		if s.State != state {
			s.State, s.Since = state, time.Now()
			h.open, h.held = false, false
		}
	})
}

// Failed counts a failure. A first one, and one of another kind than the one before, is logged; but a position that
// expired, and a watch that was closed, is all in the day's work until it happens three times in a row.
func (h *Keeper) Failed(s Step, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.s.Failures++
	word, sentence := reason(h.s.Namespace, s, err)
	usual := word == "expired" || word == "closed"
	if word == "expired" {
		h.s.Expired++
	}
	if h.s.Failing == nil {
		h.s.Failing = &Failing{Since: now}
		h.told = false
	}
	f := h.s.Failing
	f.Count++
	changed := f.Reason != word
	f.Reason, f.Err, f.Unseen = word, fmt.Errorf("%s: %w", sentence, err), word != "sink" && !usual
	h.step = s
	switch {
	case usual && f.Count < 3:
		h.logger.Debug("watch position is too old, listing again", "namespace", h.s.Namespace, "err", err)
	case usual && f.Count > 3 && h.told, !usual && !changed:
	default:
		h.told = true
		h.logger.Warn(sentence+"; trying again", "namespace", h.s.Namespace, "step", string(s), "err", err)
	}
}

// Answered notes a good answer to a list request. It ends a streak of failed lists, but not one of failed watches: that
// the API server may be listed is no news then.
func (h *Keeper) Answered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.s.LastAnswer = time.Now()
	if h.step == StepList && (h.s.Failing == nil || h.s.Failing.Reason != "expired") {
		h.over("the API server shows events again")
	}
}

// Healthy notes a watch that works.
func (h *Keeper) Healthy() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over("events are watched again")
}

func (h *Keeper) over(sentence string) {
	f := h.s.Failing
	h.s.Failing, h.step = nil, ""
	if f != nil && h.told {
		h.logger.Info(sentence, "namespace", h.s.Namespace,
			"failures", f.Count, "after", time.Since(f.Since).Round(time.Millisecond))
	}
}
