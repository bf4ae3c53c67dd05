package status

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
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

func metricsOf(t *testing.T, d *Document) string {
	t.Helper()
	var b strings.Builder
	if err := d.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
