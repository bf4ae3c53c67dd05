package agent_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The packages of an event's way, in its order. Each may know those before it.
var way = []string{
	"agent/event", "agent/watch/stream", "agent/watch/apiclient", "agent/watch/health", "agent/watch", "agent/filter", "agent/ledger", "agent/incident",
	"agent/intake", "agent/inbox", "agent/deliver",
}

// handsOver is what a stage of the way knows of one behind it.
var handsOver = map[string][]string{
	// What was taken goes into the inboxes, in the transaction that takes it.
	"agent/intake": {"agent/inbox"},
}

// standsOn is what packages know that serve many, or stand at an end: of the agent, only what is named.
var standsOn = map[string][]string{
	"agent/event":           {},
	"agent/watch/stream":    {"agent/event"},
	"agent/watch/apiclient": {"agent/watch/stream"},
	"agent/watch/health":    {"agent/watch/stream", "agent/watch/apiclient"},
	"agent/watch":           {"agent/event", "agent/watch/stream", "agent/watch/apiclient", "agent/watch/health"},
	"agent/filter":          {"agent/event"},
	"agent/dial":            {"agent/dial/budget"},
	"agent/dial/budget":     {},
	"agent/dial/namestest":  {},
	"agent/link":            {},
	// The document imports nothing of the agent: what it is filled from may know it.
	"agent/memory":                 {"agent/status"},
	"agent/status":                 {},
	"agent/retry":                  {},
	"agent/lifecycle":              {},
	"agent/server":                 {},
	"agent/clustertest":            {},
	"agent/clustertest/faultproxy": {"agent/clustertest"},
}

// forTests are imported by tests and by the programs that measure.
var forTests = []string{"agent/agenttest", "agent/clustertest", "agent/config/configtest", "agent/dial/namestest", "notify/notifytest"}

// TestNoArrowRunsBack holds the borders between the packages of the agent: the compiler refuses circles, and this what would only bend
// the way of an event back.
func TestNoArrowRunsBack(t *testing.T) {
	const module = "github.com/edge-eventer/edge-eventer/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"agent/...", module+"cmd/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	met := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		pkg = strings.TrimPrefix(pkg, module)
		met[pkg] = true
		for path := range strings.FieldsSeq(imports) {
			if imported, ok := strings.CutPrefix(path, module); ok {
				if why := border(pkg, imported); why != "" {
					t.Errorf("%s imports %s: %s", pkg, imported, why)
				}
			}
		}
	}
	for _, pkg := range way {
		if !met[pkg] {
			t.Errorf("there is no %s: the test sees nothing", pkg)
		}
	}
	for pkg := range standsOn {
		if !met[pkg] {
			t.Errorf("there is no %s: the test sees nothing", pkg)
		}
	}
}

// border says why one package may not know the other; empty: it may.
func border(pkg, imported string) string {
	within := func(of string) bool { return imported == of || strings.HasPrefix(imported, of+"/") }
	if slices.ContainsFunc(forTests, within) && !slices.ContainsFunc(forTests, func(of string) bool {
		return pkg == of || strings.HasPrefix(pkg, of+"/")
	}) {
		return "it is for tests"
	}
	if !strings.HasPrefix(imported, "agent") {
		return ""
	}
	if strings.HasPrefix(pkg, "agent/") && imported == "agent" && pkg != "agent/agenttest" {
		return "the agent puts its parts together, and no part knows the whole"
	}
	if allowed, ok := standsOn[pkg]; ok && !slices.Contains(allowed, imported) {
		return "it may know " + strings.Join(allowed, ", ") + " and nothing else of the agent"
	}
	from, to := slices.Index(way, pkg), slices.Index(way, imported)
	if from >= 0 && to > from && !slices.Contains(handsOver[pkg], imported) {
		return "that stage is behind it on an event's way"
	}
	return ""
}

func TestABorderIsSeen(t *testing.T) {
	for _, c := range [][2]string{
		{"agent/incident", "agent/intake"}, {"agent/inbox", "agent/deliver"}, {"agent/event", "agent/filter"}, {"agent/link", "agent/dial"},
		{"agent/deliver", "agent"}, {"agent/watch", "agent/clustertest/faultproxy"}, {"cmd/edge-eventer", "notify/notifytest"},
	} {
		if border(c[0], c[1]) == "" {
			t.Errorf("%s may import %s", c[0], c[1])
		}
	}
	for _, c := range [][2]string{{"agent/intake", "agent/inbox"}, {"agent/deliver", "agent/event"}, {"agent", "agent/deliver"}, {"agent/watch", "agent/event"}} {
		if why := border(c[0], c[1]); why != "" {
			t.Errorf("%s may not import %s: %s", c[0], c[1], why)
		}
	}
}
