package receivers

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/spool"
)

// maxMistakes bounds the text of a refusal that is kept for the status.
const maxMistakes = 2 << 10

// reload is a configuration to put to use.
type reload struct {
	config *config.Config
	done   chan error
}

// Reload puts c to use between two transactions, so that no event is lost or told twice by it. It waits until Reloads runs.
//
// Receivers that did not change go on undisturbed. The queue of a receiver that is gone stays on disk. The sections kubernetes,
// spool and server, and what the link says, are put to use at the next start.
func (s *Set) Reload(ctx context.Context, c *config.Config) error {
	r := reload{config: c, done: make(chan error, 1)}
	select {
	case s.reloads <- r:
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

// Refuse notes that a configuration was refused, with its mistakes.
func (s *Set) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading.Refused = time.Now()
	s.reading.Mistakes = strings.ToValidUTF8(err.Error()[:min(len(err.Error()), maxMistakes)], "")
}

// Reloads puts configurations to use, one after the other, until ctx ends. It calls reroute with what the intake does with events from
// now on, before a delivery is stopped.
func (s *Set) Reloads(ctx context.Context, reroute func(intake.Rules)) error {
	for {
		select {
		case request := <-s.reloads:
			request.done <- s.apply(request.config, reroute)
		case <-ctx.Done():
			return nil
		}
	}
}

// apply puts c to use, or returns an error and changes nothing.
func (s *Set) apply(c *config.Config, reroute func(intake.Rules)) error {
	rules, err := Rules(c)
	if err != nil {
		return err
	}
	before := s.running()
	workers, fresh, err := s.workersFor(c, before)
	if err != nil {
		for _, w := range fresh {
			w.delivery.Close()
		}
		return err
	}
	reroute(rules)
	// Two deliveries on one queue would tell everything twice: the old one ends before the new one begins. An attempt
	// under way may take deliver.StopGrace.
	gone := slices.DeleteFunc(slices.Clone(before), func(w *worker) bool { return slices.Contains(workers, w) })
	stopWorkers(gone)
	if old, _ := s.Settings(); !sameInhibition(old, c) {
		s.recallSources(c)
	}
	s.replace(c, workers, needRestart(s.started, c))
	s.options.Budget.SetLocation(c.Location())
	for _, w := range fresh {
		w.start()
	}
	// A secret in a file may be what changed, which is why a receiver that refuses everything is tried again at once.
	for _, w := range workers {
		w.delivery.TryAgain()
	}
	s.tellReload(c, gone, fresh)
	return nil
}

// workersFor returns a delivery for each receiver of c: that of before where nothing of it changed, else a fresh one.
func (s *Set) workersFor(c *config.Config, before []*worker) (workers, fresh []*worker, err error) {
	for i := range c.Receivers {
		r := &c.Receivers[i]
		if w := unchanged(before, c, r); w != nil {
			workers = append(workers, w)
			continue
		}
		receiver, err := s.receiverOf(c, r)
		if err != nil {
			return nil, fresh, err
		}
		w := s.workerFor(c, r, receiver)
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
func (s *Set) tellReload(c *config.Config, gone, fresh []*worker) {
	names := func(workers []*worker) []string {
		all := []string{}
		for _, w := range workers {
			all = append(all, w.settings.Name)
		}
		return all
	}
	s.options.Logger.Info("configuration reloaded", "config", s.reading.Path, "stopped", names(gone), "started", names(fresh))
	for _, sentence := range needRestart(s.started, c) {
		s.options.Logger.Warn(sentence)
	}
	for _, name := range names(gone) {
		if slices.ContainsFunc(c.Receivers, func(r config.Receiver) bool { return r.Name == name }) {
			continue
		}
		records := 0
		err := s.spool.View(func(tx *spool.Tx) error {
			records = tx.Queue(name).Len()
			return nil
		})
		if err == nil && records > 0 {
			s.options.Logger.Warn("receiver removed, its queue is kept: configure it again, or drop the queue with edge-eventer spool drop",
				"receiver", name, "records", records)
		}
	}
}
