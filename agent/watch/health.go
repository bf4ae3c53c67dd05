package watch

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// State is what a namespace's watch is doing.
type State string

// The states of a watch.
const (
	// StateWaiting is a pause after a failure, or before the first request.
	StateWaiting State = "waiting"
	// StateListing is from the first request of a list, or of a check whether the position is still good, to its end.
	StateListing State = "listing"
	// StateWatching is while a watch is open.
	StateWatching State = "watching"
)

// Status is how the watch stands.
type Status struct {
	// Namespaces has one entry for each watched namespace, or one with the name "" for all.
	Namespaces []NamespaceStatus
}

// NamespaceStatus is how the watch of one namespace stands. A zero time means never.
type NamespaceStatus struct {
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

// health keeps the status of a namespace and logs when it changes.
type health struct {
	logger *slog.Logger

	mu   sync.Mutex
	s    NamespaceStatus
	step step
	told bool
	// open is set while a watch is open that works, and held while the sink has a change in hand.
	open, held bool
}

func newHealth(namespace string, logger *slog.Logger) *health {
	return &health{
		logger: logger,
		s:      NamespaceStatus{Namespace: namespace, State: StateWaiting, Since: time.Now()},
	}
}

func (h *health) status() NamespaceStatus {
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
func (h *health) look() {
	if h.open && !h.held && h.s.State == StateWatching {
		h.s.Seen = time.Now()
	}
}

// seen notes up to when everything was shown, and returns it.
func (h *health) seen() time.Time { return h.status().Seen }

// listed notes that a list which was asked for at the given time is complete.
func (h *health) listed(at time.Time) {
	h.note(func(s *NamespaceStatus) {
		s.Lists++
		s.LastList = time.Now()
		s.Seen = at
	})
}

// holds notes that the sink has a change in hand that came at the given time, which proves that the watch works; the zero time
// that it has it no more.
func (h *health) holds(arrived time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = !arrived.IsZero()
	if h.held {
		h.s.Seen, h.open = arrived, true
	}
}

// opened notes that a watch that works is open.
func (h *health) opened() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = true
}

// closed notes the end of a watch. Where it broke off, it may have been blind for as long as that takes to notice.
func (h *health) closed(blind time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open && !h.held {
		if at := time.Now().Add(-blind); at.After(h.s.Seen) {
			h.s.Seen = at
		}
	}
	h.open, h.held = false, false
}

// note changes the counters.
func (h *health) note(change func(*NamespaceStatus)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.s)
}

func (h *health) set(state State) {
	h.note(func(s *NamespaceStatus) {
		if s.State != state {
			s.State, s.Since = state, time.Now()
			h.open, h.held = false, false
		}
	})
}

// failed counts a failure. A first one, and one of another kind than the one before, is logged; but a position that
// expired, and a watch that was closed, is all in the day's work until it happens three times in a row.
func (h *health) failed(s step, err error) {
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

// answered notes a good answer to a list request. It ends a streak of failed lists, but not one of failed watches: that
// the API server may be listed is no news then.
func (h *health) answered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.s.LastAnswer = time.Now()
	if h.step == stepList && (h.s.Failing == nil || h.s.Failing.Reason != "expired") {
		h.over("the API server shows events again")
	}
}

// healthy notes a watch that works.
func (h *health) healthy() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over("events are watched again")
}

func (h *health) over(sentence string) {
	f := h.s.Failing
	h.s.Failing, h.step = nil, ""
	if f != nil && h.told {
		h.logger.Info(sentence, "namespace", h.s.Namespace,
			"failures", f.Count, "after", time.Since(f.Since).Round(time.Millisecond))
	}
}
