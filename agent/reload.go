package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/retry"
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
		err = a.inUse.request(ctx, c)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.inUse.refuse(err)
		a.logger.Error("the changed configuration is refused, the one before stays", "config", a.options.ConfigPath, "err", err)
		return fmt.Errorf("reload configuration: %w", err)
	}
	return nil
}

// takeReloads puts configurations to use, one after the other, until ctx ends.
func (a *Agent) takeReloads(ctx context.Context, st *stages) error {
	for {
		select {
		case request := <-a.inUse.reloads:
			request.done <- a.apply(request.config, st)
		case <-ctx.Done():
			return nil
		}
	}
}

// apply puts c to use, or returns an error and changes nothing.
func (a *Agent) apply(c *config.Config, st *stages) error {
	rules, err := rulesOf(c)
	if err != nil {
		return err
	}
	before := a.inUse.running()
	workers, fresh, err := a.workersFor(c, before, st.spool)
	if err != nil {
		for _, w := range fresh {
			w.delivery.Close()
		}
		return err
	}
	st.intake.Reroute(rules)
	// Two deliveries on one queue would tell everything twice: the old one ends before the new one begins. An attempt
	// under way may take deliver.StopGrace.
	gone := slices.DeleteFunc(slices.Clone(before), func(w *worker) bool { return slices.Contains(workers, w) })
	stopWorkers(gone)
	a.inUse.replace(c, workers, needRestart(a.config, c))
	a.budget.SetLocation(c.Location())
	for _, w := range fresh {
		w.start()
	}
	// A secret in a file may be what changed, which is why a receiver that refuses everything is tried again at once.
	for _, w := range workers {
		w.delivery.TryAgain()
	}
	a.tellReload(st.spool, c, gone, fresh)
	return nil
}

// workersFor returns a delivery for each receiver of c: that of before where nothing of it changed, else a fresh one.
func (a *Agent) workersFor(c *config.Config, before []*worker, s *spool.Spool) (workers, fresh []*worker, err error) {
	for i := range c.Receivers {
		r := &c.Receivers[i]
		if w := unchanged(before, c, r); w != nil {
			workers = append(workers, w)
			continue
		}
		receiver, err := a.receiverOf(c, r)
		if err != nil {
			return nil, fresh, err
		}
		w := a.workerFor(c, r, receiver, s)
		fresh, workers = append(fresh, w), append(workers, w)
	}
	return workers, fresh, nil
}

func unchanged(workers []*worker, c *config.Config, r *config.Receiver) *worker {
	for _, w := range workers {
		if w.settings.Name == r.Name && reflect.DeepEqual(w.settings, *r) && reflect.DeepEqual(w.common, commonOf(c)) {
			return w
		}
	}
	return nil
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
	for _, name := range names(gone) {
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
	for retry.Wait(ctx, lookInterval) == nil {
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
