package agenttest

import (
	"context"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/link"
)

// Link is a link that a test takes down and up.
type Link struct {
	mu      sync.Mutex
	status  link.Status
	changed chan struct{}
	ways    uint64
}

// NewLink returns a link in the given state.
func NewLink(state link.State) *Link {
	return &Link{status: link.Status{State: state}, changed: make(chan struct{})}
}

// Set changes the state; the same state again is another way out.
func (s *Link) Set(state link.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.State == link.Down && state != link.Down {
		s.status.OutageFrom, s.status.OutageTo = s.status.Since, time.Now()
	}
	s.status.State, s.status.Since = state, time.Now()
	if state == link.Up {
		s.ways++
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Up returns the state.
func (s *Link) Up() link.State { return s.Status().State }

// Status returns the state and the last outage.
func (s *Link) Status() link.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Changed returns a channel that is closed when Set is called next.
func (s *Link) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Ways counts the ways out so far.
func (s *Link) Ways() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ways
}

// Wait returns when there is a way out, or to a receiver that is near, or when ctx ends.
func (s *Link) Wait(ctx context.Context, near func() bool) error {
	for {
		changed := s.Changed()
		if s.Up() != link.Down || near() {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-time.After(15 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
