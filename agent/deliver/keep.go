package deliver

import (
	"context"
	"sync"

	"github.com/edge-eventer/edge-eventer/notify"
)

// keep lets the receiver hold its connection while nothing is sent. What it returns waits until the receiver has let it go, once ctx has
// ended.
func (d *Delivery) keep(ctx context.Context) (wait func()) {
	keeper, ok := d.options.Receiver.(notify.Keeper)
	if !ok {
		return func() {}
	}
	var running sync.WaitGroup
	running.Go(func() { keeper.Keep(ctx, d.awaitLink) })
	return running.Wait
}

// awaitLink returns when there is a way to the receiver, or with an error when ctx has ended.
func (d *Delivery) awaitLink(ctx context.Context) error {
	if d.linkDown(ctx) {
		return d.options.Link.Wait(ctx, func() bool { return d.near(ctx) })
	}
	return ctx.Err()
}
