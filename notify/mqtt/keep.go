package mqtt

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// pongTimeout is how long the broker may take to answer a ping.
	pongTimeout = 30 * time.Second
	// firstPause and lastPause bound the pauses between two attempts to connect.
	firstPause = 2 * time.Second
	lastPause  = 5 * time.Minute
)

var errNoPong = errors.New("the broker does not answer")

// Keep holds the connection until ctx ends, if it is to be kept, and otherwise waits for that. mayDial returns when there is a way
// out, and fails when ctx ends.
func (r *receiver) Keep(ctx context.Context, mayDial func(context.Context) error) {
	if r.take(ctx) != nil {
		return
	}
	r.resident = true
	<-r.turn
	defer func() {
		r.turn <- struct{}{}
		r.ending = true
		<-r.turn
	}()
	if r.config.Connection != kept {
		<-ctx.Done()
		return
	}
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstPause), backoff.WithMaxInterval(lastPause), backoff.WithMaxElapsedTime(0))
	failing := false
	for mayDial(ctx) == nil {
		s, err := r.hold(ctx)
		if err == nil {
			r.common.Logger.Info("connected to the broker", "keepAlive", s.keepAlive)
			failing = false
			pause.Reset()
			err = r.watchOver(ctx, s)
		}
		if ctx.Err() != nil {
			return
		}
		if !failing {
			r.common.Logger.Warn("no connection to the broker", "err", failure(ctx, err, r.redact))
			failing = true
		}
		timer := time.NewTimer(pause.NextBackOff())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// hold returns the session, a new one where there is none.
func (r *receiver) hold(ctx context.Context) (*session, error) {
	if err := r.take(ctx); err != nil {
		return nil, err
	}
	defer func() { <-r.turn }()
	return r.connected(ctx)
}

// watchOver returns when the connection has ended, and why. After each silence it asks the broker whether it is there.
func (r *receiver) watchOver(ctx context.Context, s *session) error {
	var tick <-chan time.Time
	if s.keepAlive > 0 {
		// Before the time is up by the broker's clock, which counts from when the last packet arrived.
		ticker := time.NewTicker(s.keepAlive * 9 / 10)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return s.err
		case <-tick:
			if err := r.ping(ctx, s); err != nil {
				s.close()
				return err
			}
		}
	}
}

func (r *receiver) ping(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeoutCause(ctx, pongTimeout, errNoPong)
	defer cancel()
	select {
	case r.turn <- struct{}{}:
	default:
		// An attempt is under way, and hears the broker itself.
		return nil
	}
	err := s.ping(ctx)
	<-r.turn
	if err != nil {
		return err
	}
	select {
	case <-s.pong:
		return nil
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
