package agent

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
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
}

func commonOf(c *config.Config) common {
	return common{c.Cluster, c.Timezone, c.Language, c.Link.KeyExchange, c.Severity.Critical}
}

// startDeliveries starts those of the configuration of the start.
func (a *Agent) startDeliveries(st *stages) {
	var workers []*worker
	for i := range a.config.Receivers {
		workers = append(workers, a.workerFor(a.config, &a.config.Receivers[i], a.receivers[i], st.spool))
	}
	a.inUse.mu.Lock()
	a.inUse.workers = workers
	a.inUse.mu.Unlock()
	for _, w := range workers {
		w.start()
	}
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

func (a *Agent) receiverOf(c *config.Config, r *config.Receiver) (notify.Receiver, error) {
	common := r.Common(c)
	common.Version = a.options.Version
	common.Logger = a.logger.With("receiver", r.Name)
	common.DialContext, common.Doubt = a.dialer.For(r.Name, nil), a.dialer.Doubt
	receiver, err := a.hooks.newReceiver(c, r, common)
	if err != nil {
		return nil, fmt.Errorf("receiver %s: %w", r.Name, err)
	}
	return receiver, nil
}

func (a *Agent) workerFor(c *config.Config, r *config.Receiver, receiver notify.Receiver, s *spool.Spool) *worker {
	return &worker{delivery: deliver.New(a.deliveryOptions(c, r, receiver, s)), settings: *r, common: commonOf(c)}
}

func (a *Agent) deliveryOptions(c *config.Config, r *config.Receiver, receiver notify.Receiver, s *spool.Spool) deliver.Options {
	o := deliver.Options{
		Name: r.Name, Type: r.Type,
		Receiver: receiver, Spool: s, Policy: policyOf(r),
		Limits:  limitsOf(r, receiver.Limits()),
		Cluster: c.Cluster, Language: c.Language,
		Severity: c.SeverityOf,
		Timeout:  r.Timeout, MaxBackoff: r.MaxBackoff,
		Backlog:      inbox.Backlog{After: r.DigestAfter, Age: r.DigestAge},
		SendResolved: r.SendResolved,
		Noted:        a.recent.Add,
		Logger:       a.logger.With("receiver", r.Name, "type", r.Type),
	}
	if last := a.recent.LastOK(r.Name); !last.After(time.Now()) {
		o.LastDelivered = last
	}
	if r.Type != "stdout" {
		// A terminal needs no link and costs nothing.
		o.Budget, o.Dialer = a.budget, a.dialer
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.seen.link != nil {
			o.Link = a.seen.link
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
	return deliver.Limits(perSecond, perMinute)
}
