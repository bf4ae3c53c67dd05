package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
)

// follow shows changes to the sink from position on, which it moves. It returns nil when the API server ended the watch
// as it should.
func (l *loop) follow(ctx context.Context) error {
	timeout := l.timing.watchMin + rand.N(l.timing.watchMax-l.timing.watchMin+1)
	a, err := l.client.Get(ctx, l.namespace, url.Values{
		"watch":               {"1"},
		"fieldSelector":       {onlyWarnings},
		"resourceVersion":     {l.position},
		"timeoutSeconds":      {strconv.Itoa(int(timeout.Seconds()))},
		"allowWatchBookmarks": {"true"},
	})
	if err != nil {
		return err
	}
	defer a.Close()
	a.EndAfter(timeout + l.timing.stall)
	opened := time.Now()
	l.health.Set(health.Watching)
	l.health.Note(func(s *health.Status) {
		s.Watches++
		s.LastAnswer = opened
	})
	// A watch works when it is open for a while, or shows something.
	works := time.AfterFunc(l.timing.short, func() {
		l.health.Healthy()
		l.health.Opened()
	})
	defer works.Stop()

	before := l.position
	err = l.frames(ctx, stream.NewScanner(a))
	lasted := time.Since(opened)
	if err == nil {
		l.health.Closed(0)
	} else {
		l.health.Closed(l.timing.stall)
	}
	if errors.Is(err, health.ErrHeldBack) {
		err = nil
	}
	if lasted >= l.timing.short || l.position != before {
		l.health.Healthy()
		l.backoff.Reset()
	} else if err == nil {
		return health.ErrClosedAtOnce
	}
	return err
}

// frames takes the notifications of a watch to its end.
func (l *loop) frames(ctx context.Context, s *stream.Scanner) error {
	for {
		frame, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("watch broke off: %w", err)
		case err != nil:
			return err
		}
		l.health.Note(func(s *health.Status) { s.LastAnswer = time.Now() })
		if err := l.frame(ctx, frame); err != nil {
			return err
		}
	}
}

// frame takes one notification.
func (l *loop) frame(ctx context.Context, data stream.Raw) error {
	f, err := data.Frame()
	if err != nil {
		return err
	}
	switch f.Type {
	case stream.Bookmark:
		// It shows no event, so the sink, which would have to write for it, is not told.
		l.moveTo(f.Event.ResourceVersion)
		l.health.Opened()
		return nil
	case stream.Error:
		return apiclient.StatusError(f.Status)
	}
	if f.Unreadable != nil {
		l.skip(f.Unreadable)
	}
	return l.change(ctx, Change{Deleted: f.Type == stream.Deleted, Unreadable: f.Unreadable != nil, Event: f.Event})
}

// skip counts and logs an event that cannot be read: it does not hold up the others, and the sink counts it as lost.
func (l *loop) skip(err error) {
	l.health.Note(func(s *health.Status) { s.Skipped++ })
	l.logger.Error("event cannot be read and is left out", "namespace", l.namespace, "err", err)
}

// change shows a change to the sink.
func (l *loop) change(ctx context.Context, c Change) error {
	c.Namespace, c.At = l.namespace, time.Now()
	l.health.Holds(c.At)
	if err := l.sink.Watched(ctx, c); err != nil {
		return &health.SinkError{Err: err}
	}
	l.moveTo(c.Event.ResourceVersion)
	l.health.Note(func(s *health.Status) { s.LastEvent = time.Now() })
	if time.Since(c.At) > l.timing.stall {
		return health.ErrHeldBack
	}
	l.health.Holds(time.Time{})
	return nil
}

// moveTo moves the position forward.
func (l *loop) moveTo(resourceVersion string) {
	if !event.WentBack(resourceVersion, l.position) {
		l.position = resourceVersion
	}
}
