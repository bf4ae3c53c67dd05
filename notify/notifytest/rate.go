package notifytest

import (
	"slices"
	"sync"
	"time"
)

// rate is a sliding window over one second and one minute. The zero value has no limit.
type rate struct {
	perSecond, perMinute int

	mu    sync.Mutex
	taken []time.Time
}

// exceeded counts a request at now, and reports whether it is one too many.
func (r *rate) exceeded(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = slices.DeleteFunc(r.taken, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	second := 0
	for _, t := range r.taken {
		if now.Sub(t) < time.Second {
			second++
		}
	}
	if r.perSecond > 0 && second >= r.perSecond || r.perMinute > 0 && len(r.taken) >= r.perMinute {
		return true
	}
	r.taken = append(r.taken, now)
	return false
}
