package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const (
	guide    = "../../CONTRIBUTING.md"
	mapBegin = "<!-- The map is made by: go test ./cmd/edge-eventer -run TestMapOfPackages -update -->\n"
	mapEnd   = "<!-- The end of the map. -->\n"
)

// TestMapOfPackagesIsThatOfTheCode keeps the table in CONTRIBUTING.md what `go list` says.
func TestMapOfPackagesIsThatOfTheCode(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), mapBegin)
	old, after, ends := strings.Cut(rest, mapEnd)
	if !ok || !ends {
		t.Fatalf("%s has no map between %q and %q", guide, mapBegin, mapEnd)
	}
	want := packageMap(t)
	if old == want {
		return
	}
	if !*update {
		t.Fatalf("the map in CONTRIBUTING.md is another one; -update writes\n%s", want)
	}
	if err := os.WriteFile(guide, []byte(before+mapBegin+want+mapEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// packageMap is a row for each package: what its comment says first, and which others it imports.
func packageMap(t *testing.T) string {
	t.Helper()
	const module = "github.com/edge-eventer/edge-eventer/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}|{{.Doc}}|{{join .Imports " "}}`, "../../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var table strings.Builder
	table.WriteString("\n| package | what it is | imports |\n|---|---|---|\n")
	for line := range strings.Lines(string(out)) {
		part := strings.Split(strings.TrimSpace(line), "|")
		if len(part) != 3 {
			t.Fatalf("go list says %q", line)
		}
		name := strings.TrimPrefix(part[0], module)
		var imports []string
		for imported := range strings.FieldsSeq(part[2]) {
			if own, ok := strings.CutPrefix(imported, module); ok {
				imports = append(imports, "`"+own+"`")
			}
		}
		// "Package link knows" and "Command soak runs" say the name once more.
		words := strings.Fields(part[1])
		if len(words) < 3 {
			t.Errorf("%s has no comment", name)
			continue
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", name, strings.TrimSuffix(strings.Join(words[2:], " "), "."), strings.Join(imports, " "))
	}
	table.WriteString("\n")
	return table.String()
}
