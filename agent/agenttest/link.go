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

func (s *Link) Up() link.State { return s.Status().State }

func (s *Link) Status() link.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Link) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Link) Ways() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ways
}

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
