package agent

import (
	"context"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/agent/watch"
)

// TestAnotherWayOutAsksForNamesAnew follows the word of the link to the names that are kept.
func TestAnotherWayOutAsksForNamesAnew(t *testing.T) {
	c, err := config.Parse([]byte("spool: {path: " + t.TempDir() + "/spool.db}\nserver: {listen: ''}\nreceivers: [{name: ops, type: stdout}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan link.Options, 1)
	a, err := newAgent(c, Options{}, hooks{
		watchLink: func(_ context.Context, o link.Options) *link.Link {
			watched <- o
			return nil
		},
		watch:  func(ctx context.Context, _ watch.Sink) error { <-ctx.Done(); return nil },
		answer: func(ctx context.Context) error { <-ctx.Done(); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	o := <-watched
	if o.Moved == nil {
		t.Error("nobody hears of another way out")
	} else {
		o.Moved()
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
