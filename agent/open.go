package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/disk"
	"github.com/edge-eventer/edge-eventer/agent/retry"
	"github.com/edge-eventer/edge-eventer/spool"
)

// lockWait is how long a start waits for a spool that is open elsewhere: a spool command that found no agent running holds the
// file for a moment, and another agent for good.
const lockWait = 5 * time.Second

// openSpool opens the spool, and waits where its disk is full or read-only: the agent of a broken disk is of more use
// saying so than restarting. It returns nil, nil when ctx ends before.
func (a *Agent) openSpool(ctx context.Context) (*spool.Spool, error) {
	var s *spool.Spool
	loop := retry.Loop{
		Failed: func(err error) {
			a.mu.Lock()
			a.seen.notOpen = disk.Advice(err)
			a.mu.Unlock()
			a.logger.Error(disk.Advice(err), "path", a.config.Spool.Path, "err", err)
		},
		Recovered: func(s retry.Streak) { a.logger.Info("spool opened", "failures", s.Failures, "after", s.Duration) },
	}
	final := func(err error) bool {
		return !errors.Is(err, spool.ErrNoSpace) && !errors.Is(err, spool.ErrReadOnly) && !errors.Is(err, spool.ErrPermission)
	}
	err := loop.Do(ctx, func() (err error) {
		s, err = a.openUnlocked(ctx)
		return err
	}, final)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return nil, nil
	}
	return nil, fmt.Errorf("open spool: %w", err)
}

// openUnlocked opens the spool once nobody else has it open, or says after lockWait that somebody has.
func (a *Agent) openUnlocked(ctx context.Context) (*spool.Spool, error) {
	for begin := time.Now(); ; {
		s, err := spool.Open(spool.Options{
			Path:     a.config.Spool.Path,
			MaxBytes: a.config.Spool.MaxBytes,
			MaxAge:   leastAge(a.config),
			Synced:   a.syncs.Add,
			Touched:  a.options.Trim,
		})
		if !errors.Is(err, spool.ErrLocked) || time.Since(begin) >= lockWait || retry.Wait(ctx, lockWait/50) != nil {
			return s, err
		}
	}
}

// leastAge returns after which age the spool may give up what waits: maxAge, but not while a repeat is held back on purpose, nor in the
// hour after it.
func leastAge(c *config.Config) time.Duration {
	age := c.Spool.MaxAge
	for i := range c.Receivers {
		age = max(age, c.Receivers[i].RepeatInterval+time.Hour)
	}
	return age
}
