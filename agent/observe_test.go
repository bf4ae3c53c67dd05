package agent

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

// everything is a status that shows every metric.
func everything() *Status {
	return &Status{
		Version: "v1", Started: time.Now(), Now: time.Now(), Cluster: "shop-1",
		Watch:  []watch.NamespaceStatus{{}},
		Intake: IntakeStatus{Rules: []filter.Count{{}}},
		Receivers: []ReceiverStatus{{
			Name: "ops", Type: "feishu", Losses: []spool.Loss{{Cause: spool.Evicted, Events: 1}}, Matches: []filter.Count{{}},
		}},
		Budget: BudgetStatus{Receivers: map[string]budget.Usage{"ops": {}, "": {}}},
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
		"../manifests/grafana/edge-eventer.json": 20, "../manifests/alerts/edge-eventer.yaml": 14, "../manifests/OPERATING.md": 25, "../manifests/OPERATING.zh-CN.md": 25,
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
	data, err := os.ReadFile("../manifests/grafana/edge-eventer.json")
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
		command := exec.CommandContext(t.Context(), "../scripts/tool", append([]string{"promtool"}, args...)...)
		command.Stdin = strings.NewReader(in)
		// promtool writes what it objects to to its standard error; of rules that it takes it says how many they are.
		var out, complaints strings.Builder
		command.Stdout, command.Stderr = &out, &complaints
		if err := command.Run(); err != nil || complaints.Len() > 0 {
			t.Errorf("promtool %s: %v\n%s%s", strings.Join(args, " "), err, &out, &complaints)
		}
	}
	promtool("", "check", "rules", "../manifests/alerts/edge-eventer.yaml")
	promtool(metricsOf(t, everything()), "check", "metrics")
}
