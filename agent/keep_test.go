package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/notify"
)

// keeping is a receiver that holds a connection.
type keeping struct {
	scripted

	dialled chan struct{}
	let     chan struct{}
}

func (k *keeping) Keep(ctx context.Context, mayDial func(context.Context) error) {
	defer close(k.let)
	if mayDial(ctx) == nil {
		close(k.dialled)
		<-ctx.Done()
	}
}

// TestConnectionIsHeldWithoutAnyMessage from when there is a link, until the delivery ends, which waits for it.
func TestConnectionIsHeldWithoutAnyMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &keeping{dialled: make(chan struct{}), let: make(chan struct{})}
		h := newHouse(t, map[string]notify.Receiver{"bus": r})
		way := newSwitched(link.Down)
		h.deliveries["bus"].link = way
		h.start()
		pass(time.Hour)
		select {
		case <-r.dialled:
			t.Error("the receiver dials without a link")
		default:
		}
		way.set(link.Up)
		pass(time.Minute)
		select {
		case <-r.dialled:
		default:
			t.Error("nobody has asked the receiver to hold its connection")
		}
		h.close()
		select {
		case <-r.let:
		default:
			t.Error("the delivery ended before the receiver had let its connection go")
		}
	})
}
