package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// scripted is a receiver that answers as it is told to, and keeps what it confirmed.
type scripted struct {
	limits notify.Limits
	// answer decides on a message; nil: every message is confirmed.
	answer func(ctx context.Context, m *notify.Message, form notify.Form) error
	// fits is how many incidents fit into one request; 0: all.
	fits int
	// noLosses says that the form has no place for losses.
	noLosses bool

	mu        sync.Mutex
	last      *notify.Message
	form      notify.Form
	attempts  int
	confirmed []notify.Message
	// unnamed and unnamedEvents are what the last digest only counted.
	unnamed       int
	unnamedEvents uint64
}

func (r *scripted) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(m.Incidents)
	if r.fits > 0 {
		n = min(n, r.fits)
	}
	taken := *m
	taken.Incidents = m.Incidents[:n]
	if m.Digest != nil {
		r.unnamed, r.unnamedEvents = m.Unnamed(n)
	}
	r.last, r.form = &taken, form
	request := &notify.Request{Incidents: n, Time: m.Now, Losses: notify.LossesWhole}
	if r.noLosses {
		request.Losses = notify.LossesNowhere
	}
	return request, nil
}

func (r *scripted) Send(ctx context.Context, _ *notify.Request) error {
	r.mu.Lock()
	r.attempts++
	last, form := r.last, r.form
	r.mu.Unlock()
	if r.answer != nil {
		if err := r.answer(ctx, last, form); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.confirmed = append(r.confirmed, *last)
	return nil
}

func (r *scripted) Limits() notify.Limits {
	l := r.limits
	if l.Batch == 0 {
		l.Batch, l.BatchBytes = 50, 256<<10
	}
	return l
}

func (*scripted) Close() {}

func (r *scripted) tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts
}

// messages returns what was confirmed so far.
func (r *scripted) messages() []notify.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]notify.Message(nil), r.confirmed...)
}

// workloads counts how often each workload was told.
func (r *scripted) workloads() map[string]int {
	told := make(map[string]int)
	for _, m := range r.messages() {
		for _, i := range m.Incidents {
			told[i.Workload]++
		}
	}
	return told
}

var testPolicy = incident.Policy{
	GroupWait:      5 * time.Second,
	GroupInterval:  5 * time.Minute,
	RepeatInterval: 4 * time.Hour,
	ResolveAfter:   30 * time.Minute,
}

func openSpool(t testing.TB, path string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// house is an intake and deliveries on one spool, without a cluster.
type house struct {
	t          testing.TB
	spool      *spool.Spool
	intake     *intake
	deliveries map[string]*delivery
	stop       context.CancelFunc
	done       sync.WaitGroup
}

func newHouse(t testing.TB, receivers map[string]notify.Receiver) *house {
	t.Helper()
	return newHouseAt(t, filepath.Join(t.TempDir(), "spool.db"), receivers)
}

func newHouseAt(t testing.TB, path string, receivers map[string]notify.Receiver) *house {
	t.Helper()
	return newHouseOn(t, openSpool(t, path), receivers)
}

func newHouseOn(t testing.TB, s *spool.Spool, receivers map[string]notify.Receiver) *house {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	h := &house{t: t, spool: s, intake: newIntake(s, logger), deliveries: make(map[string]*delivery)}
	var err error
	if h.intake.filter, err = filter.New(nil); err != nil {
		t.Fatal(err)
	}
	h.intake.lookback = time.Hour
	everything, err := filter.NewMatcher(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range receivers {
		h.intake.routes = append(h.intake.routes, route{receiver: name, match: everything, policy: testPolicy})
		h.deliveries[name] = &delivery{
			name: name, receiver: r, spool: s, policy: testPolicy, cluster: "shop-1",
			limits:   []*rate.Limiter{rate.NewLimiter(rate.Inf, 1)},
			severity: severityOf,
			timeout:  30 * time.Second, maxBackoff: 5 * time.Minute,
			digestAfter: 10, digestAge: 10 * time.Minute,
			logger: logger, wake: make(chan struct{}, 1),
		}
	}
	h.intake.arrived = func(name string) {
		select {
		case h.deliveries[name].wake <- struct{}{}:
		default:
		}
	}
	return h
}

func severityOf(reason string) notify.Severity {
	if reason == "NodeNotReady" {
		return notify.Critical
	}
	return notify.Warning
}

func (h *house) start() {
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.done.Go(func() {
		if err := h.intake.run(ctx); err != nil {
			h.t.Errorf("intake: %v", err)
		}
	})
	for _, d := range h.deliveries {
		h.done.Go(func() {
			if err := d.run(ctx); err != nil {
				h.t.Errorf("delivery: %v", err)
			}
		})
	}
}

// close stops the house as SIGTERM would and closes the spool.
func (h *house) close() {
	h.t.Helper()
	if h.stop != nil {
		h.stop()
		h.done.Wait()
	}
	if err := h.spool.Close(); err != nil {
		h.t.Errorf("close spool: %v", err)
	}
}

var errUnreachable = &notify.Error{Outcome: notify.Retry, Reason: "cannot be reached", Err: errors.New("connection refused")}

// warning is an event of a deployment's pod.
func warning(workload string, version, count int, at time.Time) event.Event {
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

// withStop is a context that a bubble can end before its house.
func withStop() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}
