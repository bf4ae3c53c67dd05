package agent

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify"
)

// inUse is what a reload swaps: the configuration and the deliveries of its receivers. Stages ask it, and never see the agent.
type inUse struct {
	// reloads has room for nothing: a reload waits until it is put to use.
	reloads chan reload

	// mu guards the fields below.
	mu     sync.Mutex
	config *config.Config
	// replaced is closed and made anew when config is replaced.
	replaced chan struct{}
	// workers are in the order of the configuration; none before the spool is open.
	workers []*worker
	// reading says how the last reading of the configuration ended.
	reading status.Configuration
}

func (u *inUse) begin(c *config.Config, path string, at time.Time) {
	u.reloads, u.replaced = make(chan reload), make(chan struct{})
	u.config = c
	u.reading = status.Configuration{Path: path, Loaded: at}
}

// request waits until c is put to use.
func (u *inUse) request(ctx context.Context, c *config.Config) error {
	r := reload{config: c, done: make(chan error, 1)}
	select {
	case u.reloads <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// replace puts another configuration and its deliveries to use.
func (u *inUse) replace(c *config.Config, workers []*worker, needsRestart []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.config, u.workers, u.reading.NeedsRestart = c, workers, needsRestart
	close(u.replaced)
	u.replaced = make(chan struct{})
	u.reading.Loaded, u.reading.Refused, u.reading.Mistakes = time.Now(), time.Time{}, ""
}

// refuse notes that a configuration was refused, with its mistakes.
func (u *inUse) refuse(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reading.Refused = time.Now()
	u.reading.Mistakes = strings.ToValidUTF8(err.Error()[:min(len(err.Error()), maxMistakes)], "")
}

// settings returns the configuration, and a channel that is closed when another one is in use.
func (u *inUse) settings() (*config.Config, <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.config, u.replaced
}

// read returns the configuration, and how its last reading ended.
func (u *inUse) read() (*config.Config, status.Configuration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.config, u.reading
}

// severityOf judges by the configuration in use.
func (u *inUse) severityOf(reason string) notify.Severity {
	c, _ := u.settings()
	return c.SeverityOf(reason)
}

func (u *inUse) running() []*worker {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.workers
}

// deliveries returns those that run.
func (u *inUse) deliveries() []*deliver.Delivery {
	var running []*deliver.Delivery
	for _, w := range u.running() {
		running = append(running, w.delivery)
	}
	return running
}

// delivery returns that of a receiver, nil where there is none.
func (u *inUse) delivery(receiver string) *deliver.Delivery {
	for _, d := range u.deliveries() {
		if d.Name() == receiver {
			return d
		}
	}
	return nil
}

// wake tells the receiver's delivery that something arrived in its queue.
func (u *inUse) wake(receiver string) {
	if d := u.delivery(receiver); d != nil {
		d.Wake()
	}
}

// tryAgain makes the receiver's delivery try at once, also where it is failing, and also what is set aside.
func (u *inUse) tryAgain(receiver string) {
	if d := u.delivery(receiver); d != nil {
		d.TryAgain()
	}
}

// lastDelivered returns when each receiver last confirmed a message.
func (u *inUse) lastDelivered() map[string]time.Time {
	last := make(map[string]time.Time)
	for _, d := range u.deliveries() {
		last[d.Name()] = d.Status().LastDelivered
	}
	return last
}

// secretMissing tells whether a receiver refuses everything because a file with its address or its secret is not there.
func (u *inUse) secretMissing() bool {
	for _, d := range u.deliveries() {
		if s := d.Status(); !s.RefusedSince.IsZero() && s.FileMissing {
			return true
		}
	}
	return false
}

// stopAll stops all deliveries at once and waits for them.
func (u *inUse) stopAll() { stopWorkers(u.running()) }
