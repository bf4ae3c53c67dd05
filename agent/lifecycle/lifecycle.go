// Package lifecycle ends what was started, in the reverse order, each step within its bound.
//
// It promises that a stage that hangs keeps no other from ending: it is named in the error, and the next one is stopped.
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
	name   string
	within time.Duration
	stop   func(context.Context) error
}

// New returns an empty stack, and a context that ends when ctx does or when a stage fails.
func New(ctx context.Context) (*Stack, context.Context) {
	ctx, ended := context.WithCancelCause(ctx)
	return &Stack{ended: ended}, ctx
}

// OnStop adds a step to those of Stop. Its context ends after within; then it is left behind.
func (s *Stack) OnStop(name string, within time.Duration, stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, step{name, within, stop})
}

// Go runs a stage until it is its turn to be stopped: then its context ends. A stage that returns an error ends the context of New.
func (s *Stack) Go(name string, within time.Duration, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if err != nil {
			s.ended(fmt.Errorf("%s: %w", name, err))
		}
		done <- err
	}()
	s.OnStop(name, within, func(context.Context) error {
		stop()
		return <-done
	})
}

// Stop stops everything in the reverse order of its start, and joins the errors, each with the name of its step.
func (s *Stack) Stop() error {
	s.ended(nil)
	s.mu.Lock()
	steps := s.steps
	s.steps = nil
	s.mu.Unlock()
	var failures []error
	for i := len(steps) - 1; i >= 0; i-- {
		if err := steps[i].run(); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func (s *step) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.within)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.stop(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		default:
			return fmt.Errorf("stop %s: has not ended within %s", s.name, s.within)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}
