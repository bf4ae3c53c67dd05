package notify_test

import (
	"bytes"
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/notify"
)

func TestWebhookDocumentIsAsTheDesignShows(t *testing.T) {
	s := webhookSubject()
	m := notify.Sample(notify.Config{Cluster: "shop-1"}, now)
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

// TestPackageKnowsNothingOfTheOthers keeps the layering: receivers are usable without Kubernetes, spool and agent, and
// only notify/template knows who executes templates.
func TestPackageKnowsNothingOfTheOthers(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			if path == "github.com/edge-eventer/edge-eventer/notify/template" {
				continue
			}
			if strings.Contains(path, ".") || strings.Contains(path, "template") {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
