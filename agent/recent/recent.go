// Package recent remembers the last deliveries for the status page, and over a restart. It promises that a night of attempts leaves the
// list readable: at most 20 entries.
package recent

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

// maxRecent is how many deliveries are remembered, in memory and on disk.
const maxRecent = 20

// Deliveries are the last ones, the newest last. The zero value is ready to use, from any goroutine.
type Deliveries struct {
	// mu guards list.
	mu   sync.Mutex
	list []status.Delivery
}

// Add remembers a delivery. One that failed as the receiver's last one did joins it, so that a night of attempts leaves the list
// readable.
func (r *Deliveries) Add(d status.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Attempts = 1
	for i, before := range slices.Backward(r.list) {
		if before.Receiver != d.Receiver {
			continue
		}
		if d.Outcome != OK && before.Outcome == d.Outcome {
			d.Attempts = before.Attempts + 1
			if d.First = before.First; d.First.IsZero() {
				d.First = before.At
			}
			r.list = slices.Delete(r.list, i, i+1)
		}
		break
	}
	if r.list = append(r.list, d); len(r.list) > maxRecent {
		r.list = slices.Delete(r.list, 0, len(r.list)-maxRecent)
	}
}

// Newest returns the deliveries, the newest first.
func (r *Deliveries) Newest() []status.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := append([]status.Delivery{}, r.list...)
	slices.Reverse(list)
	return list
}

// LastOK returns when the receiver last confirmed a message, the zero time if that is not remembered.
func (r *Deliveries) LastOK(receiver string) time.Time {
	for _, d := range r.Newest() {
		if d.Receiver == receiver && d.Outcome == OK {
			return d.At
		}
	}
	return time.Time{}
}

// Save returns the deliveries in at most limit bytes, without the oldest where they need more.
func (r *Deliveries) Save(limit int) []byte {
	list := r.Newest()
	for i := range list {
		list[i].At, list[i].First = list[i].At.UTC().Truncate(time.Second), list[i].First.UTC().Truncate(time.Second)
	}
	for {
		data, err := json.Marshal(list)
		if err == nil && len(data) <= limit || len(list) == 0 {
			return data
		}
		list = list[:len(list)-1]
	}
}

// Load puts what Save returned before what is there.
func (r *Deliveries) Load(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	var stored []status.Delivery
	if err := json.Unmarshal(data, &stored); err != nil {
		return fmt.Errorf("decode deliveries: %w", err)
	}
	slices.Reverse(stored)
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append(stored, r.list...)
	r.list = slices.Clone(all[max(0, len(all)-maxRecent):])
	return nil
}

// OK is what a confirmed delivery is counted as; the others are notify's outcomes.
const OK = "ok"
