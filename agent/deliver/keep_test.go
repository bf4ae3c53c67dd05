package deliver_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/notify"
)

// keeping is a receiver that holds a connection.
type keeping struct {
	agenttest.Receiver

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
		h := agenttest.New(t, map[string]notify.Receiver{"bus": r})
		way := agenttest.NewLink(link.Down)
		h.Options["bus"].Link = way
		h.Start()
		agenttest.Pass(time.Hour)
		select {
		case <-r.dialled:
			t.Error("the receiver dials without a link")
		default:
		}
		way.Set(link.Up)
		agenttest.Pass(time.Minute)
		select {
		case <-r.dialled:
		default:
			t.Error("nobody has asked the receiver to hold its connection")
		}
		h.Close()
		select {
		case <-r.let:
		default:
			t.Error("the delivery ended before the receiver had let its connection go")
		}
	})
}
