package histogram_test

import (
	"math"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/histogram"
)

func TestDurationsAreCountedInBuckets(t *testing.T) {
	var d histogram.Histogram
	for _, took := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 80 * time.Millisecond, time.Minute} {
		d.Add(took)
	}
	s := d.Syncs()
	n := s.Times.Counts
	if n[0] != 2 || n[1] != 1 || n[6] != 1 || n[len(n)-1] != 1 || s.Count != 5 {
		t.Errorf("counts %v", n)
	}
	if want := (time.Minute + 82*time.Millisecond + 1).Seconds(); s.Max != 60 || math.Abs(s.Times.Sum-want) > 1e-9 {
		t.Errorf("max %v s, sum %v s", s.Max, s.Times.Sum)
	}
}
