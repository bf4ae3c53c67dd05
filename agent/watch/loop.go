package watch

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
)

// timing holds the times that tests shorten.
type timing struct {
	// stall is how long nothing may arrive of a page, or of the header of a watch, and after which a sink holds a watch back.
	stall time.Duration
	// page is how long one page may take with all its bytes.
	page time.Duration
	// short is the life of a watch below which it counts as closed at once. client-go's reflector takes 1 s.
	short time.Duration
	// watchMin and watchMax bound the time that the API server is asked to keep a watch open. Longer is better here: while
	// nothing happens the position gets old, K3s forgets it within 5 to 10 minutes, and then the end of each watch costs
	// a list. The bound is for what pings do not notice, such as a proxy that forgot its other side.
	watchMin, watchMax time.Duration
	// backoffMin and backoffMax bound the pause after a failure.
	backoffMin, backoffMax time.Duration
	// pingAfter and pingTimeout are those of apiclient.Options.
	pingAfter, pingTimeout time.Duration
}

func (t timing) withDefaults() timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.stall, time.Minute)
	def(&t.page, 5*time.Minute)
	def(&t.short, 2*time.Second)
	def(&t.watchMin, 30*time.Minute)
	def(&t.watchMax, time.Hour)
	def(&t.backoffMin, 500*time.Millisecond)
	def(&t.backoffMax, 30*time.Second)
	return t
}

// loop lists and watches one namespace. All but health belongs to its goroutine.
type loop struct {
	namespace string
	client    *apiclient.Client
	sink      Sink
	logger    *slog.Logger
	timing    timing
	health    *health.Keeper
	backoff   *backoff.ExponentialBackOff

	// position is the resourceVersion up to which the sink has everything; "" before the first list.
	position string
	// mustList is set when a watch from position cannot show everything.
	mustList bool
	listing  listing
	stale    stale
}

// stale lets another goroutine say that the sink lost what it had taken.
type stale struct {
	mu sync.Mutex
	// said is set until a round begins with a list, interrupt ends the round under way. mu guards both.
	said      bool
	interrupt context.CancelFunc
}

// begin starts a round, which interrupt ends, and reports whether it has to begin with a list.
func (s *stale) begin(interrupt context.CancelFunc) (said bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	said, s.said, s.interrupt = s.said, false, interrupt
	return said
}

// say interrupts the round under way and makes the next one begin with a list.
func (s *stale) say() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = true
	if s.interrupt != nil {
		s.interrupt()
	}
}

func newLoop(namespace string, o Options, c *apiclient.Client, sink Sink, turns chan struct{}) *loop {
	return &loop{
		namespace: namespace,
		client:    c,
		sink:      sink,
		logger:    o.Logger,
		timing:    o.timing,
		health:    health.New(namespace, o.Logger),
		listing:   listing{pageSize: o.PageSize, turns: turns},
		// Full jitter: each pause is drawn evenly between 0 and a bound that doubles. It never gives up; the library's
		// default does after 15 minutes.
		backoff: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(o.timing.backoffMin/2),
			backoff.WithMaxInterval(o.timing.backoffMax/2),
			backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(1),
			backoff.WithMaxElapsedTime(0),
		),
	}
}

func (l *loop) run(ctx context.Context) {
	defer l.health.Set(health.Waiting)
	for {
		position, err := l.sink.Position(l.namespace)
		if err == nil {
			l.position, l.mustList = position, position == ""
			break
		}
		if !l.pause(ctx, health.StepPosition, &health.SinkError{Err: err}) {
			return
		}
	}
	for ctx.Err() == nil {
		l.round(ctx)
	}
}

// round catches up and watches until the watch ends, or until somebody says that the sink is stale.
func (l *loop) round(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mustList = l.stale.begin(cancel) || l.mustList
	l.health.Set(health.Listing)
	if err := l.catchUp(ctx); err != nil {
		l.pause(ctx, health.StepList, err)
		return
	}
	started := time.Now()
	err := l.follow(ctx)
	if apiclient.Gone(err) || errors.Is(err, health.ErrClosedAtOnce) {
		l.mustList = true
	}
	switch {
	case err != nil:
		l.pause(ctx, health.StepWatch, err)
	case time.Since(started) < l.timing.short:
		// It showed something, but a server that ends every watch that soon would make this a hot loop.
		l.wait(ctx, l.backoff.NextBackOff())
	}
}

// pause waits after a failure, and reports whether ctx goes on.
func (l *loop) pause(ctx context.Context, s health.Step, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	l.health.Failed(s, err)
	l.health.Set(health.Waiting)
	d := l.backoff.NextBackOff()
	refusal, isRefusal := errors.AsType[*apiclient.Error](err)
	if isRefusal {
		d = max(d, refusal.RetryAfter)
	}
	if !l.wait(ctx, d) {
		return false
	}
	if _, isSink := errors.AsType[*health.SinkError](err); !isSink && (!isRefusal || refusal.Code == 401) {
		if err := l.client.Refresh(); err != nil {
			l.logger.Debug("kubeconfig cannot be read again, going on with the old one", "namespace", l.namespace, "err", err)
		}
	}
	return true
}

func (l *loop) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
