package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// lookInterval is how often the configuration's file is looked at. One stat(2) costs no traffic and no disk access, and sees
// through the symlinks by which the kubelet swaps a ConfigMap. inotify would have to follow those itself, and misses
// changes on network file systems.
const lookInterval = 15 * time.Second

// maxMistakes bounds the text of a refusal that is kept for the status.
const maxMistakes = 2 << 10

// errNoReload is returned by Reload of an agent that cannot read its configuration again.
var errNoReload = errors.New("this agent cannot read its configuration again")

// worker is a delivery that can be stopped on its own.
type worker struct {
	delivery *delivery
	// settings and common are what the delivery was made of.
	settings config.Receiver
	common   common
	stop     context.CancelFunc
	done     chan struct{}
}

// common is what the configuration says for all receivers and is part of each.
type common struct {
	cluster, timezone, language, keyExchange string
	critical                                 []string
}

func commonOf(c *config.Config) common {
	return common{c.Cluster, c.Timezone, c.Language, c.Link.KeyExchange, c.Severity.Critical}
}

func (a *Agent) workerFor(c *config.Config, r *config.Receiver, receiver notify.Receiver, s *spool.Spool, policy incident.Policy) *worker {
	return &worker{
		delivery: a.deliveryTo(c, r, receiver, s, policy),
		settings: *r,
		common:   commonOf(c),
		done:     make(chan struct{}),
	}
}

// deliveries returns those that run. The caller holds mu.
func (a *Agent) deliveries() []*delivery {
	if a.parts == nil {
		return nil
	}
	var running []*delivery
	for _, w := range a.parts.workers {
		running = append(running, w.delivery)
	}
	return running
}

// wake tells the receiver's delivery that something arrived in its queue.
func (a *Agent) wake(receiver string) {
	a.signal(receiver, func(d *delivery) chan struct{} { return d.wake })
}

// tryAgain makes the receiver's delivery try at once, also where it is failing, and also what is set aside.
func (a *Agent) tryAgain(receiver string) {
	a.mu.Lock()
	for _, d := range a.deliveries() {
		if d.name == receiver {
			d.asked.Store(true)
		}
	}
	a.mu.Unlock()
	a.wake(receiver)
	a.signal(receiver, func(d *delivery) chan struct{} { return d.again })
}

func (a *Agent) signal(receiver string, channel func(*delivery) chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.deliveries() {
		if d.name != receiver {
			continue
		}
		select {
		case channel(d) <- struct{}{}:
		default:
		}
	}
}

// reload is a configuration to put to use.
type reload struct {
	config *config.Config
	done   chan error
}

