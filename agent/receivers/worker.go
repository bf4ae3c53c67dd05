package receivers

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/deliver/gate"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
)

// worker is a delivery that can be stopped on its own.
type worker struct {
	delivery *deliver.Delivery
	// settings and common are what the delivery was made of.
	settings config.Receiver
	common   common
	// stop and done are set by start.
	stop context.CancelFunc
	done chan struct{}
}

// common is what the configuration says for all receivers and is part of each.
type common struct {
	cluster, timezone, language, keyExchange string
	critical                                 []string
	intervals                                []config.TimeInterval
}

func commonOf(c *config.Config) common {
	return common{c.Cluster, c.Timezone, c.Language, c.Link.KeyExchange, c.Severity.Critical, c.TimeIntervals}
}

// start runs the delivery until stop is called.
func (w *worker) start() {
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.done = stop, make(chan struct{})
	go func() {
		defer close(w.done)
		defer w.delivery.Close()
		// It returns only when ctx ends, which is no failure.
		_ = w.delivery.Run(ctx)
	}()
}

// stopWorkers stops deliveries at once and waits for them.
func stopWorkers(workers []*worker) {
	for _, w := range workers {
		w.stop()
	}
	for _, w := range workers {
		<-w.done
	}
}

func (s *Set) receiverOf(c *config.Config, r *config.Receiver) (notify.Receiver, error) {
	common := r.Common(c)
	common.Version = s.options.Version
	common.Logger = s.options.Logger.With("receiver", r.Name)
	common.DialContext, common.Doubt = s.options.Dialer.For(r.Name, nil), s.options.Dialer.Doubt
	receiver, err := s.options.Make(r, common)
	if err != nil {
		return nil, fmt.Errorf("receiver %s: %w", r.Name, err)
	}
	return receiver, nil
}

func (s *Set) workerFor(c *config.Config, r *config.Receiver, receiver notify.Receiver) *worker {
	return &worker{delivery: deliver.New(s.deliveryOptions(c, r, receiver)), settings: *r, common: commonOf(c)}
}

func (s *Set) deliveryOptions(c *config.Config, r *config.Receiver, receiver notify.Receiver) deliver.Options {
	o := deliver.Options{
		Name: r.Name, Type: r.Type,
		Receiver: receiver, Spool: s.spool, Policy: policyOf(r),
		Limits:  limitsOf(r, receiver.Limits()),
		Cluster: c.Cluster, Language: c.Language,
		Severity: c.SeverityOf,
		Timeout:  r.Timeout, MaxBackoff: r.MaxBackoff,
		Backlog:      inbox.Backlog{After: r.DigestAfter, Age: r.DigestAge},
		SendResolved: r.SendResolved,
		Muter:        s.muterOf(c, r),
		Noted:        s.options.Recent.Add,
		Logger:       s.options.Logger.With("receiver", r.Name, "type", r.Type),
	}
	if last := s.options.Recent.LastOK(r.Name); !last.After(time.Now()) {
		o.LastDelivered = last
	}
	if r.Type != "stdout" {
		// A terminal needs no link and costs nothing.
		o.Budget, o.Dialer = s.options.Budget, s.options.Dialer
		o.Link = s.link
		if receiver.Limits().Digest {
			o.StormLimit = r.StormLimit
		}
	}
	return o
}

func policyOf(r *config.Receiver) incident.Policy {
	return incident.Policy{
		PerEvent:       r.Fold == "event",
		GroupWait:      r.GroupWait,
		GroupInterval:  r.GroupInterval,
		RepeatInterval: r.RepeatInterval,
		ResolveAfter:   r.ResolveAfter,
	}
}

// limitsOf returns limiters for the configured rates, and for the platform's where none is configured.
func limitsOf(r *config.Receiver, documented notify.Limits) []*rate.Limiter {
	perSecond, perMinute := r.Rate.PerSecond, r.Rate.PerMinute
	if perSecond == 0 && perMinute == 0 {
		perSecond, perMinute = documented.PerSecond, documented.PerMinute
	}
	return gate.Limits(perSecond, perMinute)
}
