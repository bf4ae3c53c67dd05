package k3s_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func loadChart(t *testing.T, version string) *chart.Chart {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "../../scripts/chart", version, dir).CombinedOutput(); err != nil {
		t.Fatalf("scripts/chart: %v\n%s", err, out)
	}
	c, err := loader.Load(filepath.Join(dir, "edge-eventer"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render is `helm template RELEASE --namespace NAMESPACE` with Helm's own engine.
func render(t *testing.T, c *chart.Chart, release, namespace string, values map[string]any) []map[string]any {
	t.Helper()
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: release, Namespace: namespace, IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	for _, text := range files {
		list = append(list, objects(t, text)...)
	}
	return list
}

func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		var o map[string]any
		switch err := decoder.Decode(&o); {
		case err == io.EOF:
			return list
		case err != nil:
			t.Fatalf("%v\n%s", err, text)
		case len(o) > 0:
			list = append(list, o)
		}
	}
}

func asJSON(t *testing.T, list []map[string]any) string {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(list); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// same compares objects and prints the first line that differs.
func same(t *testing.T, what string, got, want []map[string]any) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	g, w := strings.Split(asJSON(t, got), "\n"), strings.Split(asJSON(t, want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("%s: line %d is %q, want %q", what, i, g[i], w[i])
			return
		}
	}
	t.Errorf("%s: %d lines, want %d", what, len(g), len(w))
}

func withoutNamespace(list []map[string]any) []map[string]any {
	return slices.DeleteFunc(list, func(o map[string]any) bool { return o["kind"] == "Namespace" })
}

// TestChartInstallsWhatTheManifestDoes but for the namespace, which Helm makes, for names and for values.
func TestChartInstallsWhatTheManifestDoes(t *testing.T) {
	c := loadChart(t, "0.1.0")
	plain, moving := withoutNamespace(objects(t, manifest(t, "edge-eventer.yaml"))), withoutNamespace(objects(t, manifest(t, "edge-eventer-several-servers.yaml")))
	same(t, "as it is", render(t, c, "edge-eventer", "edge-eventer", nil), plain)
	same(t, "movable", render(t, c, "edge-eventer", "edge-eventer", map[string]any{"movable": true}), moving)

	// Two releases beside each other share nothing.
	text := asJSON(t, render(t, c, "shop", "told", map[string]any{"secretName": "hooks"}))
	for _, line := range regexp.MustCompile(`"[^"]*(?:[nN]ame|namespace)": "edge-eventer[^"]*"`).FindAllString(text, -1) {
		if line != `"name": "edge-eventer"` || strings.Count(text, line) != 1 { // The container's.
			t.Errorf("another release has %s too", line)
		}
	}
	if !strings.Contains(text, `"secretName": "hooks"`) || !strings.Contains(text, `"namespace": "told"`) {
		t.Error("the secret's name or the namespace is not the given one")
	}
	if len(c.Values) > 5 {
		t.Errorf("%d values: they are to stay few", len(c.Values))
	}
}

func TestChartHasTheReleasesNumber(t *testing.T) {
	c := loadChart(t, "9.8.7-rc.1")
	if c.Metadata.Version != "9.8.7-rc.1" || c.Metadata.AppVersion != "9.8.7-rc.1" {
		t.Errorf("version %s, appVersion %s", c.Metadata.Version, c.Metadata.AppVersion)
	}
	if err := c.Metadata.Validate(); err != nil {
		t.Error(err)
	}
	if text := asJSON(t, render(t, c, "edge-eventer", "edge-eventer", nil)); !strings.Contains(text, "/edge-eventer:9.8.7-rc.1") {
		t.Error("the image has another tag")
	}
}

// TestHelmChartOfK3sIsTaken: its values are the chart's.
func TestHelmChartOfK3sIsTaken(t *testing.T) {
	text, err := os.ReadFile("../helmchart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec := objects(t, string(text))[0]["spec"].(map[string]any)
	values, err := chartutil.ReadValues([]byte(spec["valuesContent"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	c := loadChart(t, "0.1.0")
	for key := range values {
		if _, ok := c.Values[key]; !ok {
			t.Errorf("the chart has no value %s", key)
		}
	}
	if want := "/v" + c.Metadata.Version + "/edge-eventer-" + c.Metadata.Version + ".tgz"; !strings.HasSuffix(spec["chart"].(string), want) {
		t.Errorf("the chart is %s, want ...%s", spec["chart"], want)
	}
	for _, o := range render(t, c, "edge-eventer", spec["targetNamespace"].(string), values) {
		if o["kind"] != "ConfigMap" {
			continue
		}
		// That the agent takes it is tested in the agent's module.
		if got := o["data"].(map[string]any)["config.yaml"].(string); strings.TrimSpace(got) != strings.TrimSpace(values["config"].(string)) {
			t.Errorf("the configuration becomes\n%s", got)
		}
	}
}
