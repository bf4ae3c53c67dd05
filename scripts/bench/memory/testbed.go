package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// testbed lets a program use clustertest, which is made for tests. Of testing.TB it has what clustertest calls; anything else
// is a nil method and panics.
type testbed struct {
	testing.TB

	ctx      context.Context //nolint:containedctx // It stands for a test, which has one.
	log      func(string)
	cleanups []func()
}

// failure is what Fatal panics with; run turns it into its error.
type failure string

func (*testbed) Helper()                      {}
func (*testbed) Failed() bool                 { return false }
func (b *testbed) Context() context.Context   { return b.ctx }
func (b *testbed) Logf(f string, args ...any) { b.log(fmt.Sprintf(f, args...)) }
func (*testbed) Errorf(f string, args ...any) { panic(failure(fmt.Sprintf(f, args...))) }
func (*testbed) Fatalf(f string, args ...any) { panic(failure(fmt.Sprintf(f, args...))) }
func (*testbed) Fatal(args ...any)            { panic(failure(fmt.Sprint(args...))) }
func (b *testbed) Cleanup(f func())           { b.cleanups = append(b.cleanups, f) }

// run calls f and then the clean-ups, last first.
func (b *testbed) run(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("%s", string(p))
		default:
			panic(p)
		}
	}()
	defer func() {
		for _, cleanup := range slices.Backward(b.cleanups) {
			cleanup()
		}
	}()
	return f()
}
