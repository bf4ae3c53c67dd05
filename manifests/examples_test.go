package manifests_test

import (
	"path/filepath"
	"strings"
	"testing"

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
