// Package retry repeats what fails for a reason that passes, and says so once.
//
// It promises that a failure is logged where a streak of them begins, where its cause changes and where it ends, and never once a
// try; and that pauses grow, are drawn at random, and end with the context.
package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// NewBackOff returns pauses with full jitter, each drawn evenly between 0 and a bound that grows from first to most.
// It never gives up; the library's default does after 15 minutes.
func NewBackOff(first, most time.Duration) *backoff.ExponentialBackOff {
	// A randomization factor of 1 draws from 0 to twice the interval.
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first/2),
		backoff.WithMaxInterval(most/2),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxElapsedTime(0),
	)
}

// The pauses of Do.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// Loop says what a repeated step tells of its failures. Both functions are called by the goroutine that calls Do; nil stands for
// nothing to tell.
type Loop struct {
	// Failed is called with the first failure of a streak, and with each that has another cause than the one before.
	Failed func(error)
	// Paused is called before each pause with its length.
	Paused func(time.Duration)
	// Recovered is called when a try succeeds after failures.
	Recovered func(Streak)
}

// Do calls try until it succeeds, until final says that its error is for good, or until ctx ends. It tries once even where ctx has
// ended, and returns the last error of try, or nil. A nil final calls no error final.
func (l Loop) Do(ctx context.Context, try func() error, final func(error) bool) error {
	pause := NewBackOff(firstPause, lastPause)
	var trouble Trouble
	for {
		err := try()
		if err == nil {
			if streak, ok := trouble.Over(time.Now()); ok && l.Recovered != nil {
				l.Recovered(streak)
			}
			return nil
		}
		if final != nil && final(err) {
			return err
		}
		if trouble.Changed(time.Now(), err.Error()) && l.Failed != nil {
			l.Failed(err)
		}
		if ctx.Err() != nil {
			return err
		}
		next := pause.NextBackOff()
		if l.Paused != nil {
			l.Paused(next)
		}
		if Wait(ctx, next) != nil {
			return err
		}
	}
}

// Wait returns nil after d, and the cause when ctx ends before.
func Wait(ctx context.Context, d time.Duration) error {
	_, err := WaitOr(ctx, d, nil, nil)
	return err
}

// WaitOr is Wait that is also ended by something sent on wake, or by changed, and reports whether it was changed.
func WaitOr(ctx context.Context, d time.Duration, wake, changed <-chan struct{}) (bool, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false, nil
	case <-wake:
		return false, nil
	case <-changed:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
