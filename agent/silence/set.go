package silence

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/matcher"
)

// Set is the silences of a running agent, as they were last loaded. It may be used by several goroutines.
type Set struct{ all atomic.Pointer[[]*Silence] }

// Load takes the silences from the table. Its error is that of the function All, which leaves out what cannot be read.
func (s *Set) Load(t Table) error {
	all, err := All(t)
	s.all.Store(&all)
	return err
}

// All returns the silences. The caller must not change them.
func (s *Set) All() []*Silence {
	if all := s.all.Load(); all != nil {
		return *all
	}
	return nil
}

// Holding returns the silence that holds the subject now, that with the latest end where several do; nil: none does.
func (s *Set) Holding(subject *matcher.Subject, now time.Time) *Silence {
	for _, one := range slices.Backward(s.All()) {
		if one.State(now) == Active && one.Covers(subject) {
			return one
		}
	}
	return nil
}
