// Package histogram counts how long something took, in memory of fixed size. It promises that counting takes no lock.
package histogram

import (
	"sync/atomic"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/status"
)

// bounds is the number of upper bounds of the histograms.
const bounds = 12

// Bounds returns the upper bounds: an SSD syncs within a millisecond, a tired SD card takes seconds.
func Bounds() [bounds]time.Duration {
	return [bounds]time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 10 * time.Second,
	}
}

// Histogram counts durations. The zero value is ready to use, from any goroutine.
type Histogram struct {
	buckets  [bounds + 1]atomic.Uint64
	sum, max atomic.Int64
}

// Add counts what took so long.
func (h *Histogram) Add(took time.Duration) {
	i := 0
	for _, bound := range Bounds() {
		if took <= bound {
			break
		}
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(took))
	for {
		most := h.max.Load()
		if int64(took) <= most || h.max.CompareAndSwap(most, int64(took)) {
			return
		}
	}
}

// Read returns what was counted so far.
func (h *Histogram) Read() status.Durations {
	d := status.Durations{Sum: time.Duration(h.sum.Load()).Seconds()}
	for _, bound := range Bounds() {
		d.Bounds = append(d.Bounds, bound.Seconds())
	}
	for i := range h.buckets {
		d.Counts = append(d.Counts, h.buckets[i].Load())
	}
	return d
}

// Syncs returns what was counted so far as the commits of a spool, with the mean and the longest.
func (h *Histogram) Syncs() status.Syncs {
	s := status.Syncs{Max: time.Duration(h.max.Load()).Seconds(), Times: h.Read()}
	for _, n := range s.Times.Counts {
		s.Count += n
	}
	s.Mean = s.Times.Sum / float64(max(1, s.Count))
	return s
}
