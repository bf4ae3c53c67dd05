package agent

import (
	"context"

	"github.com/edge-eventer/edge-eventer/agent/link"
)

// destination is a receiver that knows where its requests go.
type destination interface {
	// Destination returns the host that the next request connects to, a proxy's where one is used; empty where that
	// is not known before.
	Destination() string
}

// near reports whether the receiver is reached though the link is down, because its route is not the default one.
func (d *delivery) near(ctx context.Context) bool {
	to, ok := d.receiver.(destination)
	if !ok || d.dialer == nil {
		return false
	}
	host := to.Destination()
	return host != "" && d.dialer.Near(ctx, d.name, host, link.Reaches)
}

// linkDown reports whether an attempt cannot succeed for want of a way to the receiver.
func (d *delivery) linkDown(ctx context.Context) bool {
	return d.link != nil && d.link.Up() == link.Down && !d.near(ctx)
}

// dropDeadConnections closes what was connected by another way out than the present one. A request over it would wait for its
// whole time-out.
func (d *delivery) dropDeadConnections() {
	if d.link == nil {
		return
	}
	if ways := d.link.Ways(); ways != d.ways {
		d.ways = ways
		d.receiver.Close()
	}
}
