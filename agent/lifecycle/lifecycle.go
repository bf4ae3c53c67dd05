// Package lifecycle ends what was started, in the reverse order, within one bound for all of it.
//
// It promises that a stage that hangs keeps no other from ending: it is named in the error, and the next one is stopped while there is
// still the time that was kept for it.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Stack has what is to be stopped, last in, first out. Stop is called once; the other methods may be called from any goroutine before.
type Stack struct {
	ended context.CancelCauseFunc
	// mu guards steps.
	mu    sync.Mutex
	steps []step
}

type step struct {
	name string
	kept time.Duration
	stop func() error
}

// New returns an empty stack, and a context that ends when ctx does or when a stage fails.
func New(ctx context.Context) (*Stack, context.Context) {
	ctx, ended := context.WithCancelCause(ctx)
	return &Stack{ended: ended}, ctx
}

// OnStop adds a step to those of Stop. So much time is kept for it, whatever the steps before it take; it may have all that they leave.
func (s *Stack) OnStop(name string, kept time.Duration, stop func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, step{name, kept, stop})
}

// Go runs a stage until it is its turn to be stopped, with so much time kept for it: then its context ends. A stage that returns an error
// ends the context of New.
func (s *Stack) Go(name string, kept time.Duration, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if err != nil {
			s.ended(fmt.Errorf("%s: %w", name, err))
		}
		done <- err
	}()
	s.OnStop(name, kept, func() error {
		stop()
		return <-done
	})
}

// Stop stops everything in the reverse order of its start, within the given time, and joins the errors, each with the name of its step.
// A step that has not ended when the time is up that the others leave it is left behind.
func (s *Stack) Stop(within time.Duration) error {
	s.ended(nil)
	s.mu.Lock()
	steps := s.steps
	s.steps = nil
	s.mu.Unlock()
	deadline := time.Now().Add(within)
	var others time.Duration
	for i := range steps {
		others += steps[i].kept
	}
	var failures []error
	for i := len(steps) - 1; i >= 0; i-- {
		others -= steps[i].kept
		if err := steps[i].run(max(steps[i].kept, time.Until(deadline)-others)); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func (s *step) run(within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	done := make(chan error, 1)
	go func() { done <- s.stop() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("stop %s: has not ended within %s", s.name, within.Round(time.Millisecond))
	}
}
