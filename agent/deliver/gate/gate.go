// Package gate holds messages back until they may leave: for the link, for the receiver that asked to be left alone, for the rates of
// its platform.
//
// It promises that nothing leaves before its time, not even the look-up of a name, and that a place in a rate limit that was waited for
// is kept until a message leaves.
package gate

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/notify"
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

// Gate holds back the messages to one receiver. Its exported fields are set once; it is used by the goroutine of the delivery, but for AwaitLink.
type Gate struct {
	Name     string
	Receiver notify.Receiver
	// Limits are the rates of requests, that of the longest window first.
	Limits []*rate.Limiter
	// Link is the way out; nil: it is not looked at. Dialer knows whether the receiver is near; nil: it is not.
	Link   WayOut
	Dialer *dial.Dialer

	// reserved of the rate limits have a place for the next message.
	reserved int
	// notBefore is until when the receiver asked to be left alone. Neither a link that changed nor news cuts that short.
	notBefore time.Time
	// ways is which way out the receiver's connections were made by.
	ways uint64
}

// Reason says why a message may not leave.
type Reason int

const (
	// Open says that it may.
	Open Reason = iota
	// LeftAlone says that the receiver asked for a pause.
	LeftAlone
	// LinkDown says that there is no way out, and the receiver is not near.
	LinkDown
	// Paced is for a rate limit, or for the half hour of a platform.
	Paced
)

// Check returns why the next message may not leave now, and until when; of LinkDown nobody knows that. Where it may, connections that
// were made by another way out are closed: a request over one would wait for its whole time-out.
func (g *Gate) Check(ctx context.Context) (Reason, time.Time) {
	now := time.Now()
	if g.notBefore.After(now) {
		return LeftAlone, g.notBefore
	}
	if g.linkDown(ctx) {
		return LinkDown, time.Time{}
	}
	g.dropDeadConnections()
	if g.Receiver.Limits().AvoidHalfHours {
		if pause := untilQuieter(now); pause > 0 {
			return Paced, now.Add(pause)
		}
	}
	for g.reserved < len(g.Limits) {
		pause := g.Limits[g.reserved].Reserve().Delay()
		g.reserved++
		if pause > 0 {
			return Paced, time.Now().Add(pause)
		}
	}
	return Open, time.Time{}
}

// Left gives up the places in the rate limits: a message leaves.
func (g *Gate) Left() { g.reserved = 0 }

// LeaveAlone notes that the receiver asked for a pause.
func (g *Gate) LeaveAlone(pause time.Duration) { g.notBefore = time.Now().Add(pause) }

// AwaitLink returns when there is a way to the receiver, or with an error when ctx has ended. It may be called from any goroutine.
func (g *Gate) AwaitLink(ctx context.Context) error {
	if g.linkDown(ctx) {
		return g.Link.Wait(ctx, func() bool { return g.near(ctx) })
	}
	return ctx.Err()
}

// linkDown reports whether an attempt cannot succeed for want of a way to the receiver.
func (g *Gate) linkDown(ctx context.Context) bool {
	return g.Link != nil && g.Link.Up() == link.Down && !g.near(ctx)
}

// Changed returns a channel that is closed when the link goes or comes; nil where it is not looked at.
func (g *Gate) Changed() <-chan struct{} {
	if g.Link == nil {
		return nil
	}
	return g.Link.Changed()
}

// OutageAfter returns since when there was no way out in the last outage that ended after the given time; zero: there was none.
func (g *Gate) OutageAfter(t time.Time) time.Time {
	if g.Link == nil {
		return time.Time{}
	}
	if s := g.Link.Status(); s.OutageTo.After(t) {
		return s.OutageFrom
	}
	return time.Time{}
}

// near reports whether the receiver is reached though the link is down, because its route is not the default one.
func (g *Gate) near(ctx context.Context) bool {
	to, ok := g.Receiver.(destination)
	if !ok || g.Dialer == nil {
		return false
	}
	host := to.Destination()
	return host != "" && g.Dialer.Near(ctx, g.Name, host, link.Reaches)
}

func (g *Gate) dropDeadConnections() {
	if g.Link == nil {
		return
	}
	if ways := g.Link.Ways(); ways != g.ways {
		g.ways = ways
		g.Receiver.Close()
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
