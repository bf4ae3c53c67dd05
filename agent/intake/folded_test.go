package intake_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify"
)

// TestRepeatsCountAsFolded shows three events of one incident and one of another to two receivers of which one wants only web.
func TestRepeatsCountAsFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := agenttest.New(t, map[string]notify.Receiver{"ops": new(agenttest.Receiver)})
		matcher, err := filter.NewMatcher([]filter.Match{{Reason: "None"}, {Name: "web.*"}})
		if err != nil {
			t.Fatal(err)
		}
		h.Rules.Routes[0].Match = matcher
		h.Start()
		defer h.Close()
		h.List("9", false, agenttest.Warning("web", 1, 1, time.Now()), agenttest.Warning("web", 2, 2, time.Now()), agenttest.Warning("web", 3, 3, time.Now()), agenttest.Warning("db", 4, 1, time.Now()))
		s := h.Intake.Status()
		if s.Committed != 4 || s.Folded != 2 || commitsTimed(s) != s.Commits {
			t.Errorf("%d committed, %d folded, %d commits of which %d were timed", s.Committed, s.Folded, s.Commits, commitsTimed(s))
		}
		hits := h.Intake.MatchesHit("ops")
		if len(hits) != 2 || hits[0] != 0 || hits[1] != 3 {
			t.Errorf("hits of the match rules: %+v", hits)
		}
	})
}

// commitsTimed is how many commits have their time in the histogram.
func commitsTimed(s status.Intake) (n uint64) {
	for _, c := range s.CommitTimes.Counts {
		n += c
	}
	return n
}
