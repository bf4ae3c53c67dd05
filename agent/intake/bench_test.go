package intake_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
)

// BenchmarkIntake takes events from the watch to the disk: folded into 50 incidents, and each an incident of its own.
func BenchmarkIntake(b *testing.B) {
	for _, incidents := range []int{50, 50_000} {
		b.Run(fmt.Sprintf("incidents=%d", incidents), func(b *testing.B) {
			h := agenttest.New(b, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
			defer h.Close()
			h.Make()
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- h.Intake.Run(ctx) }()
			at := time.Now()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e := agenttest.Warning(fmt.Sprintf("web%d", i%incidents), 10+i, 1, at)
				e.UID = fmt.Sprintf("%08x-5b1c-4c43-8e0a-%012x", uint32(i)*2654435761, i)
				i++
				if err := h.Intake.Watched(ctx, watch.Change{Event: e}); err != nil {
					b.Fatal(err)
				}
			}
			stop()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
