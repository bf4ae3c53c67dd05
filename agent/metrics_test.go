package agent

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/notify"
)

// TestMetricsFollowTheExpositionFormat reads the text as a scraper does: each family has its HELP and TYPE before its samples, stands
// in one piece, and shows no series twice.
func TestMetricsFollowTheExpositionFormat(t *testing.T) {
	sample := regexp.MustCompile(`^([a-z_]+)(\{(?:[a-z]+="[^"]*",?)+\})? (\S+)$`)
	types := make(map[string]string)
	series := make(map[string]bool)
	family, help := "", ""
	for line := range strings.Lines(metricsOf(t, everything())) {
		line = strings.TrimSuffix(line, "\n")
		if words := strings.SplitN(line, " ", 4); words[0] == "#" {
			switch words[1] {
			case "HELP":
				help = words[2]
				if !strings.HasSuffix(words[3], ".") {
					t.Errorf("the help of %s is no sentence: %s", help, words[3])
				}
			case "TYPE":
				family = words[2]
				if types[family] != "" || help != family {
					t.Errorf("%s begins twice, or without a HELP line", family)
				}
				types[family] = words[3]
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no sample: %s", line)
			continue
		}
		name := m[1]
		if types[family] == "histogram" {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		}
		if name != family {
			t.Errorf("%s stands among the samples of %s", m[1], family)
		}
		if (types[family] == counter) != strings.HasSuffix(family, "_total") {
			t.Errorf("%s is a %s: counters end in _total and nothing else does", family, types[family])
		}
		if _, err := strconv.ParseFloat(m[3], 64); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if series[m[1]+m[2]] {
			t.Errorf("%s%s is shown twice", m[1], m[2])
		}
		series[m[1]+m[2]] = true
	}
	if len(types) < 40 {
		t.Errorf("only %d families were read", len(types))
	}
}

// TestLossesOfEveryCauseAreShownBeforeTheFirst keeps increase() honest: a series that begins at 7 has not grown by 7.
func TestLossesOfEveryCauseAreShownBeforeTheFirst(t *testing.T) {
	s := everything()
	s.Receivers[0].Losses = nil
	text := metricsOf(t, s)
	for _, cause := range []string{"evicted", "expired", "refused", "damaged", "unseen", "dropped"} {
		if want := `edge_eventer_lost_events_total{receiver="ops",cause="` + cause + `"} 0`; !strings.Contains(text, want) {
			t.Errorf("missing: %s", want)
		}
	}
}

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
