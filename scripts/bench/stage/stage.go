package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Stage is what a program needs that a test has. The helpers of agent/clustertest take it; what they call Fatal for ends Run or Try
// with that error.
type Stage struct {
	//nolint:containedctx // As in a test: it ends with the program.
	ctx context.Context
	log io.Writer

	mu       sync.Mutex
	cleanups []func()
	failed   []error
}

// failure is what Fatal panics with.
type failure struct{ err error }

// Run calls f, and then the clean-ups in reverse order. It ends f's context with its own, after the timeout, and on SIGINT and
// SIGTERM. What the helpers say goes to standard error. It returns the first failure.
func Run(ctx context.Context, timeout time.Duration, f func(*Stage) error) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s := &Stage{ctx: ctx, log: os.Stderr}
	defer func() {
		err = errors.Join(err, s.cleanUp(), errors.Join(s.failed...))
	}()
	var result error
	if err := s.Try(func() { result = f(s) }); err != nil {
		return err
	}
	return result
}

// Try calls f and returns what a helper in it failed with.
func (s *Stage) Try(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			failed, ok := p.(failure)
			if !ok {
				panic(p)
			}
			err = failed.err
		}
	}()
	f()
	return nil
}

func (s *Stage) cleanUp() error {
	var errs []error
	for {
		s.mu.Lock()
		n := len(s.cleanups)
		var last func()
		if n > 0 {
			last = s.cleanups[n-1]
			s.cleanups = slices.Delete(s.cleanups, n-1, n)
		}
		s.mu.Unlock()
		if last == nil {
			return errors.Join(errs...)
		}
		errs = append(errs, s.Try(last))
	}
}

// Context ends with the program.
func (s *Stage) Context() context.Context { return s.ctx }

// Cleanup calls f at the end.
func (s *Stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// TempDir makes a folder that goes at the end.
func (s *Stage) TempDir() string {
	dir, err := os.MkdirTemp("", "edge-eventer-bench.")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Helper does nothing.
func (s *Stage) Helper() {}

// Failed reports whether Errorf was called.
func (s *Stage) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failed) > 0
}

// Logf writes a line to standard error.
func (s *Stage) Logf(format string, args ...any) { fmt.Fprintf(s.log, format+"\n", args...) }

// Errorf makes Run fail at its end.
func (s *Stage) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, fmt.Errorf(format, args...))
}

// Fatal ends Run or Try.
func (s *Stage) Fatal(args ...any) {
	if len(args) == 1 {
		if err, ok := args[0].(error); ok {
			panic(failure{err})
		}
	}
	panic(failure{errors.New(fmt.Sprint(args...))})
}

// Fatalf ends Run or Try.
func (s *Stage) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// Until polls until done returns true.
func (s *Stage) Until(what string, most time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(s.ctx, most)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
	return nil
}

// Pass waits, unless the program is ended before.
func (s *Stage) Pass(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}
