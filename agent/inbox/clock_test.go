package inbox

import (
	"testing"
	"time"
)

func TestOnlyAStepBackIsOne(t *testing.T) {
	for _, c := range []struct {
		wall, elapsed time.Duration
		want          bool
	}{
		{time.Second, time.Second, false},
		{0, 500 * time.Millisecond, false},
		{-time.Hour, time.Second, true},
		{59 * time.Minute, time.Hour, true},
		{100 * time.Hour, time.Second, false},
	} {
		if got := stepped(c.wall, c.elapsed); got != c.want {
			t.Errorf("wall clock %s, in fact %s: put back %v, want %v", c.wall, c.elapsed, got, c.want)
		}
	}
}
