package agent

import (
	"context"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/link"
)

// wayOut is the link as a delivery sees it.
type wayOut interface {
	Up() link.State
	Changed() <-chan struct{}
	Wait(ctx context.Context, near func() bool) error
	Ways() uint64
	Status() link.Status
}

// mayLeave reports whether a message may be sent now. Otherwise it has waited for what holds messages back, and what is due has to
// be read anew: a digest that is made before the link is there is stale when it leaves, and lacks the critical incident that came
// meanwhile. A place in the rate limit that was waited for is kept until a message is sent.
func (d *delivery) mayLeave(ctx context.Context) bool {
	if pause := time.Until(d.notBefore); pause > 0 {
		d.state(stateBackoff, d.notBefore)
		_ = wait(ctx, pause)
		return false
	}
	if d.linkDown(ctx) {
		// Not even a name look-up leaves.
		d.state(stateLinkDown, time.Time{})
		d.digest = nil
		_ = d.link.Wait(ctx, func() bool { return d.near(ctx) })
		return false
	}
	d.dropDeadConnections()
	if d.receiver.Limits().AvoidHalfHours {
		if pause := rush(time.Now()); pause > 0 {
			d.state(stateWaiting, time.Now().Add(pause))
			_ = wait(ctx, pause)
			return false
		}
	}
	for d.reserved < len(d.limits) {
		pause := d.limits[d.reserved].Reserve().Delay()
		d.reserved++
		if pause > 0 {
			d.state(stateWaiting, time.Now().Add(pause))
			_ = wait(ctx, pause)
			return false
		}
	}
	return ctx.Err() == nil
}
