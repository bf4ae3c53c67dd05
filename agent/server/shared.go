package server

import (
	"sync"
	"time"
)

// sharedFor is how long a document that was made answers others who ask for it.
const sharedFor = time.Second

// Shared is a document that is made at most once a second. Who asks while it is made waits for it.
type Shared[T any] struct {
	// Make makes it. Nobody changes what it returns.
	Make func() (T, error)

	// mu guards what was made last, and when.
	mu     sync.Mutex
	madeAt time.Time
	made   T
	err    error
}

// Get returns the document, or why it could not be made.
func (s *Shared[T]) Get() (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.madeAt.IsZero() || time.Since(s.madeAt) >= sharedFor {
		s.made, s.err = s.Make()
		s.madeAt = time.Now()
	}
	return s.made, s.err
}
