package agent

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// trouble remembers a streak of failures, so that it is logged at its start, when its cause changes and at its end, and
// not once per retry. The zero value is ready to use.
type trouble struct {
	since    time.Time
	failures int
	cause    string
}

// streak is a trouble that is over.
type streak struct {
	failures int
	duration time.Duration
}

// changed counts a failure and reports whether it begins a streak or has another cause than the one before.
func (t *trouble) changed(now time.Time, cause string) bool {
	if t.failures == 0 {
		t.since = now
	}
	t.failures++
	changed := t.cause != cause
	t.cause = cause
	return changed
}

// over ends the streak. It reports false if there was none.
func (t *trouble) over(now time.Time) (streak, bool) {
	if t.failures == 0 {
		return streak{}, false
	}
	s := streak{failures: t.failures, duration: now.Sub(t.since).Round(time.Second)}
	*t = trouble{}
	return s, true
}

// newBackoff returns pauses with full jitter, each drawn evenly between 0 and a bound that grows from first to most.
// It never gives up; the library's default does after 15 minutes.
func newBackoff(first, most time.Duration) *backoff.ExponentialBackOff {
	// A randomization factor of 1 draws from 0 to twice the interval.
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first/2),
		backoff.WithMaxInterval(most/2),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxElapsedTime(0),
	)
}

// wait returns nil after d, and the cause when ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	_, err := waitOr(ctx, d, nil, nil)
	return err
}

// waitOr is wait that is also ended by something sent on wake, or by changed, and reports whether it was changed.
func waitOr(ctx context.Context, d time.Duration, wake, changed <-chan struct{}) (bool, error) {
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
