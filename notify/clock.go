package notify

import "time"

const (
	// signatureWindow is how far a signature's time may be off: 1 hour, both at Feishu and at DingTalk. A minute less, because
	// the Date of an answer has whole seconds and the answer travelled.
	signatureWindow = time.Hour - time.Minute
)

// clock is this machine's clock, corrected by what a receiver's answers said of theirs. A Pi that starts without network can
// be hours off until it finds a time server, and its signatures are refused all that time although the secret is right.
// The correction is kept in memory only.
type clock struct {
	ahead time.Duration
}

// now returns the time to sign with.
func (c *clock) now() time.Time { return time.Now().Add(c.ahead) }

// observe is told the Date of every answer, so that a correction ends when the clock was set.
func (c *clock) observe(a *answer) {
	if c.ahead != 0 && !a.date.IsZero() {
		c.ahead = a.date.Sub(a.at).Truncate(time.Second)
	}
}

// refused is told that a signature with the time signed was refused. It reports how far that time was behind the receiver's clock,
// if that explains it, and corrects the clock.
func (c *clock) refused(a *answer, signed time.Time) (behind time.Duration, explains bool) {
	if a.date.IsZero() {
		return 0, false
	}
	behind = a.date.Sub(signed).Truncate(time.Second)
	if behind.Abs() <= signatureWindow {
		return behind, false
	}
	c.ahead = a.date.Sub(a.at).Truncate(time.Second)
	return behind, true
}
