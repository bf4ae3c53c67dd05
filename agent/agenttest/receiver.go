package agenttest

import (
	"context"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
)

// Receiver is a receiver that answers as it is told to, and keeps what it confirmed.
type Receiver struct {
	Bounds notify.Limits
	// Answer decides on a message; nil: every message is confirmed.
	Answer func(ctx context.Context, m *notify.Message, form notify.Form) error
	// Fits is how many incidents fit into one request; 0: all.
	Fits int
	// NoLosses says that the form has no place for losses.
	NoLosses bool

	mu        sync.Mutex
	last      *notify.Message
	form      notify.Form
	attempts  int
	confirmed []notify.Message
	// Unnamed and UnnamedEvents are what the last digest only counted.
	Unnamed       int
	UnnamedEvents uint64
}

// Render takes as many incidents as fit.
func (r *Receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(m.Incidents)
	if r.Fits > 0 {
		n = min(n, r.Fits)
	}
	taken := *m
	taken.Incidents = m.Incidents[:n]
	if m.Digest != nil {
		r.Unnamed, r.UnnamedEvents = m.Unnamed(n)
	}
	r.last, r.form = &taken, form
	request := &notify.Request{Incidents: n, Time: m.Now, Losses: notify.LossesWhole}
	if r.NoLosses {
		request.Losses = notify.LossesNowhere
	}
	return request, nil
}

// Send answers as it was told to.
func (r *Receiver) Send(ctx context.Context, _ *notify.Request) error {
	r.mu.Lock()
	r.attempts++
	last, form := r.last, r.form
	r.mu.Unlock()
	if r.Answer != nil {
		if err := r.Answer(ctx, last, form); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.confirmed = append(r.confirmed, *last)
	return nil
}

// Limits returns Bounds, or 50 incidents where they say nothing.
func (r *Receiver) Limits() notify.Limits {
	l := r.Bounds
	if l.Batch == 0 {
		l.Batch, l.BatchBytes = 50, 256<<10
	}
	return l
}

// Close does nothing.
func (*Receiver) Close() {}

// Tries returns how many messages were attempted.
func (r *Receiver) Tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts
}

// Messages returns what was confirmed so far.
func (r *Receiver) Messages() []notify.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]notify.Message(nil), r.confirmed...)
}

// Told sums up the observations that were confirmed.
func (r *Receiver) Told() (n int) {
	for _, m := range r.Messages() {
		for _, in := range m.Incidents {
			n += in.Untold
		}
	}
	return n
}

// Texts returns the messages of the incidents with this reason, in the order in which they were confirmed.
func (r *Receiver) Texts(reason string) (texts []string) {
	for _, m := range r.Messages() {
		for _, in := range m.Incidents {
			if in.Reason == reason {
				texts = append(texts, in.Message)
			}
		}
	}
	return texts
}

// Workloads counts how often each workload was told.
func (r *Receiver) Workloads() map[string]int {
	told := make(map[string]int)
	for _, m := range r.Messages() {
		for _, i := range m.Incidents {
			told[i.Workload]++
		}
	}
	return told
}

// Outage is a person's receiver that cannot be reached for d.
func Outage(d time.Duration, fits int) *Receiver {
	up := time.Now().Add(d)
	return &Receiver{
		Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true},
		Fits:   fits,
		Answer: func(context.Context, *notify.Message, notify.Form) error {
			if time.Now().Before(up) {
				return ErrUnreachable
			}
			return nil
		},
	}
}
