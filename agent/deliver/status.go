package deliver

import (
	"maps"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

// The states of a delivery.
const (
	// StateIdle says that nothing is due.
	StateIdle = "idle"
	// StateLinkDown says that there is no way out.
	StateLinkDown = "link down"
	// StateWaiting is for the rate limit, or a platform's half hour.
	StateWaiting = "waiting"
	// StateSending says that an attempt is under way.
	StateSending = "sending"
	// StateBackoff says that an attempt failed and will be repeated.
	StateBackoff = "backoff"
	// StateRefused says that the receiver takes no message; it is probed slowly.
	StateRefused = "refused"
)

// Status returns what the delivery is doing. It may be called from any goroutine.
func (d *Delivery) Status() status.Sending {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.Attempts = make(map[string]uint64, len(d.status.Attempts))
	maps.Copy(s.Attempts, d.status.Attempts)
	return s
}

// StandsStill returns how long an attempt has lasted beyond what its time-out allows, or the loop has slept past its time; 0 or less:
// it does not.
func (d *Delivery) StandsStill() time.Duration {
	s := d.Status()
	if s.Since.IsZero() {
		return 0
	}
	switch s.State {
	case StateSending:
		return time.Since(s.Since) - d.options.Timeout
	case StateIdle, StateBackoff, StateRefused:
		return time.Since(s.Next)
	}
	return 0
}

// state notes what the delivery does now, and when it goes on; zero: that is not known.
func (d *Delivery) state(state string, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.State != state {
		d.status.State, d.status.Since = state, time.Now()
	}
	d.status.Next = next
}

// rest notes that nothing is due before next. While the message that failed last is suspected, the state stays that of its pause.
func (d *Delivery) rest(next time.Time) {
	if d.retries.trouble.Failures == 0 || d.doubt.asides.Accused() == 0 {
		d.state(StateIdle, next)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Next = next
}

func (d *Delivery) count(outcome string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.Attempts == nil {
		d.status.Attempts = make(map[string]uint64)
	}
	d.status.Attempts[outcome]++
}

// forgive notes that the receiver takes messages.
func (d *Delivery) forgive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.LastError, d.status.RefusedSince, d.status.FileMissing = "", time.Time{}, false
}

// showAsides puts what is set aside into the status.
func (d *Delivery) showAsides() {
	list, n := d.doubt.asides.Shown()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Aside, d.status.AsideCount = list, n
}
