package retry

import "time"

// Trouble remembers a streak of failures, so that it is logged at its start, when its cause changes and at its end, and
// not once per retry. The zero value is ready to use, by one goroutine.
type Trouble struct {
	// Since is when the streak began; it holds only while Failures is not 0.
	Since    time.Time
	Failures int
	cause    string
}

// Streak is a trouble that is over.
type Streak struct {
	Failures int
	// Duration is from the first failure to the success, in whole seconds.
	Duration time.Duration
}

// Changed counts a failure and reports whether it begins a streak or has another cause than the one before.
func (t *Trouble) Changed(now time.Time, cause string) bool {
	if t.Failures == 0 {
		t.Since = now
	}
	t.Failures++
	changed := t.cause != cause
	t.cause = cause
	return changed
}

// Over ends the streak. It reports false if there was none.
func (t *Trouble) Over(now time.Time) (Streak, bool) {
	if t.Failures == 0 {
		return Streak{}, false
	}
	s := Streak{Failures: t.Failures, Duration: now.Sub(t.Since).Round(time.Second)}
	*t = Trouble{}
	return s, true
}
