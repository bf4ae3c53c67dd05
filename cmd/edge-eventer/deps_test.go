package main

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// forbidden packages and why. A prefix that ends in a slash covers everything below it.
var forbidden = map[string]string{
	"k8s.io/client-go/kubernetes":                               "the clientset registers 57 API groups at start: 20 MB of binary, 12 MB of memory",
	"k8s.io/client-go/kubernetes/":                              "typed clients import the scheme of all API groups",
	"k8s.io/client-go/informers":                                "an informer keeps every event in memory",
	"k8s.io/client-go/tools/cache":                              "a reflector holds all pages of a list before it hands them on",
	"k8s.io/client-go/dynamic":                                  "unstructured objects are maps of maps",
	"k8s.io/client-go/discovery":                                "the one resource that is asked for is known",
	"github.com/prometheus/client_golang/":                      "42 packages for a text format, protobuf among them",
	"google.golang.org/protobuf/proto":                          "it brings reflection over descriptors, which are decoded at start and stay in memory; protowire is enough",
	"google.golang.org/protobuf/reflect/":                       "descriptors are decoded at start and stay in memory",
	"google.golang.org/protobuf/runtime/":                       "generated messages register their descriptors at start",
	"google.golang.org/grpc":                                    "nothing here speaks it",
	"github.com/google/gnostic-models/":                         "OpenAPI descriptors: 3 MB, for discovery only",
	"k8s.io/kube-openapi/pkg/validation/":                       "OpenAPI, for discovery only",
	"k8s.io/kube-openapi/pkg/handler3":                          "OpenAPI, for discovery only",
	"k8s.io/kubernetes/":                                        "the control plane of the tests lives in a module of its own",
	"github.com/spf13/cobra/doc":                                "the man page is made by a test",
	"github.com/cpuguy83/go-md2man/":                            "cobra's man pages come by way of Markdown; ours is made by a test",
	"github.com/russross/blackfriday/":                          "a parser of Markdown",
	"github.com/spf13/viper":                                    "one file, decoded strictly, is the whole configuration",
	"testing":                                                   "test code in the binary",
	"net/http/httptest":                                         "test code in the binary",
	"net/http/pprof":                                            "a profile endpoint on a device in the field is an attack surface",
	"expvar":                                                    "registers on the default mux as a side effect of an import",
	"github.com/edge-eventer/edge-eventer/agent/clustertest":    "test code in the binary",
	"github.com/edge-eventer/edge-eventer/agent/clustertest/":   "test code in the binary",
	"github.com/edge-eventer/edge-eventer/agent/dial/namestest": "test code in the binary",
	"github.com/edge-eventer/edge-eventer/notify/notifytest":    "test code in the binary",
}

func TestNoForbiddenPackageIsLinked(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list -deps: %v", err)
	}
	linked := strings.Fields(string(out))
	if len(linked) < 100 {
		t.Fatalf("go list names only %d packages: the test sees nothing", len(linked))
	}
	for _, pkg := range linked {
		for bad, why := range forbidden {
			if pkg == bad || strings.HasSuffix(bad, "/") && strings.HasPrefix(pkg, bad) {
				t.Errorf("%s is linked into the agent: %s", pkg, why)
			}
		}
	}
	t.Logf("%d packages are linked", len(linked))
}

// TestLinkerDropsMethodsThatNobodyCalls: where a function that can be reached looks a method up by a name that is known only when it runs, the
// linker keeps every method of every type, which is 2.1 MB of binary and 2 MiB of its pages in memory. text/template does that; it may be among the
// packages, since cobra names its types, but not its executor among the functions.
func TestLinkerDropsMethodsThatNobodyCalls(t *testing.T) {
	functions := linkedFunctions(t)
	const ours = "github.com/DataDog/datadog-agent/pkg/template/text.(*state).walk"
	if len(functions) < 5000 || !functions[ours] {
		t.Fatalf("%d functions, %s among them: %t; the test sees nothing", len(functions), ours, functions[ours])
	}
	// The type checker of the standard library's executor, and an encoder of time that nothing here calls.
	for _, unwanted := range []string{"text/template.(*state).evalField", "html/template.(*Template).execute", "time.(*Time).GobDecode"} {
		if functions[unwanted] {
			t.Errorf("%s is linked: something reaches a look-up of methods by name", unwanted)
		}
	}
}

