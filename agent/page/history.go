package page

import (
	"sync"
	"time"
)

const (
	// Step is the time between two samples.
	Step = 5 * time.Minute
	// maxSamples cover 24 hours and the sample at their beginning, which counters are compared with.
	maxSamples = 24*12 + 1
)

// Sample is how the agent stood at one time. Counters are those since it started.
type Sample struct {
	At time.Time `json:"at"`
	// Warning and Critical count committed events, Bytes what went over the link.
	Warning  uint64 `json:"warning"`
	Critical uint64 `json:"critical"`
	Bytes    int64  `json:"bytes"`
	// Untold is the number of observations that wait.
	Untold uint64 `json:"untold"`
	// Watch and Link are up, down or unknown.
	Watch string `json:"watch"`
	Link  string `json:"link"`
}

// History keeps the samples of the last 24 hours. The zero value is ready to use.
type History struct {
	mu      sync.Mutex
	samples []Sample
}

// Add keeps s, and forgets what is older than 24 hours. It is called every Step.
func (h *History) Add(s Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == maxSamples {
		copy(h.samples, h.samples[1:])
		h.samples = h.samples[:maxSamples-1]
	}
	h.samples = append(h.samples, s)
}

// Samples returns a copy, the oldest first.
func (h *History) Samples() []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Sample{}, h.samples...)
}
