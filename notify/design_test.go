package notify_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/notify"
)

func TestWebhookDocumentIsAsTheDesignShows(t *testing.T) {
	s := webhookSubject()
	m := notify.Sample("shop-1", now)
	m.Losses = losses()[:1]
	var want bytes.Buffer
	if err := json.Indent(&want, render(t, s.receiver(t, "http://127.0.0.1:1"), m, notify.Full).Body, "", "  "); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), "```json\n")
	got, after, _ := strings.Cut(rest, "\n```")
	if *update {
		if err := os.WriteFile("DESIGN.md", []byte(before+"```json\n"+want.String()+"\n```"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("DESIGN.md (-want +got):\n%s", diff)
	}
}

// TestPackagesKnowOnlyWhatTheyStandOn keeps the layering: the core knows nothing but events and how texts are made fit, what receivers share knows the
// core, a receiver knows both and no other receiver. None knows Kubernetes, the spool or anything of the agent but its words for events.
func TestPackagesKnowOnlyWhatTheyStandOn(t *testing.T) {
	const own = "github.com/edge-eventer/edge-eventer/"
	shared := map[string][]string{
		"notify":           {"agent/event", "notify/untrusted"},
		"notify/untrusted": {},
		"notify/chat":      {"notify", "notify/untrusted"},
		"notify/record":    {"agent/event", "notify", "notify/untrusted"},
		"notify/template":  {"agent/event", "notify", "notify/chat", "notify/untrusted"},
	}
	ofReceivers := []string{"agent/event", "notify", "notify/chat", "notify/record", "notify/template", "notify/untrusted"}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := 0
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		pkg = strings.TrimPrefix(pkg, own)
		if strings.HasPrefix(pkg, "notify/notifytest") {
			continue
		}
		packages++
		allowed, isShared := shared[pkg]
		if !isShared {
			allowed = ofReceivers
		}
		for path := range strings.FieldsSeq(imports) {
			if ours, ok := strings.CutPrefix(path, own); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s; it may import %v", pkg, ours, allowed)
			}
			if strings.HasPrefix(path, "k8s.io/") {
				t.Errorf("%s imports %s", pkg, path)
			}
		}
	}
	if packages < 20 {
		t.Errorf("only %d packages: the test sees nothing", packages)
	}
}
