package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
)

// receiver takes the webhook's documents and knows which events are missing.
type receiver struct {
	// changed has a token when something arrived.
	changed chan struct{}

	mu    sync.Mutex
	away  bool
	posts int
	// made and arrived count by name. The agent may be faster than the answer to the request that made an event.
	made    map[string]bool
	arrived map[string]int
}

func newReceiver() *receiver {
	return &receiver{changed: make(chan struct{}, 1), made: map[string]bool{}, arrived: map[string]int{}}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var document struct {
		Incidents []struct {
			Event struct{ Metadata struct{ Name string } }
		}
	}
	err := json.NewDecoder(req.Body).Decode(&document)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.away:
		panic(http.ErrAbortHandler) // The connection ends without an answer.
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.posts++
	for _, incident := range document.Incidents {
		r.arrived[incident.Event.Metadata.Name]++
	}
	w.WriteHeader(http.StatusNoContent)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *receiver) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *receiver) expect(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		r.made[name] = true
	}
}

// count returns how many of the events that were made are missing, and how often one arrived again.
func (r *receiver) count() (missing, again int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.made {
		if n := r.arrived[name]; n == 0 {
			missing++
		} else {
			again += n - 1
		}
	}
	return missing, again
}

func (r *receiver) summary() string {
	missing, again := r.count()
	return fmt.Sprintf("%d events were made, %d are missing, %d arrived again, in %d requests.", len(r.made), missing, again, r.posts)
}
