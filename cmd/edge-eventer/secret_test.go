package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMissingSecretIsTheFirstThingThatAQuietClusterSays: no event comes, so no message finds out that there is no address to send it to.
func TestMissingSecretIsTheFirstThingThatAQuietClusterSays(t *testing.T) {
	t.Parallel()
	address, url := freeAddress(t), filepath.Join(t.TempDir(), "feishu-url")
	d := newDesk(t, "{name: ops, type: feishu, urlFile: "+url+"}")
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(string(text), `listen: ""`, "listen: "+address, 1) + "kubernetes: {kubeconfig: " + newEventServer(t, 0, 0).kubeconfig(t) + "}\n"
	if err := os.WriteFile(d.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said := d.run("", exitOK, "check-config", d.config); !strings.Contains(said, "receivers[0].urlFile: note: ") || !strings.Contains(said, "does not exist yet") {
		t.Errorf("check-config says: %s", said)
	}

	p := startAgent(t, d.config)
	p.waitForLog(url)
	ready := func() bool { code, _ := askPort(t, address, "localhost", "/readyz"); return code == http.StatusOK }
	status := func() string { out, _ := d.run("", exitOK, "status", "--config", d.config); return out }
	until(t, "status says that the receiver has no address", func() bool {
		_, body := askPort(t, address, "localhost", "/readyz")
		return strings.Contains(body, "receiver ops has no address or secret") && !strings.Contains(body, "cluster") && !strings.Contains(body, "API server")
	})
	if out := status(); !strings.HasPrefix(out, "NOT WORKING  shop-1\n  ! receiver ops has no address or secret") || ready() {
		t.Errorf("ready: %t; status says:\n%s", ready(), out)
	}

	if err := os.WriteFile(url, []byte("http://127.0.0.1:1/hook\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Nobody signals: it is seen within 15 seconds.
	until(t, "the agent is ready", ready)
	if out := status(); !strings.HasPrefix(out, "WORKING  shop-1\n") {
		t.Errorf("with the file, status says:\n%s", out)
	}
}
