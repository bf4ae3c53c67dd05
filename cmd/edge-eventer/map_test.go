package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const (
	guide    = "../../CONTRIBUTING.md"
	mapBegin = "<!-- The map is made by: go test ./cmd/edge-eventer -run TestMapOfPackages -update -->\n"
	mapEnd   = "<!-- The end of the map. -->\n"
	module   = "github.com/edge-eventer/edge-eventer/"
)

// TestMapOfPackagesIsThatOfTheCode keeps the table in CONTRIBUTING.md what `go list` says. A number of lines may be off by a fifth: else each change
// of the code would be one of the table.
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
	if *update {
		if err := os.WriteFile(guide, []byte(before+mapBegin+want+mapEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	told, made := strings.Split(old, "\n"), strings.Split(want, "\n")
	for i := range max(len(told), len(made)) {
		var a, b string
		if i < len(told) {
			a = told[i]
		}
		if i < len(made) {
			b = made[i]
		}
		if !sameRow(a, b) {
			t.Fatalf("the map in CONTRIBUTING.md says\n%s\nand go list\n%s\n-update writes it", a, b)
		}
	}
}

// sameRow compares two rows, and their numbers of lines nearly.
func sameRow(a, b string) bool {
	number := regexp.MustCompile(`\| \**([0-9,]+)\** \|`)
	lines := func(row string) int {
		n, _ := strconv.Atoi(strings.ReplaceAll(number.FindStringSubmatch(row + " | 0 |")[1], ",", ""))
		return n
	}
	told, is := lines(a), lines(b)
	return number.ReplaceAllString(a, "") == number.ReplaceAllString(b, "") && max(told-is, is-told) <= max(50, is/5)
}

// packageMap is a row for each package: how many lines of it are in the agent, what its comment says first, and which others it imports.
func packageMap(t *testing.T) string {
	t.Helper()
	list := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		return string(out)
	}
	shipped := make(map[string]bool)
	for pkg := range strings.FieldsSeq(list("-deps", ".")) {
		shipped[pkg] = true
	}
	var table strings.Builder
	table.WriteString("\n| package | lines | what it is | imports |\n|---|---|---|---|\n")
	all := 0
	for line := range strings.Lines(list("-f", `{{.ImportPath}}|{{.Doc}}|{{join .Imports " "}}|{{.Dir}}|{{join .GoFiles " "}}`, "../../...")) {
		part := strings.Split(strings.TrimSpace(line), "|")
		if len(part) != 5 {
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
		lines := ""
		if shipped[part[0]] {
			n := countLines(t, part[3], strings.Fields(part[4]))
			all += n
			lines = thousands(n)
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", name, lines, strings.TrimSuffix(strings.Join(words[2:], " "), "."), strings.Join(imports, " "))
	}
	fmt.Fprintf(&table, "| **the agent** | **%s** | lines of the packages that are linked into it, with comments | |\n\n", thousands(all))
	return table.String()
}

func countLines(t *testing.T, dir string, files []string) (n int) {
	t.Helper()
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(text, []byte("\n"))
	}
	return n
}

// thousands writes a number as people read it.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