// linkedFunctions are the names of all functions in the agent that is shipped, which has no symbols but those that stack traces need.
func linkedFunctions(t *testing.T) map[string]bool {
	t.Helper()
	path, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := file.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(lines, file.Section(".text").Addr))
	if err != nil {
		t.Fatal(err)
	}
	functions := make(map[string]bool, len(table.Funcs))
	for i := range table.Funcs {
		functions[table.Funcs[i].Name] = true
	}
	return functions
}

// TestOnlyWatchKnowsKubernetes holds the layering: Kubernetes types stay at the edge where events come in.
func TestOnlyWatchKnowsKubernetes(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "../../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		pkg = strings.TrimPrefix(pkg, "github.com/edge-eventer/edge-eventer/")
		// Scripts play the cluster, and are in no binary that is shipped.
		if pkg == "agent/watch/apiclient" || strings.HasPrefix(pkg, "agent/clustertest") || strings.HasPrefix(pkg, "scripts/") {
			continue
		}
		for imported := range strings.FieldsSeq(imports) {
			// Sizes in the configuration are Kubernetes quantities; the package knows numbers only.
			if pkg == "agent/config" && imported == "k8s.io/apimachinery/pkg/api/resource" {
				continue
			}
			if strings.HasPrefix(imported, "k8s.io/") {
				t.Errorf("%s imports %s: only agent/watch/apiclient may", pkg, imported)
			}
		}
	}
}

// TestNoForeignCodeIsInTheTree: what others wrote comes as a module, with its licence and its updates.
func TestNoForeignCodeIsInTheTree(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	notice := regexp.MustCompile(`(?i)copyright[: ]*(\(c\)|©|[12][0-9]{3})|The Go ` + `Authors|all rights ` + `reserved|^\s*(//|#|/?\*) *SPDX-License-` + `Identifier|licensed under ` + `the`)
	words := [][]byte{[]byte("copyright"), []byte("the go " + "authors"), []byte("all rights"), []byte("spdx-license"), []byte("licensed under")}
	own := "2026 The edge-eventer authors"
	read, notices := 0, 0
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if name == "LICENSE" {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			// It is deleted, and not yet committed.
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		read++
		// The expression takes a hundred times as long as the search for its words.
		if lower := bytes.ToLower(text); !slices.ContainsFunc(words, func(word []byte) bool { return bytes.Contains(lower, word) }) {
			continue
		}
		for line := range strings.Lines(string(text)) {
			switch {
			case !notice.MatchString(line):
			case strings.Contains(line, own):
				notices++
			default:
				t.Errorf("%s is somebody else's: %.200s", name, strings.TrimSpace(line))
			}
		}
	}
	if read < 300 || notices == 0 {
		t.Errorf("%d files with %d notices of our own: the test sees nothing", read, notices)
	}
}

func TestModuleHasNoReplaceLines(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "replace") {
			t.Errorf("go.mod: %s: `go install` refuses a module that replaces others", strings.TrimSpace(line))
		}
	}
}

// TestNoTestIsSkipped: what a machine cannot do is left out by scripts/test, with a line that says so, and not within a test that then counts as
// passed. The two helpers that leave out what -short leaves out are no tests.
func TestNoTestIsSkipped(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "grep", "-nE", "--untracked", `\.Skip(f|Now)?\(|^\s*testing\.TB$`, "--", "*_test.go").Output()
	// git grep ends with 1 where it finds nothing.
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "cmd/edge-eventer/deps_test.go:") {
			t.Errorf("a test that may be skipped, or a testing.TB that is none: %s", strings.TrimSpace(line))
		}
	}
}
