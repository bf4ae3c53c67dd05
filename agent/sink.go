package agent

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"

	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Sink is the intake without an agent around it: it takes what a watch shows into the queues of receivers that nobody drains, however
// old it is. The tests of the watch take events with it.
type Sink struct{ intake *intake }

var _ watch.Sink = (*Sink)(nil)

// NewSink returns a sink for receivers with the given names and policies. The spool stays the caller's.
func NewSink(s *spool.Spool, receivers map[string]incident.Policy) (*Sink, error) {
	everything, err := filter.New(nil)
	if err != nil {
		return nil, err
	}
	match, err := filter.NewMatcher(nil)
	if err != nil {
		return nil, err
	}
	in := newIntake(s, slog.New(slog.DiscardHandler))
	in.lookback = math.MaxInt64
	var routes []route
	for _, name := range slices.Sorted(maps.Keys(receivers)) {
		routes = append(routes, route{name, match, receivers[name]})
	}
	in.reroute(everything, routes, false)
	return &Sink{in}, nil
}

// Run commits until ctx ends; then it commits what it holds and returns.
func (s *Sink) Run(ctx context.Context) error { return s.intake.run(ctx) }

// Flush returns when everything that was shown before is on disk.
func (s *Sink) Flush(ctx context.Context) error {
	return s.intake.note(ctx, func(*spool.Tx) error { return nil })
}

// Position implements watch.Sink.
func (s *Sink) Position(namespace string) (string, error) { return s.intake.Position(namespace) }

// List implements watch.Sink.
func (s *Sink) List(ctx context.Context, page watch.Page) error { return s.intake.List(ctx, page) }

// Watched implements watch.Sink.
func (s *Sink) Watched(ctx context.Context, c watch.Change) error { return s.intake.Watched(ctx, c) }
