// Package receivers has the deliveries of the configuration in use, and swaps them and it in a reload.
//
// It promises that a reload loses nothing and tells nothing twice: it takes place between two transactions of the intake, the old delivery
// of a queue ends before the new one begins, and a configuration that has mistakes changes nothing.
package receivers

import (
	"log/slog"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/deliver/gate"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/inhibit"
	"github.com/edge-eventer/edge-eventer/agent/recent"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Options are set once.
type Options struct {
	// Version is shown to receivers.
	Version string
	Budget  *budget.Budget
	Dialer  *dial.Dialer
	// Recent remembers what became of each attempt.
	Recent *recent.Deliveries
	// Silences hold incidents back from receivers that are for people.
	Silences *silence.Set
	Logger   *slog.Logger
	// Make makes a receiver. Default: as the configuration says. Tests that have no network give another one.
	Make func(*config.Receiver, notify.Common) (notify.Receiver, error)
}

// Set is what a reload swaps: the configuration and the deliveries of its receivers. Stages ask it, and never see the agent.
type Set struct {
	options Options
	// started is the configuration of the start; some of it is put to use only then.
	started *config.Config
	// receivers are those of started, made before anything is opened. Those that run belong to their deliveries.
	receivers []notify.Receiver
	// reloads has room for nothing: a reload waits until it is put to use.
	reloads chan reload
	// spool and link are set by Start, before any delivery is made.
	spool *spool.Spool
	link  gate.WayOut
	// sources are open incidents that hold others back from receivers that are for people.
	sources inhibit.Sources

	// mu guards the fields below.
	mu     sync.Mutex
	config *config.Config
	// replaced is closed and made anew when config is replaced.
	replaced chan struct{}
	// workers are in the order of the configuration; none before Start.
	workers []*worker
	// reading says how the last reading of the configuration ended.
	reading status.Configuration
}

// New makes the receivers of a configuration that was read from path, and opens nothing. The configuration has been checked by
// agent/config.
func New(c *config.Config, path string, o Options) (*Set, error) {
	if o.Make == nil {
		o.Make = func(r *config.Receiver, common notify.Common) (notify.Receiver, error) { return r.New(common) }
	}
	s := &Set{
		options: o, started: c, config: c, reloads: make(chan reload), replaced: make(chan struct{}),
		reading: status.Configuration{Path: path, Loaded: time.Now()},
	}
	for i := range c.Receivers {
		receiver, err := s.receiverOf(c, &c.Receivers[i])
		if err != nil {
			s.Close()
			return nil, err
		}
		s.receivers = append(s.receivers, receiver)
	}
	return s, nil
}

// Close closes the receivers of New.
func (s *Set) Close() {
	for _, r := range s.receivers {
		r.Close()
	}
}

// Start starts the deliveries of the spool's queues. A nil link is not looked at.
func (s *Set) Start(sp *spool.Spool, link gate.WayOut) {
	s.spool, s.link = sp, link
	s.recallSources(s.started)
	var workers []*worker
	for i := range s.started.Receivers {
		workers = append(workers, s.workerFor(s.started, &s.started.Receivers[i], s.receivers[i]))
	}
	s.mu.Lock()
	s.workers = workers
	s.mu.Unlock()
	for _, w := range workers {
		w.start()
	}
}

// Stop stops all deliveries at once and waits for them, deliver.StopGrace at most.
func (s *Set) Stop() { stopWorkers(s.running()) }

// replace puts another configuration and its deliveries to use.
func (s *Set) replace(c *config.Config, workers []*worker, needsRestart []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config, s.workers, s.reading.NeedsRestart = c, workers, needsRestart
	close(s.replaced)
	s.replaced = make(chan struct{})
	s.reading.Loaded, s.reading.Refused, s.reading.Mistakes = time.Now(), time.Time{}, ""
}

// Settings returns the configuration, and a channel that is closed when another one is in use.
func (s *Set) Settings() (*config.Config, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config, s.replaced
}

// Read returns the configuration, and how its last reading ended.
func (s *Set) Read() (*config.Config, status.Configuration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config, s.reading
}

// SeverityOf judges by the configuration in use.
func (s *Set) SeverityOf(reason string) notify.Severity {
	c, _ := s.Settings()
	return c.SeverityOf(reason)
}

func (s *Set) running() []*worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers
}

// Deliveries returns those that run.
func (s *Set) Deliveries() []*deliver.Delivery {
	var running []*deliver.Delivery
	for _, w := range s.running() {
		running = append(running, w.delivery)
	}
	return running
}

// delivery returns that of a receiver, nil where there is none.
func (s *Set) delivery(receiver string) *deliver.Delivery {
	for _, d := range s.Deliveries() {
		if d.Name() == receiver {
			return d
		}
	}
	return nil
}

// Wake tells the receiver's delivery that something arrived in its queue.
func (s *Set) Wake(receiver string) {
	if d := s.delivery(receiver); d != nil {
		d.Wake()
	}
}

// TryAgain makes the receiver's delivery try at once, also where it is failing, and also what is set aside.
func (s *Set) TryAgain(receiver string) {
	if d := s.delivery(receiver); d != nil {
		d.TryAgain()
	}
}

// LastDelivered returns when each receiver last confirmed a message.
func (s *Set) LastDelivered() map[string]time.Time {
	last := make(map[string]time.Time)
	for _, d := range s.Deliveries() {
		last[d.Name()] = d.Status().LastDelivered
	}
	return last
}

// SecretMissing tells whether a receiver refuses everything because a file with its address or its secret is not there.
func (s *Set) SecretMissing() bool {
	for _, d := range s.Deliveries() {
		if st := d.Status(); !st.RefusedSince.IsZero() && st.FileMissing {
			return true
		}
	}
	return false
}
