package chat

import (
	"testing"
	"time"
)

func TestTimesAndSpans(t *testing.T) {
	zone := time.FixedZone("CST", 8*3600)
	at := time.Date(2026, 11, 21, 5, 6, 0, 0, time.UTC)
	for want, got := range map[string]string{
		"":                                   times(time.Time{}, time.Time{}, zone),
		"2026-11-21 13:06:00 CST":            times(at, at.Add(500*time.Millisecond), zone),
		"2026-11-21 12:06:00 – 13:06:00 CST": times(at.Add(-time.Hour), at, zone),
		"2026-11-20 13:06:00 – 2026-11-21 13:06:00 CST": times(at.Add(-24*time.Hour), at, zone),
		"59s":    Span(59 * time.Second),
		"3m":     Span(-3*time.Minute - time.Second),
		"10h":    Span(10 * time.Hour),
		"10h10m": Span(10*time.Hour + 10*time.Minute),
		"20d":    Span(20 * 24 * time.Hour),
		"1d5h":   Span(29 * time.Hour),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
