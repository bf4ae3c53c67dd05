package status

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// everything is a document that shows every metric.
func everything() *Document {
	return &Document{
		Agent:     Agent{Version: "v1", Started: time.Now(), Now: time.Now(), Cluster: "shop-1"},
		Watch:     []Watch{{}},
		Intake:    Intake{Rules: []uint64{0}, CommitTimes: Durations{Bounds: []float64{0.001, 10}, Counts: []uint64{0, 0, 0}}},
		Receivers: []Receiver{{Name: "ops", Type: "feishu", Queue: Queue{Losses: []Loss{{Cause: "evicted", Events: 1}}}, Matches: []uint64{0}}},
		Budget:    &Budget{Receivers: map[string]Traffic{"ops": {}, "": {}}},
	}
}

func TestDashboardAlertsAndDocumentationNameOnlyMetricsThatExist(t *testing.T) {
	exist := make(map[string]bool)
	for line := range strings.Lines(metricsOf(t, everything())) {
		if family, ok := strings.CutPrefix(line, "# TYPE "); ok {
			exist[family[:strings.Index(family, " ")]] = true
		} else if !strings.HasPrefix(line, "#") {
			exist[line[:strings.IndexAny(line, "{ ")]] = true
		}
	}
	metric := regexp.MustCompile(`\b(?:edge_eventer|process)_[a-z0-9_]+`)
	least := map[string]int{
		"../../manifests/grafana/edge-eventer.json": 20, "../../manifests/alerts/edge-eventer.yaml": 14, "../../manifests/OPERATING.md": 25, "../../manifests/OPERATING.zh-CN.md": 25,
	}
	for path, least := range least {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		named := metric.FindAllString(string(data), -1)
		if len(named) < least {
			t.Errorf("%s names only %d metrics: the test sees nothing", path, len(named))
		}
		for _, name := range named {
			if !exist[name] {
				t.Errorf("%s names %s, which the agent does not show", path, name)
			}
		}
	}
	data, err := os.ReadFile("../../manifests/grafana/edge-eventer.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(data) {
		t.Error("the dashboard is no JSON")
	}
}

// TestAlertRulesAndMetricsAreValid has promtool read them as Prometheus does. Without promtool it fails.
func TestAlertRulesAndMetricsAreValid(t *testing.T) {
	promtool := func(in string, args ...string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), "../../scripts/tool", append([]string{"promtool"}, args...)...)
		command.Stdin = strings.NewReader(in)
		// promtool writes what it objects to to its standard error; of rules that it takes it says how many they are.
		var out, complaints strings.Builder
		command.Stdout, command.Stderr = &out, &complaints
		if err := command.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("promtool %s: %v\n%s%s", strings.Join(args, " "), err, &out, &complaints)
		}
	}
	promtool("", "check", "rules", "../../manifests/alerts/edge-eventer.yaml")
	promtool(metricsOf(t, everything()), "check", "metrics")
}
