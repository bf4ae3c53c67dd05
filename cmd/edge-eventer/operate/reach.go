package operate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/silence"
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
	return reached(ctx, r, r.look, control.Queues.Entries, q)
}

// Retry makes entries due at once.
func (r *reach) Retry(ctx context.Context, s control.Selection) (control.Result, error) {
	return reached(ctx, r, r.open, control.Queues.Retry, s)
}

// Drop removes entries for good.
func (r *reach) Drop(ctx context.Context, s control.Selection) (control.Result, error) {
	return reached(ctx, r, r.open, control.Queues.Drop, s)
}

// Silences returns the silences that are kept.
func (r *reach) Silences(ctx context.Context, none struct{}) ([]*silence.Silence, error) {
	return reached(ctx, r, r.look, control.Queues.Silences, none)
}

// AddSilence stores a silence.
func (r *reach) AddSilence(ctx context.Context, s silence.Silence) (silence.Silence, error) {
	return reached(ctx, r, r.open, control.Queues.AddSilence, s)
}

// ExpireSilences ends silences now.
func (r *reach) ExpireSilences(ctx context.Context, ids control.IDs) ([]*silence.Silence, error) {
	return reached(ctx, r, r.open, control.Queues.ExpireSilences, ids)
}

// reached asks the agent, and does it on the file when there is none, which open opens.
func reached[In, Out any](ctx context.Context, r *reach, open func() (*spool.Spool, error), do func(control.Queues, context.Context, In) (Out, error), in In) (out Out, err error) {
	for begin := time.Now(); ; {
		out, err = do(r.client, ctx, in)
		if !errors.Is(err, control.ErrNotRunning) {
			return out, err
		}
		if r.mistakes != nil {
			return out, r.mistakes
		}
		var s *spool.Spool
		if s, err = open(); err == nil {
			out, err = do(&control.SpoolQueues{Spool: s}, ctx, in)
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

// exists fails where there is no file: a command makes none.
func (r *reach) exists() error {
	if _, err := os.Stat(r.path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no spool at %s, and no agent running on it", r.path)
	}
	return nil
}

// look opens the file and changes nothing of it.
func (r *reach) look() (*spool.Spool, error) {
	if err := r.exists(); err != nil {
		return nil, err
	}
	return spool.Look(spool.Options{Path: r.path, MaxBytes: r.maxBytes})
}

// open opens the file for a repair.
func (r *reach) open() (*spool.Spool, error) {
	if err := r.exists(); err != nil {
		return nil, err
	}
	// No age limit: a repair must not expire what waits.
	return spool.Open(spool.Options{Path: r.path, MaxBytes: r.maxBytes})
}
