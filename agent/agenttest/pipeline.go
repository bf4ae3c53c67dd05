// Package agenttest runs the stages of the agent without a cluster and without a network: a real intake and real deliveries on one spool,
// in a bubble of testing/synctest, with receivers and a link that do what a test tells them to.
package agenttest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Policy is that of the receivers, if SetPolicy gives them no other.
func Policy() incident.Policy {
	return incident.Policy{GroupWait: 5 * time.Second, GroupInterval: 5 * time.Minute, RepeatInterval: 4 * time.Hour, ResolveAfter: 30 * time.Minute}
}

// OpenSpool opens the spool at path with its defaults.
func OpenSpool(t testing.TB, path string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Show lets the watch see events.
func (h *Pipeline) Show(events ...event.Event) {
	h.t.Helper()
	for _, e := range events {
		if err := h.Intake.Watched(context.Background(), watch.Change{Event: e}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// Untold returns how many observations wait in a queue.
func (h *Pipeline) Untold(receiver string) (n uint64) {
	h.t.Helper()
	if err := h.Spool.View(func(tx *spool.Tx) error { n = tx.Queue(receiver).Untold(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// Dead returns how many dead letters a queue keeps.
func (h *Pipeline) Dead(receiver string) (n int) {
	h.t.Helper()
	if err := h.Spool.View(func(tx *spool.Tx) error { n = tx.Queue(receiver).DeadLen(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// Pass lets the bubble's clock run for d and everything that is due happen.
func Pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// WantTold reports an error unless the receiver was told of each workload as often as want says.
func WantTold(t *testing.T, r *Receiver, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, r.Workloads()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// Observation is the event as it is taken at the given time, all of it new.
func Observation(e event.Event, at time.Time) incident.Observation {
	return incident.Observation{
		Event: e, Workload: event.Workload(e.InvolvedObject.Kind, e.InvolvedObject.Name), New: uint32(e.Observed()), At: at,
	}
}

// List lets the watch see a list in pages of two.
func (h *Pipeline) List(resourceVersion string, replaced bool, events ...event.Event) {
	h.t.Helper()
	page := watch.Page{First: true, ResourceVersion: resourceVersion, Replaced: replaced}
	for {
		n := min(2, len(events))
		page.Events, events = events[:n], events[n:]
		page.Last = len(events) == 0
		if err := h.Intake.List(context.Background(), page); err != nil {
			h.t.Fatal(err)
		}
		if page.Last {
			return
		}
		page.First = false
	}
}

// LedgerLen returns how many events are in the ledger.
func (h *Pipeline) LedgerLen() (n int) {
	h.t.Helper()
	if err := h.Spool.View(func(tx *spool.Tx) error { n = tx.LedgerLen(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// Bubble runs f with a pipeline of one receiver, ops, in a bubble of testing/synctest.
func Bubble(t *testing.T, f func(t *testing.T, h *Pipeline, r *Receiver)) {
	t.Helper()
	BubbleWith(t, func(*Pipeline) {}, f)
}

// BubbleWith is Bubble with a pipeline that change made another one before its start.
func BubbleWith(t *testing.T, change func(*Pipeline), f func(t *testing.T, h *Pipeline, r *Receiver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &Receiver{}
		h := New(t, map[string]notify.Receiver{"ops": r})
		change(h)
		h.Start()
		defer h.Close()
		f(t, h, r)
	})
}

// ListIn lets the watch see a list of a namespace.
func (h *Pipeline) ListIn(page watch.Page, events ...event.Event) {
	h.t.Helper()
	page.First, page.Last, page.Events = true, true, events
	if err := h.Intake.List(context.Background(), page); err != nil {
		h.t.Fatal(err)
	}
}

// Gaps returns how many absences were counted in which events may have come and gone unseen.
func (h *Pipeline) Gaps() (n uint64) {
	h.t.Helper()
	if err := h.Spool.View(func(tx *spool.Tx) error { n = ledger.Gaps(tx); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// WantGaps reports an error unless there were so many of them.
func (h *Pipeline) WantGaps(want uint64, when string) {
	h.t.Helper()
	if n := h.Gaps(); n != want {
		h.t.Errorf("%d gaps %s, want %d", n, when, want)
	}
}

// Sees notes that the namespaces are seen now, as the agent does now and then.
func (h *Pipeline) Sees(namespaces ...string) {
	h.t.Helper()
	at := time.Now()
	err := h.Intake.Note(context.Background(), func(tx *spool.Tx) error {
		for _, name := range namespaces {
			if err := ledger.NoteSight(tx, name, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// Gone reports whether the queue has no record of the workload.
func (h *Pipeline) Gone(receiver, workload string) (gone bool) {
	h.t.Helper()
	err := h.Spool.View(func(tx *spool.Tx) error {
		_, ok := tx.Queue(receiver).Get(incident.Key("shop", "Pod", workload, "BackOff"))
		gone = !ok
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return gone
}

// TotalLoss returns how many events were ever lost to a receiver.
func (h *Pipeline) TotalLoss(receiver string) (n uint64) {
	h.t.Helper()
	err := h.Spool.View(func(tx *spool.Tx) error {
		for _, l := range tx.Queue(receiver).TotalLosses() {
			n += l.Events
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// Flood fills the spool with what waits for another receiver until the record of the workload is evicted.
func (h *Pipeline) Flood(receiver, workload string) {
	for i := 0; i < 2000 && !h.Gone(receiver, workload); i++ {
		err := h.Spool.Update(func(tx *spool.Tx) error {
			return tx.Queue("other").Put(spool.Record{Key: fmt.Append(nil, i), Due: time.Now().Add(time.Hour), Untold: 1, Body: make([]byte, 8<<10)})
		})
		if err != nil {
			h.t.Error(err)
			return
		}
	}
	if !h.Gone(receiver, workload) {
		h.t.Error("the record is not evicted")
	}
}

// Lose counts a loss of one incident of so many events for a receiver.
func (h *Pipeline) Lose(receiver string, events uint64) {
	h.t.Helper()
	err := h.Spool.Update(func(tx *spool.Tx) error {
		return tx.Queue(receiver).Lose(spool.Loss{Cause: spool.Evicted, Records: 1, Events: events})
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// UntoldLoss returns how many lost events a receiver has not been told of.
func (h *Pipeline) UntoldLoss(receiver string) (n uint64) {
	h.t.Helper()
	err := h.Spool.View(func(tx *spool.Tx) error {
		for _, l := range tx.Queue(receiver).UntoldLosses() {
			n += l.Events
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// Lost returns how many incidents of a queue were lost so far.
func (h *Pipeline) Lost(receiver string) (n uint64) {
	h.t.Helper()
	err := h.Spool.View(func(tx *spool.Tx) error {
		for _, l := range tx.Queue(receiver).TotalLosses() {
			n += l.Records
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// SmallSpool opens a spool with another bound.
func SmallSpool(t *testing.T, path string, maxBytes int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{Path: path, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// SeverityOf calls NodeNotReady critical, and nothing else.
func SeverityOf(reason string) notify.Severity {
	if reason == "NodeNotReady" {
		return notify.Critical
	}
	return notify.Warning
}

// ErrUnreachable is what a receiver returns that is away.
var ErrUnreachable = &notify.Error{Outcome: notify.Retry, Reason: "cannot be reached", Err: errors.New("connection refused")}

// Warning is an event of a deployment's pod.
func Warning(workload string, version, count int, at time.Time) event.Event {
	return event.Event{
		ObjectMeta: event.ObjectMeta{
			Name:              workload + ".17e1",
			Namespace:         "shop",
			UID:               fmt.Sprintf("uid-of-%s", workload),
			ResourceVersion:   fmt.Sprint(version),
			CreationTimestamp: at.Truncate(time.Hour),
		},
		InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: workload + "-7d9f8c6b5d-x2x4z"},
		Reason:         "BackOff",
		Message:        "Back-off restarting failed container",
		Source:         event.Source{Component: "kubelet", Host: "pi-1"},
		FirstTimestamp: at,
		LastTimestamp:  at,
		Count:          int32(count),
		Type:           "Warning",
	}
}

// Pipeline is an intake and deliveries on one spool, without a cluster. What is set before Start is what they are made of.
type Pipeline struct {
	Spool *spool.Spool
	// Rules and IntakeOptions are those of the intake, Options those of the delivery to each receiver.
	Rules         intake.Rules
	IntakeOptions intake.Options
	Options       map[string]*deliver.Options
	// Intake and Deliveries are there once Start was called.
	Intake     *intake.Intake
	Deliveries map[string]*deliver.Delivery

	t    testing.TB
	stop context.CancelFunc
	done sync.WaitGroup
}

// New returns a pipeline on a spool of its own.
func New(t testing.TB, receivers map[string]notify.Receiver) *Pipeline {
	t.Helper()
	return NewAt(t, filepath.Join(t.TempDir(), "spool.db"), receivers)
}

// NewAt returns a pipeline on the spool at path.
func NewAt(t testing.TB, path string, receivers map[string]notify.Receiver) *Pipeline {
	t.Helper()
	return NewOn(t, OpenSpool(t, path), receivers)
}

// NewOn returns a pipeline on an open spool, which Close closes.
func NewOn(t testing.TB, s *spool.Spool, receivers map[string]notify.Receiver) *Pipeline {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	h := &Pipeline{t: t, Spool: s, Options: make(map[string]*deliver.Options), Deliveries: make(map[string]*deliver.Delivery)}
	var err error
	if h.Rules.Filter, err = filter.New(nil); err != nil {
		t.Fatal(err)
	}
	everything, err := filter.NewMatcher(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range receivers {
		h.Rules.Routes = append(h.Rules.Routes, intake.Route{Receiver: name, Match: everything, Policy: Policy()})
		h.Options[name] = &deliver.Options{
			Name: name, Receiver: r, Spool: s, Policy: Policy(), Cluster: "shop-1",
			Limits:   []*rate.Limiter{rate.NewLimiter(rate.Inf, 1)},
			Severity: SeverityOf,
			Timeout:  30 * time.Second, MaxBackoff: 5 * time.Minute,
			Backlog: inbox.Backlog{After: 10, Age: 10 * time.Minute},
			Logger:  logger,
		}
	}
	h.IntakeOptions = intake.Options{
		Spool: s, Ledger: ledger.New(time.Hour, time.Hour), Logger: logger,
		Arrived: func(name string) {
			if d := h.Deliveries[name]; d != nil {
				d.Wake()
			}
		},
	}
	return h
}

// SetPolicy gives a receiver, and the route to it, another policy.
func (h *Pipeline) SetPolicy(receiver string, policy incident.Policy) {
	h.Options[receiver].Policy = policy
	for i := range h.Rules.Routes {
		if h.Rules.Routes[i].Receiver == receiver {
			h.Rules.Routes[i].Policy = policy
		}
	}
}

// PerEvent gives ops a record for each event.
func PerEvent(h *Pipeline) {
	policy := Policy()
	policy.PerEvent = true
	h.SetPolicy("ops", policy)
}

// Make makes the stages without running them.
func (h *Pipeline) Make() {
	h.Intake = intake.New(h.IntakeOptions, h.Rules)
	for name, o := range h.Options {
		h.Deliveries[name] = deliver.New(*o)
	}
}

// Start makes the stages and runs them until Close is called.
func (h *Pipeline) Start() {
	if h.Intake == nil {
		h.Make()
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.done.Go(func() {
		if err := h.Intake.Run(ctx); err != nil {
			h.t.Errorf("intake: %v", err)
		}
	})
	for _, d := range h.Deliveries {
		h.done.Go(func() {
			if err := d.Run(ctx); err != nil {
				h.t.Errorf("delivery: %v", err)
			}
		})
	}
}

// Stop stops the stages as SIGTERM would.
func (h *Pipeline) Stop() {
	if h.stop != nil {
		h.stop()
		h.done.Wait()
	}
}

// Close stops the stages and closes the spool.
func (h *Pipeline) Close() {
	h.t.Helper()
	h.Stop()
	if err := h.Spool.Close(); err != nil {
		h.t.Errorf("close spool: %v", err)
	}
}
