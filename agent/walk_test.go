package agent

import (
	"go/parser"
	"go/token"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestTheWalkOfDocNamesWhatExists asks go doc for each function that doc.go leads past.
func TestTheWalkOfDocNamesWhatExists(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\[(github\.com/edge-eventer/edge-eventer/[a-z/]+)\.([A-Za-z.]+)\]`).FindAllStringSubmatch(file.Doc.Text(), -1)
	if len(links) < 12 || len(links) > 18 {
		t.Errorf("the walk has %d steps, want about 15", len(links))
	}
	for _, l := range links {
		out, err := exec.CommandContext(t.Context(), "go", "doc", l[1], l[2]).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "func ") && !strings.Contains(string(out), "interface {") {
			t.Errorf("%s.%s: %v\n%s", l[1], l[2], err, out)
		}
	}
}
