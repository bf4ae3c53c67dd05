package page

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

const (
	// Step is the time between two samples.
	Step = 5 * time.Minute
	// maxSamples cover 24 hours and the sample at their beginning, which counters are compared with.
	maxSamples = 24*12 + 1
)

// Sample is how the agent stood at one time. Counters are those since it started: one that falls back began again.
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

// SampleOf returns what a document says of the pictures.
func SampleOf(d *status.Document) Sample {
	s := Sample{At: d.Now, Watch: d.Sight(), Link: d.LinkState, Critical: d.Intake.Critical}
	s.Warning = d.Intake.Committed - min(d.Intake.Committed, d.Intake.Critical)
	for i := range d.Receivers {
		s.Untold += d.Receivers[i].Untold
	}
	if d.Budget != nil {
		s.Bytes = d.Budget.Month
	}
	return s
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

// version is the first byte of what Save returns.
const version = 1

// maxUnix is the end of the year 9999, the last that JSON can say.
const maxUnix = 253_402_300_799

// errHistory is returned by Load for what Save did not write.
var errHistory = errors.New("the stored history cannot be read")

// states returns how Watch and Link are stored: by their place.
func states() []string { return []string{"unknown", "up", "down"} }

// Save returns the samples in at most limit bytes. Each takes about 10, so that 4 KiB hold 24 hours; where they do not, the oldest
// are left out.
func (h *History) Save(limit int) []byte {
	samples := h.Samples()
	data, states := []byte{version}, states()
	// From the newest to the oldest, each as what changed since.
	var after Sample
	after.At = time.Unix(0, 0)
	for _, s := range slices.Backward(samples) {
		before := len(data)
		data = binary.AppendVarint(data, s.At.Unix()-after.At.Unix())
		data = binary.AppendVarint(data, int64(s.Warning-after.Warning))
		data = binary.AppendVarint(data, int64(s.Critical-after.Critical))
		data = binary.AppendVarint(data, s.Bytes-after.Bytes)
		data = binary.AppendVarint(data, int64(s.Untold-after.Untold))
		data = append(data, byte(max(0, slices.Index(states, s.Watch))<<4|max(0, slices.Index(states, s.Link))))
		if len(data) > limit {
			return data[:before]
		}
		after = s
	}
	return data
}

// Load puts the samples that Save returned before those that are there. On an error it changes nothing.
func (h *History) Load(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if data[0] != version {
		return fmt.Errorf("%w: version %d", errHistory, data[0])
	}
	data = data[1:]
	var stored []Sample
	states := states()
	after := Sample{At: time.Unix(0, 0)}
	for len(data) > 0 && len(stored) < maxSamples {
		var n [5]int64
		for i := range n {
			value, length := binary.Varint(data)
			if length <= 0 {
				return fmt.Errorf("%w: it ends within a sample", errHistory)
			}
			n[i], data = value, data[length:]
		}
		if len(data) == 0 || int(data[0]>>4) >= len(states) || int(data[0]&15) >= len(states) {
			return fmt.Errorf("%w: no such state", errHistory)
		}
		at := after.At.Unix() + n[0]
		if at < 0 || at > maxUnix {
			return fmt.Errorf("%w: no such time", errHistory)
		}
		after = Sample{
			At: time.Unix(at, 0), Warning: after.Warning + uint64(n[1]), Critical: after.Critical + uint64(n[2]),
			Bytes: after.Bytes + n[3], Untold: after.Untold + uint64(n[4]), Watch: states[data[0]>>4], Link: states[data[0]&15],
		}
		stored, data = append(stored, after), data[1:]
	}
	slices.Reverse(stored)
	h.mu.Lock()
	defer h.mu.Unlock()
	all := append(stored, h.samples...)
	h.samples = append(make([]Sample, 0, maxSamples), all[max(0, len(all)-maxSamples):]...)
	return nil
}
