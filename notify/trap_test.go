package notify_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// TestAttemptEndsAtItsTimeoutWhateverTheEndpointDoes lets each receiver meet a far end that goes wrong in each phase. The
// clock is the bubble's, so the end of an attempt is exact, and a goroutine that is left behind would be found.
func TestAttemptEndsAtItsTimeoutWhateverTheEndpointDoes(t *testing.T) {
	const timeout = 30 * time.Second
	authority, err := notifytest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Issue("receiver.example")
	if err != nil {
		t.Fatal(err)
	}
	forEach(t, func(t *testing.T, s *subject) {
		for _, trap := range notifytest.Traps() {
			t.Run(trap.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base := "http://receiver.example"
					if trap.TLS || trap.Proxy {
						base = "https://receiver.example"
					}
					var traps sync.WaitGroup
					r := s.receiver(t, base, func(c *configtest.Keys) {
						c.InsecureSkipVerify = true
						if trap.Proxy {
							c.Proxy = "http://proxy.example:3128"
						}
						c.DialContext = func(context.Context, string, string) (net.Conn, error) {
							near, far := net.Pipe()
							traps.Go(func() { trap.Serve(far, certificate) })
							return near, nil
						}
					})
					ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, fmt.Errorf("no answer within %s", timeout))
					defer cancel()
					begin := time.Now()
					err := r.Send(ctx, render(t, r, message(plainIncident()), notify.Full))
					if took := time.Since(begin); took > timeout {
						t.Errorf("the attempt took %s, its time-out is %s", took, timeout)
					}
					// A receiver that judges by the status has its verdict before the body.
					if err == nil && !s.statusDecides && !s.lenient {
						t.Error("success, want a failure")
					}
					if err != nil && trap.Name != "error body flood" && failure(t, err).Outcome != notify.Retry {
						t.Errorf("%v, want retry", err)
					}
					r.Close()
					// The connection was closed: nothing holds it beyond the attempt.
					traps.Wait()
				})
			})
		}
	})
}
