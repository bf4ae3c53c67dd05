package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/notify"
)

func TestDurationsAreCountedInBuckets(t *testing.T) {
	var d durations
	for _, took := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 80 * time.Millisecond, time.Minute} {
		d.add(took)
	}
	r := d.read()
	if r.Buckets[0] != 2 || r.Buckets[1] != 1 || r.Buckets[6] != 1 || r.Buckets[len(r.Buckets)-1] != 1 || r.Count() != 5 {
		t.Errorf("buckets %v", r.Buckets)
	}
	if r.Max != time.Minute || r.Sum != time.Minute+82*time.Millisecond+1 {
		t.Errorf("max %s, sum %s", r.Max, r.Sum)
	}
}

// TestRepeatsCountAsFolded shows three events of one incident and one of another to two receivers of which one wants only web.
func TestRepeatsCountAsFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, map[string]notify.Receiver{"ops": new(scripted)})
		matcher, err := filter.NewMatcher([]filter.Match{{Reason: "None"}, {Name: "web.*"}})
		if err != nil {
			t.Fatal(err)
		}
		h.intake.routes[0].match = matcher
		h.start()
		defer h.close()
		h.list("9", false, warning("web", 1, 1, time.Now()), warning("web", 2, 2, time.Now()), warning("web", 3, 3, time.Now()), warning("db", 4, 1, time.Now()))
		s := h.intake.stats.status()
		if s.Committed != 4 || s.Folded != 2 || s.CommitTimes.Count() != s.Commits {
			t.Errorf("%d committed, %d folded, %d commits of which %d were timed", s.Committed, s.Folded, s.Commits, s.CommitTimes.Count())
		}
		hits := h.intake.matchesHit("ops")
		if len(hits) != 2 || hits[0].Hits != 0 || hits[1].Hits != 3 {
			t.Errorf("hits of the match rules: %+v", hits)
		}
	})
}
