package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// forbidden packages and why. A prefix that ends in a slash covers everything below it.
var forbidden = map[string]string{
	"k8s.io/client-go/kubernetes":                            "the clientset registers 57 API groups at start: 20 MB of binary, 12 MB of memory",
	"k8s.io/client-go/kubernetes/":                           "typed clients import the scheme of all API groups",
	"k8s.io/client-go/informers":                             "an informer keeps every event in memory",
	"k8s.io/client-go/tools/cache":                           "a reflector holds all pages of a list before it hands them on",
	"k8s.io/client-go/dynamic":                               "unstructured objects are maps of maps",
	"k8s.io/client-go/discovery":                             "the one resource that is asked for is known",
	"github.com/prometheus/client_golang/":                   "42 packages for a text format, protobuf among them",
	"google.golang.org/protobuf/proto":                       "it brings reflection over descriptors, which are decoded at start and stay in memory; protowire is enough",
	"google.golang.org/protobuf/reflect/":                    "descriptors are decoded at start and stay in memory",
	"google.golang.org/protobuf/runtime/":                    "generated messages register their descriptors at start",
	"google.golang.org/grpc":                                 "nothing here speaks it",
	"github.com/google/gnostic-models/":                      "OpenAPI descriptors: 3 MB, for discovery only",
	"k8s.io/kube-openapi/pkg/validation/":                    "OpenAPI, for discovery only",
	"k8s.io/kube-openapi/pkg/handler3":                       "OpenAPI, for discovery only",
	"k8s.io/kubernetes/":                                     "the control plane of the tests lives in a module of its own",
	"github.com/spf13/cobra/doc":                             "the man page is made by a test",
	"testing":                                                "test code in the binary",
	"net/http/httptest":                                      "test code in the binary",
	"net/http/pprof":                                         "a profile endpoint on a device in the field is an attack surface",
	"expvar":                                                 "registers on the default mux as a side effect of an import",
	"github.com/edge-eventer/edge-eventer/agent/clustertest": "test code in the binary",
	"github.com/edge-eventer/edge-eventer/notify/notifytest": "test code in the binary",
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

// TestNoTemplateOfTheStandardLibraryIsLinked looks for its executor: it finds methods by name, so the linker keeps all methods of all types,
// 2.4 MB. Cobra imports the package, and its executor is left out as long as no command has a template of its own.
func TestNoTemplateOfTheStandardLibraryIsLinked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edge-eventer")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", path).Output()
	if err != nil || !strings.Contains(string(symbols), "github.com/spf13/cobra.(*Command).execute") {
		t.Fatalf("go tool nm shows nothing of cobra: %v", err)
	}
	if strings.Contains(string(symbols), " text/template.(*Template).Execute") {
		t.Error("text/template.(*Template).Execute is linked into the agent")
	}
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
		if pkg == "agent/watch" || pkg == "agent/clustertest" || strings.HasPrefix(pkg, "scripts/") {
			continue
		}
		for imported := range strings.FieldsSeq(imports) {
			if strings.HasPrefix(imported, "k8s.io/") {
				t.Errorf("%s imports %s: only agent/watch may", pkg, imported)
			}
		}
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