// Reload reads the configuration again and puts it to use between two transactions, so that no event is lost or told twice
// by it. One that has mistakes is refused: its error lists them, and the one before stays. It waits until the agent runs.
//
// Receivers that did not change go on undisturbed. The queue of a receiver that is gone stays on disk. The sections kubernetes,
// spool and server, and what the link says, are put to use at the next start.
func (a *Agent) Reload(ctx context.Context) error {
	if a.options.Reread == nil {
		return errNoReload
	}
	c, err := a.options.Reread()
	if err == nil {
		request := reload{config: c, done: make(chan error, 1)}
		select {
		case a.reloads <- request:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case err = <-request.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err != nil {
		a.mu.Lock()
		a.reading.Refused = time.Now()
		a.reading.Mistakes = strings.ToValidUTF8(err.Error()[:min(len(err.Error()), maxMistakes)], "")
		a.mu.Unlock()
		a.logger.Error("the changed configuration is refused, the one before stays", "config", a.options.ConfigPath, "err", err)
		return fmt.Errorf("reload configuration: %w", err)
	}
	return nil
}

func (a *Agent) takeReloads(ctx context.Context, p *parts) error {
	for {
		select {
		case request := <-a.reloads:
			request.done <- a.apply(request.config, p)
		case <-ctx.Done():
			return nil
		}
	}
}

// apply puts c to use, or returns an error and changes nothing.
func (a *Agent) apply(c *config.Config, p *parts) error {
	events, err := filter.New(c.Filter)
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	var (
		routes  []route
		workers []*worker
		fresh   []*worker
	)
	for i := range c.Receivers {
		r := &c.Receivers[i]
		way, err := routeTo(r)
		if err != nil {
			closeReceivers(fresh)
			return err
		}
		routes = append(routes, way)
		if w := unchanged(p.workers, c, r); w != nil {
			workers = append(workers, w)
			continue
		}
		receiver, err := a.receiverOf(c, r)
		if err != nil {
			closeReceivers(fresh)
			return err
		}
		w := a.workerFor(c, r, receiver, p.spool, way.policy)
		fresh, workers = append(fresh, w), append(workers, w)
	}

	p.intake.reroute(events, routes, c.Report.At != "")
	// Two deliveries on one queue would tell everything twice: the old one ends before the new one begins. An attempt
	// under way may take stopGrace.
	var gone []*worker
	for _, w := range p.workers {
		if !slices.Contains(workers, w) {
			w.stop()
			gone = append(gone, w)
		}
	}
	for _, w := range gone {
		<-w.done
	}
	a.mu.Lock()
	a.current = c
	if a.reloaded != nil {
		close(a.reloaded)
	}
	a.reloaded = make(chan struct{})
	p.workers = workers
	a.reading.Loaded, a.reading.Refused, a.reading.Mistakes = time.Now(), time.Time{}, ""
	a.needsRestart = needRestart(a.config, c)
	a.mu.Unlock()
	a.budget.SetLocation(c.Location())
	for _, w := range fresh {
		p.start(w)
	}
	// A secret in a file may be what changed, which is why a receiver that refuses everything is tried again at once.
	for _, w := range workers {
		a.tryAgain(w.settings.Name)
	}
	a.tellReload(p.spool, c, gone, fresh)
	return nil
}

func unchanged(workers []*worker, c *config.Config, r *config.Receiver) *worker {
	for _, w := range workers {
		if w.settings.Name == r.Name && reflect.DeepEqual(w.settings, *r) && reflect.DeepEqual(w.common, commonOf(c)) {
			return w
		}
	}
	return nil
}

func closeReceivers(workers []*worker) {
	for _, w := range workers {
		w.delivery.receiver.Close()
	}
}

// needRestart lists what differs between the configuration of the start and c and is not changed while the agent runs.
func needRestart(started, c *config.Config) []string {
	var sentences []string
	for _, section := range []struct {
		name     string
		old, new any
	}{
		{"kubernetes", started.Kubernetes, c.Kubernetes},
		{"spool", started.Spool, c.Spool},
		{"server", started.Server, c.Server},
		{"link.interfaces", started.Link.Interfaces, c.Link.Interfaces},
		{"link.dailyBudget", started.Link.DailyBudget, c.Link.DailyBudget},
		{"link.monthlyBudget", started.Link.MonthlyBudget, c.Link.MonthlyBudget},
	} {
		if !reflect.DeepEqual(section.old, section.new) {
			sentences = append(sentences, section.name+" changed in the configuration: restart the agent to put it to use")
		}
	}
	return sentences
}

// tellReload logs what a reload changed, and which queues nobody empties any more.
func (a *Agent) tellReload(s *spool.Spool, c *config.Config, gone, fresh []*worker) {
	names := func(workers []*worker) []string {
		all := []string{}
		for _, w := range workers {
			all = append(all, w.settings.Name)
		}
		return all
	}
	a.logger.Info("configuration reloaded", "config", a.options.ConfigPath, "stopped", names(gone), "started", names(fresh))
	for _, sentence := range needRestart(a.config, c) {
		a.logger.Warn(sentence)
	}
	for _, w := range gone {
		name := w.settings.Name
		if slices.ContainsFunc(c.Receivers, func(r config.Receiver) bool { return r.Name == name }) {
			continue
		}
		records := 0
		err := s.View(func(tx *spool.Tx) error {
			records = tx.Queue(name).Len()
			return nil
		})
		if err == nil && records > 0 {
			a.logger.Warn("receiver removed, its queue is kept: configure it again, or drop the queue with edge-eventer spool drop",
				"receiver", name, "records", records)
		}
	}
}

// watchConfig reloads the configuration when its file changes and then stays the same for lookInterval: a file that is being
// written would be read half, and its last receivers be missed.
func (a *Agent) watchConfig(ctx context.Context) error {
	if a.options.ConfigPath == "" || a.options.Reread == nil {
		return nil
	}
	loaded := lookAt(a.options.ConfigPath)
	before := loaded
	for wait(ctx, lookInterval) == nil {
		now := lookAt(a.options.ConfigPath)
		settled := now == before
		before = now
		if !settled || now == loaded || now == (fileState{}) {
			continue
		}
		loaded = now
		// The error is logged by Reload. A bad file is not read again until it changes.
		_ = a.Reload(ctx)
	}
	return nil
}

// fileState tells one content of a file from another. The zero value is that of a file that cannot be seen.
type fileState struct {
	modified int64
	size     int64
	inode    uint64
}

func lookAt(path string) fileState {
	info, err := os.Stat(path)
	if err != nil {
		return fileState{}
	}
	return fileState{modified: info.ModTime().UnixNano(), size: info.Size(), inode: inode(info)}
}
