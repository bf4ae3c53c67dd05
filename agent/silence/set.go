package silence

import (
	"sync/atomic"
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
