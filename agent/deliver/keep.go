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
	running.Go(func() { keeper.Keep(ctx, d.gate.AwaitLink) })
	return running.Wait
}
