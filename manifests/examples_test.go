package manifests_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/edge-eventer/edge-eventer/agent/config"
)

// TestExamplesAreTakenByTheAgent: what people copy works as it is.
func TestExamplesAreTakenByTheAgent(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		text := readText(t, file)
		c, err := config.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if !strings.HasPrefix(text, "# ") {
			t.Errorf("%s does not say what it is for", file)
		}
		// The kubelet's probes in a pod; on a bare node nobody else.
		if pod := strings.Contains(text, "/run/secrets/edge-eventer/"); pod != strings.HasPrefix(c.Server.Listen, ":") {
			t.Errorf("%s listens on %q", file, c.Server.Listen)
		}
		if strings.Contains(text, "url: https://open.") || strings.Contains(text, "secret: ") {
			t.Errorf("%s has a secret in it", file)
		}
	}
}

// TestConfigurationOfTheHelmChartIsTakenByTheAgent looks into the values in K3s's HelmChart.
func TestConfigurationOfTheHelmChartIsTakenByTheAgent(t *testing.T) {
	objects, _ := readManifest(t, "helmchart.yaml")
	content, _ := objects[0].at("spec", "valuesContent").(string)
	var values struct{ Config string }
	if err := yaml.Unmarshal([]byte(content), &values); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse([]byte(values.Config))
	if err != nil {
		t.Fatal(err)
	}
	if c.Cluster != "shop-17" || c.Server.Listen != ":8080" {
		t.Errorf("cluster %q, listens on %q", c.Cluster, c.Server.Listen)
	}
}
