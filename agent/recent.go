package agent

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/notify"
)

// maxRecent is how many deliveries are remembered, in memory and on disk.
const maxRecent = 20

// recent are the last deliveries, the newest last. The zero value is ready to use.
type recent struct {
	mu   sync.Mutex
	list []control.Delivery
}

// add remembers a delivery. One that failed as the receiver's last one did joins it, so that a night of attempts leaves the list
// readable.
func (r *recent) add(d control.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.Attempts = 1
	for i, before := range slices.Backward(r.list) {
		if before.Receiver != d.Receiver {
			continue
		}
		if d.Outcome != outcomeOK && before.Outcome == d.Outcome {
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

// newest returns the deliveries, the newest first.
func (r *recent) newest() []control.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := append([]control.Delivery{}, r.list...)
	slices.Reverse(list)
	return list
}

// lastOK returns when the receiver last confirmed a message, the zero time if that is not remembered.
func (r *recent) lastOK(receiver string) time.Time {
	for _, d := range r.newest() {
		if d.Receiver == receiver && d.Outcome == outcomeOK {
			return d.At
		}
	}
	return time.Time{}
}

// save returns the deliveries in at most limit bytes, without the oldest where they need more.
func (r *recent) save(limit int) []byte {
	list := r.newest()
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

// load puts what save returned before what is there.
func (r *recent) load(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	var stored []control.Delivery
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

// outcomeOK is what a confirmed delivery is counted as; the others are notify's outcomes.
const outcomeOK = "ok"

// noteAttempt tells what became of a message.
func (d *delivery) noteAttempt(w *waiting, request *notify.Request, err error) {
	if d.noted == nil {
		return
	}
	note := control.Delivery{At: time.Now(), Receiver: d.name, Outcome: outcomeOK, Digest: w.digest != nil}
	if err != nil {
		note.Outcome = notify.OutcomeOf(err).String()
	}
	for _, t := range w.in(request) {
		note.Incidents++
		note.Events += uint64(t.incident.Untold())
	}
	d.noted(note)
}
