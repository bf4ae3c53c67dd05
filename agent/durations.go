package agent

import (
	"sync/atomic"
	"time"
)

// bounds is the number of upper bounds of the histograms.
const bounds = 12

// durationBounds returns them: an SSD syncs within a millisecond, a tired SD card takes seconds.
func durationBounds() [bounds]time.Duration {
	return [bounds]time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 10 * time.Second,
	}
}

// durations counts how long something took, in memory of fixed size. The zero value is ready to use, from any goroutine.
type durations struct {
	buckets  [bounds + 1]atomic.Uint64
	sum, max atomic.Int64
}

func (d *durations) add(took time.Duration) {
	i := 0
	for _, bound := range durationBounds() {
		if took <= bound {
			break
		}
		i++
	}
	d.buckets[i].Add(1)
	d.sum.Add(int64(took))
	for {
		most := d.max.Load()
		if int64(took) <= most || d.max.CompareAndSwap(most, int64(took)) {
			return
		}
	}
}

// Durations is a histogram of how long something took since the agent started.
type Durations struct {
	// Buckets counts what took at most each of durationBounds, and more than the one before; the last one is of all that took longer.
	Buckets  [bounds + 1]uint64
	Sum, Max time.Duration
}

// Count returns how many were counted.
func (d *Durations) Count() (n uint64) {
	for _, b := range d.Buckets {
		n += b
	}
	return n
}

// Mean returns the mean, 0 when nothing was counted.
func (d *Durations) Mean() time.Duration {
	return d.Sum / time.Duration(max(1, d.Count()))
}

func (d *durations) read() Durations {
	r := Durations{Sum: time.Duration(d.sum.Load()), Max: time.Duration(d.max.Load())}
	for i := range d.buckets {
		r.Buckets[i] = d.buckets[i].Load()
	}
	return r
}
