package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

// moody is a receiver that hangs, or answers without an end, and otherwise takes everything.
type moody struct {
	*httptest.Server

	mood           atomic.Pointer[string]
	hung, endless  atomic.Int64
	taken          atomic.Int64
	largestRequest atomic.Int64
}

func newMoody(t *testing.T) *moody {
	t.Helper()
	m := new(moody)
	m.set("well")
	m.Server = httptest.NewServer(m)
	t.Cleanup(func() {
		m.CloseClientConnections()
		m.Close()
	})
	return m
}

func (m *moody) set(mood string) { m.mood.Store(&mood) }

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	m.largestRequest.Store(max(m.largestRequest.Load(), n))
	switch *m.mood.Load() {
	case "hangs":
		m.hung.Add(1)
		<-r.Context().Done()
	case "endless":
		m.endless.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		for chunk := strings.Repeat("all is well ", 5000); ; {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	default:
		m.taken.Add(1)
	}
}

// TestHungAndEndlessReceiversAndHugeMessagesDoNotGrowMemory compares the peak before with the peak after: what grows once must not
// grow with the number of attempts or the length of a message.
func TestHungAndEndlessReceiversAndHugeMessagesDoNotGrowMemory(t *testing.T) {
	t.Parallel()
	cluster := clustertest.Shared(t)
	m := newMoody(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`cluster: test
kubernetes: {kubeconfig: %q, namespaces: [growth]}
spool: {path: %q}
server: {listen: ""}
notify: {groupWait: 100ms, timeout: 1s, maxBackoff: 1s}
receivers:
  - {name: archive, type: webhook, url: %q}
`, cluster.AgentKubeconfig, filepath.Join(dir, "spool", "spool.db"), m.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster.CreateEvents(t, 500, clustertest.EventTemplate{Namespace: "growth", Prefix: "usual"})
	p := startAgent(t, config)
	until(t, "the usual events are taken", func() bool { return m.taken.Load() > 0 })
	peak := func() int64 { return p.memory("VmHWM") }
	before := peak()
	report := func(what string) {
		if now := peak(); now > before+4<<20 {
			t.Errorf("%s: peak %s, before %s", what, mib(now), mib(before))
		} else {
			t.Logf("%s: peak %s, before %s", what, mib(now), mib(before))
		}
	}

	m.set("hangs")
	cluster.CreateEvents(t, 50, clustertest.EventTemplate{Namespace: "growth", Prefix: "hung"})
	until(t, "five attempts hung", func() bool { return m.hung.Load() >= 5 })
	report("a receiver that hangs")
	m.set("endless")
	until(t, "five answers without an end", func() bool { return m.endless.Load() >= 5 })
	report("an answer without an end")
	m.set("well")
	taken := m.taken.Load()
	until(t, "the receiver takes messages again", func() bool { return m.taken.Load() > taken })
	taken = m.taken.Load()
	cluster.CreateEvents(t, 20, clustertest.EventTemplate{Namespace: "growth", Prefix: "huge", MessageBytes: 1 << 20})
	until(t, "the huge messages are taken", func() bool { return m.taken.Load() > taken })
	report("messages of 1 MiB")
	if n := m.largestRequest.Load(); n > 1<<20 {
		t.Errorf("a request of %d bytes", n)
	}
}
