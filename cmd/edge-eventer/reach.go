package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/spool"
)

// lockPatience is how long a command waits for a spool that is locked while nobody answers: an agent that starts or ends.
const lockPatience = 5 * time.Second

// reach is the queues of a spool, through the agent that runs on it, and where there is none through the file. It holds the file for one
// page or one change at a time: a reader who takes hours over `spool export | less` keeps no agent from its start.
type reach struct {
	client   *control.Client
	path     string
	maxBytes int64
	// mistakes are those of the configuration. With any, the file is not opened: under a wrong maxBytes the spool would be made to fit.
	mistakes error
}

func newReach(c *config.Config, mistakes error) *reach {
	return &reach{client: control.NewClient(c.Socket()), path: c.Spool.Path, maxBytes: c.Spool.MaxBytes, mistakes: mistakes}
}

func (r *reach) Close() { r.client.Close() }

// Entries returns a page of entries.
func (r *reach) Entries(ctx context.Context, q control.Query) (control.Page, error) {
	return reached(ctx, r, control.Queues.Entries, q)
}

// Retry makes entries due at once.
func (r *reach) Retry(ctx context.Context, s control.Selection) (control.Result, error) {
	return reached(ctx, r, control.Queues.Retry, s)
}

// Drop removes entries for good.
func (r *reach) Drop(ctx context.Context, s control.Selection) (control.Result, error) {
	return reached(ctx, r, control.Queues.Drop, s)
}

// reached asks the agent, and does it on the file when there is none.
func reached[In, Out any](ctx context.Context, r *reach, do func(control.Queues, context.Context, In) (Out, error), in In) (out Out, err error) {
	for begin := time.Now(); ; {
		out, err = do(r.client, ctx, in)
		if !errors.Is(err, control.ErrNotRunning) {
			return out, err
		}
		if r.mistakes != nil {
			return out, r.mistakes
		}
		var s *spool.Spool
		if s, err = r.open(); err == nil {
			out, err = do(&control.Desk{Spool: s}, ctx, in)
			return out, errors.Join(err, s.Close())
		}
		if !errors.Is(err, spool.ErrLocked) || time.Since(begin) > lockPatience {
			return out, err
		}
		select {
		case <-time.After(lockPatience / 50):
		case <-ctx.Done():
			return out, fmt.Errorf("open spool: %w", ctx.Err())
		}
	}
}

// open opens the file. It makes none where none is.
func (r *reach) open() (*spool.Spool, error) {
	if _, err := os.Stat(r.path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no spool at %s, and no agent running on it", r.path)
	}
	// No age limit: a look must not expire what waits.
	return spool.Open(spool.Options{Path: r.path, MaxBytes: r.maxBytes})
}
