package gate

import (
	"time"

	"golang.org/x/time/rate"
)

// Limits returns limiters for so many requests a second and a minute, that of the longer window first; 0 stands for no limit.
func Limits(perSecond, perMinute int) []*rate.Limiter {
	var limits []*rate.Limiter
	if perMinute > 0 {
		limits = append(limits, Limiter(perMinute, time.Minute))
	}
	if perSecond > 0 {
		limits = append(limits, Limiter(perSecond, time.Second))
	}
	return limits
}

// Limiter allows at most n requests in any window of the given length, not only on average: platforms count in sliding
// windows, and DingTalk shuts out for ten minutes whoever exceeds one. A token bucket lets through its burst plus what
// flows in during the window, so both together make n: a fifth of it as burst.
func Limiter(n int, window time.Duration) *rate.Limiter {
	burst := max(1, n/5)
	flow := n - burst
	if burst == 1 {
		flow = n
	}
	return rate.NewLimiter(rate.Limit(float64(flow)/window.Seconds()), burst)
}
