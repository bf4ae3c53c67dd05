package chat

import (
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// signatureWindow is how far a signature's time may be off: 1 hour, both at Feishu and at DingTalk. A minute less, because
	// the Date of an answer has whole seconds and the answer travelled.
	signatureWindow = time.Hour - time.Minute
)

// Clock is this machine's clock, corrected by what a receiver's answers said of theirs. A Pi that starts without network can
// be hours off until it finds a time server, and its signatures are refused all that time although the secret is right.
// The correction is kept in memory only.
type Clock struct {
	ahead time.Duration
}

// Now returns the time to sign with.
func (c *Clock) Now() time.Time { return time.Now().Add(c.ahead) }

// Observe is told the Date of every answer, so that a correction ends when the clock was set.
func (c *Clock) Observe(a *notify.Answer) {
	if c.ahead != 0 && !a.Date.IsZero() {
		c.ahead = a.Date.Sub(a.At).Truncate(time.Second)
	}
}

// refused is told that a signature with the time signed was refused. It reports how far that time was behind the receiver's clock,
// if that explains it, and corrects the clock.
func (c *Clock) refused(a *notify.Answer, signed time.Time) (behind time.Duration, explains bool) {
	if a.Date.IsZero() {
		return 0, false
	}
	behind = a.Date.Sub(signed).Truncate(time.Second)
	if behind.Abs() <= signatureWindow {
		return behind, false
	}
	c.ahead = a.Date.Sub(a.At).Truncate(time.Second)
	return behind, true
}

// RefusedSignature says whether the clock or the secret is the cause. With a wrong clock the next attempt is signed with the
// receiver's time, so it is worth making.
func (c *Clock) RefusedSignature(a *notify.Answer, name, platform string, signed time.Time) *notify.Error {
	behind, explains := c.refused(a, signed)
	if !explains {
		return a.Fail(notify.BadTarget, name, "%s refused the signature: the secret is wrong", platform)
	}
	direction := "behind"
	if behind < 0 {
		direction = "ahead"
	}
	return a.Fail(notify.Retry, name, "%s refused the signature: this machine's clock is %s %s; the next attempt is signed with the server's time",
		platform, Span(behind), direction)
}
