//go:build bench

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

// ticksPerSecond is the unit of times in proc(5) stat: USER_HZ, 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// TestBenchIntake prints what scripts/bench-intake promises.
func TestBenchIntake(t *testing.T) {
	cluster := clustertest.Shared(t)
	fmt.Println("| intake | events | seconds | events/s | CPU s per 1,000 | events/s of one core |")
	fmt.Println("|---|---|---|---|---|---|")

	const listed = 20_000
	for app := range 100 {
		cluster.CreateEvents(t, listed/100, clustertest.EventTemplate{Namespace: "intake", Prefix: fmt.Sprintf("app%02d", app)})
	}
	benchIntake(t, "list of the real control plane at start, 100 incidents", listed, cluster.AgentKubeconfig, "incident")
	benchIntake(t, "list of the real control plane at start, each event a record", listed, cluster.AgentKubeconfig, "event")

	const watched = 50_000
	for _, incidents := range []int{50, watched} {
		server := httptest.NewServer(watchOf(watched, incidents))
		// The last repeats wait up to a minute for a batch that never fills.
		benchIntake(t, fmt.Sprintf("watch replayed from memory, %d incidents", incidents), watched-512, anonymous(t, server.URL), "incident")
		server.CloseClientConnections()
		server.Close()
	}
}

func benchIntake(t *testing.T, name string, events int, kubeconfig, fold string) {
	dir, err := os.MkdirTemp(".", "bench-intake.")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	listen := freeAddress(t)
	config := filepath.Join(dir, "config.yaml")
	// The receiver is away: what is measured is the way into the spool.
	text := fmt.Sprintf("cluster: bench\nkubernetes: {kubeconfig: %q}\nspool: {path: %q, maxBytes: 128Mi}\nserver: {listen: %q}\nreceivers:\n  - {name: ops, type: webhook, fold: %s, url: \"http://127.0.0.1:1/\"}\n",
		kubeconfig, filepath.Join(dir, "spool.db"), listen, fold)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(path, "run", "--config", config)
	command.Env = append(os.Environ(), "GOMAXPROCS=1")
	begin := time.Now()
	p := start(t, command)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for committedEvents(listen) < events {
		select {
		case <-tick.C:
		case <-p.done:
			t.Fatalf("the agent ended by itself:\n%s", p.log)
		case <-time.After(2 * time.Minute):
			t.Fatalf("%d of %d events committed", committedEvents(listen), events)
		}
		if time.Since(begin) > 5*time.Minute {
			t.Fatalf("%d of %d events committed", committedEvents(listen), events)
		}
	}
	took, cpu := time.Since(begin), cpuSeconds(t, p)
	p.signal(syscall.SIGTERM)
	p.exit()
	n := float64(events)
	fmt.Printf("| %s | %d | %.1f | %.0f | %.3f | %.0f |\n", name, events, took.Seconds(), n/took.Seconds(), cpu*1000/n, n/cpu)
}

// committedEvents asks the agent; 0 while it does not answer.
func committedEvents(listen string) int {
	n, err := metric(listen, `edge_eventer_events_total{result="committed"}`)
	if err != nil {
		return 0
	}
	return int(n)
}

// cpuSeconds returns user and system time of the process so far.
func cpuSeconds(t *testing.T, p *process) float64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// The name in parentheses may hold blanks; utime and stime are the 12th and 13th field behind it.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		t.Fatal(err)
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		t.Fatal(err)
	}
	return float64(user+system) / ticksPerSecond
}

// watchOf is an API server with an empty list and a watch that shows n events of so many incidents as fast as they are read.
func watchOf(n, incidents int) http.Handler {
	var frames bytes.Buffer
	at := time.Now().UTC().Format(time.RFC3339)
	for i := range n {
		fmt.Fprintf(&frames, `{"type":"ADDED","object":{"kind":"Event","apiVersion":"v1","metadata":{"name":"app%d.%x","namespace":"shop",`+
			`"uid":"%08x-5b1c-4c43-8e0a-%012x","resourceVersion":"%d","creationTimestamp":%q},"involvedObject":{"kind":"Pod","namespace":"shop",`+
			`"name":"app%d-7d9f8c6b5d-x2x4z","uid":"0f0f0f0f-5b1c-4c43-8e0a-9b7d0f4a5e11","apiVersion":"v1","resourceVersion":"17","fieldPath":"spec.containers{app}"},`+
			`"reason":"BackOff","message":"Back-off restarting failed container app in pod app%d-7d9f8c6b5d-x2x4z_shop(0f0f0f0f-5b1c-4c43-8e0a-9b7d0f4a5e11)",`+
			`"source":{"component":"kubelet","host":"pi-3"},"firstTimestamp":%q,"lastTimestamp":%q,"count":1,"type":"Warning","eventTime":null,`+
			`"reportingComponent":"kubelet","reportingInstance":"pi-3"}}`+"\n",
			i%incidents, i, uint32(i)*2654435761, i, 1001+i, at, i%incidents, i%incidents, at, at)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("watch") == "" {
			_, _ = fmt.Fprint(w, `{"kind":"EventList","apiVersion":"v1","metadata":{"resourceVersion":"1000"},"items":[]}`)
			return
		}
		if r.FormValue("resourceVersion") == "1000" {
			_, _ = w.Write(frames.Bytes())
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
}
