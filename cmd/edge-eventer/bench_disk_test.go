//go:build bench

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

const (
	benchIncidents = 50
	// benchFresh of a hundred events are of a new pod, the others repeat an event that the API server has.
	benchFresh = 10
)

// diskUse is what the agent had written at one moment: bytes of pages, and transactions of two fsyncs each.
type diskUse struct {
	bytes, commits int64
}

// TestBenchDisk prints what scripts/bench-disk promises.
func TestBenchDisk(t *testing.T) {
	cluster := clustertest.Shared(t)
	fmt.Println("| steady events of 50 incidents | seconds | events | commits | bytes/event | fsyncs/event | file, KiB |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, run := range []struct {
		name     string
		rate     int
		duration time.Duration
		receiver string
	}{
		{"1 a second, feishu", 1, 4 * time.Minute, "type: feishu"},
		{"10 a second, feishu", 10, 4 * time.Minute, "type: feishu"},
		{"100 a second, feishu", 100, time.Minute, "type: feishu"},
		{"10 a second, webhook archive", 10, 2 * time.Minute, "type: webhook"},
	} {
		benchDisk(t, cluster, run.name, run.rate, run.duration, run.receiver)
	}
}

func benchDisk(t *testing.T, cluster *clustertest.Cluster, name string, rate int, duration time.Duration, receiver string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if receiver == "type: feishu" {
			answer, _ := new(notifytest.Feishu).Judge(r, body, time.Now())
			_, _ = io.WriteString(w, answer.Body)
		}
	}))
	defer server.Close()
	// The files must lie on a disk: the kernel counts no bytes written to memory.
	dir, err := os.MkdirTemp(".", "bench-disk.")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	listen := freeAddress(t)
	config := filepath.Join(dir, "config.yaml")
	path := filepath.Join(dir, "spool.db")
	namespace := "bench-" + regexp.MustCompile(`\W+`).ReplaceAllString(name, "-")
	text := fmt.Sprintf("cluster: bench\nkubernetes: {kubeconfig: %q, namespaces: [%q]}\nspool: {path: %q}\nserver: {listen: %q}\nreceivers:\n  - {name: ops, %s, url: \"%s/open-apis/bot/v2/hook/x\"}\n",
		cluster.AgentKubeconfig, namespace, path, listen, receiver, server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Each event is of a deployment of its own, so each is an incident.
	var names []string
	for i := range benchIncidents {
		names = append(names, cluster.CreateEvents(t, 1, clustertest.EventTemplate{Namespace: namespace, Prefix: fmt.Sprintf("app%02d", i)})...)
	}
	p := startAgent(t, config)
	// The first alerts are out.
	settle := time.NewTimer(15 * time.Second)
	<-settle.C
	before := use(t, p, listen)
	tick := time.NewTicker(time.Second / time.Duration(min(rate, 10)))
	defer tick.Stop()
	begin, events, count := time.Now(), 0, int32(1)
	for time.Since(begin) < duration {
		<-tick.C
		var repeats []string
		for range max(1, rate/10) {
			if events%100 < benchFresh {
				cluster.CreateEvents(t, 1, clustertest.EventTemplate{Namespace: namespace, Prefix: fmt.Sprintf("app%02d", events%benchIncidents), From: 1 + events})
			} else {
				repeats = append(repeats, names[events%benchIncidents])
			}
			if events++; events%benchIncidents == 0 {
				count++
			}
		}
		cluster.PatchEvents(t, namespace, repeats, count+1)
	}
	took := time.Since(begin)
	after := use(t, p, listen)
	p.signal(syscall.SIGTERM)
	p.exit()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	n := float64(events)
	commits := after.commits - before.commits
	fmt.Printf("| %s | %.0f | %d | %d | %.0f | %.3f | %d |\n", name, took.Seconds(), events, commits,
		float64(after.bytes-before.bytes)/n, 2*float64(commits)/n, info.Size()>>10)
}

// use asks the kernel and the agent.
func use(t *testing.T, p *process, listen string) diskUse {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\nwrite_bytes: ")
	line, _, _ := strings.Cut(rest, "\n")
	bytes, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	commits, err := metric(listen, "edge_eventer_fsync_duration_seconds_count")
	if err != nil {
		t.Fatal(err)
	}
	return diskUse{bytes, commits}
}

// metric asks the agent for a metric, which is named as it stands in the exposition, with its labels.
func metric(listen, name string) (int64, error) {
	response, err := http.Get("http://" + listen + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(line, 10, 64)
}
