package deliver

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/agent/retry"
)

// WayOut is the link as a delivery sees it.
type WayOut interface {
	Up() link.State
	Changed() <-chan struct{}
	Wait(ctx context.Context, near func() bool) error
	Ways() uint64
	Status() link.Status
}

// destination is a receiver that knows where its requests go.
type destination interface {
	// Destination returns the host that the next request connects to, a proxy's where one is used; empty where that
	// is not known before.
	Destination() string
}

// gate is what holds the next message back.
type gate struct {
	// reserved of the rate limits have a place for the next message.
	reserved int
	// notBefore is until when the receiver asked to be left alone. Neither a link that changed nor news cuts that short.
	notBefore time.Time
	// ways is which way out the receiver's connections were made by.
	ways uint64
}

// left gives up the places in the rate limits: a message leaves.
func (g *gate) left() { g.reserved = 0 }

// reserve takes places in the rate limits until one has to be waited for, and returns how long; 0: the message has all of them.
func (g *gate) reserve(limits []*rate.Limiter) time.Duration {
	for g.reserved < len(limits) {
		pause := limits[g.reserved].Reserve().Delay()
		g.reserved++
		if pause > 0 {
			return pause
		}
	}
	return 0
}

// mayLeave reports whether a message may be sent now. Otherwise it has waited for what holds messages back, and what is due has to
// be read anew: a digest that is made before the link is there is stale when it leaves, and lacks the critical incident that came
// meanwhile. A place in the rate limit that was waited for is kept until a message is sent.
func (d *Delivery) mayLeave(ctx context.Context) bool {
	if time.Until(d.gate.notBefore) > 0 {
		d.pauseUntil(ctx, StateBackoff, d.gate.notBefore)
		return false
	}
	if d.linkDown(ctx) {
		// Not even a name look-up leaves.
		d.state(StateLinkDown, time.Time{})
		d.digest = nil
		_ = d.options.Link.Wait(ctx, func() bool { return d.near(ctx) })
		return false
	}
	d.dropDeadConnections()
	if d.inbox.Limits.AvoidHalfHours {
		if pause := untilQuieter(time.Now()); pause > 0 {
			d.pauseUntil(ctx, StateWaiting, time.Now().Add(pause))
			return false
		}
	}
	if pause := d.gate.reserve(d.options.Limits); pause > 0 {
		d.pauseUntil(ctx, StateWaiting, time.Now().Add(pause))
		return false
	}
	return ctx.Err() == nil
}

func (d *Delivery) pauseUntil(ctx context.Context, state string, at time.Time) {
	d.state(state, at)
	_ = retry.Wait(ctx, time.Until(at))
}

// near reports whether the receiver is reached though the link is down, because its route is not the default one.
func (d *Delivery) near(ctx context.Context) bool {
	to, ok := d.options.Receiver.(destination)
	if !ok || d.options.Dialer == nil {
		return false
	}
	host := to.Destination()
	return host != "" && d.options.Dialer.Near(ctx, d.options.Name, host, link.Reaches)
}

// linkDown reports whether an attempt cannot succeed for want of a way to the receiver.
func (d *Delivery) linkDown(ctx context.Context) bool {
	return d.options.Link != nil && d.options.Link.Up() == link.Down && !d.near(ctx)
}

// linkChanged returns a channel that is closed when the link goes or comes; nil where it is not looked at.
func (d *Delivery) linkChanged() <-chan struct{} {
	if d.options.Link == nil {
		return nil
	}
	return d.options.Link.Changed()
}

// dropDeadConnections closes what was connected by another way out than the present one. A request over it would wait for its
// whole time-out.
func (d *Delivery) dropDeadConnections() {
	if d.options.Link == nil {
		return
	}
	if ways := d.options.Link.Ways(); ways != d.gate.ways {
		d.gate.ways = ways
		d.options.Receiver.Close()
	}
}

// untilQuieter returns how long to stay away from a platform that is overloaded at whole and half hours: from 2 seconds before to 10
// to 20 seconds after. The zone does not matter: those of all platforms differ from UTC by half hours.
func untilQuieter(now time.Time) time.Duration {
	const half, before, after = 30 * time.Minute, 2 * time.Second, 10 * time.Second
	since := now.Add(before).Sub(now.Add(before).Truncate(half))
	if since >= before+after {
		return 0
	}
	return before + after - since + rand.N(after)
}
