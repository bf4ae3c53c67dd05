//go:build bench

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

const (
	// archiveListed events are in the cluster when the agent starts, archiveMissed come while its receiver is away.
	archiveListed = 20_000
	archiveMissed = 20_000
)

// TestBenchDiskArchive prints what an archive costs the card, fold: event: a start with events that are listed in no order of time, an
// outage, and what is delivered after each.
func TestBenchDiskArchive(t *testing.T) {
	cluster := clustertest.Shared(t)
	template := clustertest.EventTemplate{Namespace: "archive", Prefix: "app", Scattered: true}
	cluster.CreateEvents(t, archiveListed, template)
	var away atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	dir, err := os.MkdirTemp(".", "bench-disk.")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	listen := freeAddress(t)
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("cluster: bench\nkubernetes: {kubeconfig: %q, namespaces: [archive]}\nspool: {path: %q, maxBytes: 64Mi}\nserver: {listen: %q}\n"+
		"notify: {maxBackoff: 5s}\nreceivers:\n  - {name: archive, type: webhook, fold: event, url: %q}\n",
		cluster.AgentKubeconfig, filepath.Join(dir, "spool.db"), listen, server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startAgent(t, config)
	const committed, delivered = `edge_eventer_events_total{result="committed"}`, `edge_eventer_delivered_events_total{receiver="archive"}`
	reach(t, p, listen, committed, archiveListed)
	reach(t, p, listen, delivered, archiveListed)
	first := use(t, p, listen)
	away.Store(true)
	template.From = archiveListed
	cluster.CreateEvents(t, archiveMissed, template)
	away.Store(false)
	reach(t, p, listen, delivered, archiveListed+archiveMissed)
	all := use(t, p, listen)
	fmt.Println("\n| archive, fold: event | events | commits | bytes/event |")
	fmt.Println("|---|---|---|---|")
	for _, row := range []struct {
		name   string
		events int64
		use    diskUse
	}{
		{"listed at start, delivered", archiveListed, first},
		{"an outage, delivered", archiveMissed, diskUse{all.bytes - first.bytes, all.commits - first.commits}},
		{"both", archiveListed + archiveMissed, all},
	} {
		fmt.Printf("| %s | %d | %d | %d |\n", row.name, row.events, row.use.commits, row.use.bytes/row.events)
	}
}

// reach waits until a metric of the agent has reached n.
func reach(t *testing.T, p *process, listen, name string, n int64) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Minute)
	for {
		got, err := metric(listen, name)
		if err == nil && got >= n {
			return
		}
		select {
		case <-tick.C:
		case <-p.done:
			t.Fatalf("the agent ended by itself:\n%s", p.log)
		case <-deadline:
			t.Fatalf("%s is %d of %d (%v):\n%s", name, got, n, err, p.log)
		}
	}
}
