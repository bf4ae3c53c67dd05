package clustertest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/agent/clustertest/faultproxy"
)

const listPath = "/api/v1/events"

// patience is how long a test waits for what the control plane does in its own time.
const patience = 2 * time.Minute

// eventually asks until ask says that it is so.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !ask() {
		select {
		case <-ctx.Done():
			t.Fatalf("not after %s: %s", patience, what)
		case <-ticker.C:
		}
	}
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// agentStatus returns the status code of the API server's answer to the agent.
func agentStatus(t *testing.T, c *clustertest.Cluster, client *http.Client, path string) int {
	t.Helper()
	resp, _, err := get(t, client, c.Server+path)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func TestControlPlaneIsTheOneAskedFor(t *testing.T) {
	c := clustertest.Shared(t)
	_, body, err := get(t, clustertest.Client(t, c.AdminKubeconfig), c.Server+"/version")
	if err != nil {
		t.Fatal(err)
	}
	var version struct{ Major, Minor, GitVersion string }
	if err := json.Unmarshal([]byte(body), &version); err != nil {
		t.Fatal(err)
	}
	if version.Major != "1" || version.Minor != "36" || version.GitVersion != "v1.36.3" {
		t.Errorf("it is %+v", version)
	}
}

func TestAgentMayReadEventsAndNothingElse(t *testing.T) {
	c := clustertest.Shared(t)
	client := clustertest.Client(t, c.AgentKubeconfig)
	for path, want := range map[string]int{
		"/api/v1/events": 200,
		"/api/v1/namespaces/default/events?fieldSelector=type%3DWarning": 200,
		"/api/v1/events?watch=true&timeoutSeconds=1":                     200,
		"/api/v1/secrets":                            403,
		"/api/v1/pods":                               403,
		"/api/v1/namespaces":                         403,
		"/api/v1/nodes":                              403,
		"/apis/events.k8s.io/v1/events":              403,
		"/apis/apps/v1/deployments":                  403,
		"/api/v1/namespaces/edge-eventer/configmaps": 403,
	} {
		if got := agentStatus(t, c, client, path); got != want {
			t.Errorf("GET %s: %d, want %d", path, got, want)
		}
	}
	names := c.CreateEvents(t, 1, clustertest.EventTemplate{Namespace: "identity"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, c.Server+"/api/v1/namespaces/identity/events/"+names[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("the agent deletes an event: %s", resp.Status)
	}
}

func TestWorkloadMakesWarningsOfManyKinds(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Workload: true})
	began := time.Now()
	seen := make(map[string]bool)
	wanted := []string{
		"FailedCreate ReplicaSet checkout", "FailedCreate ReplicaSet kiosk-display", "FailedScheduling Pod price-labels",
		"FailedScheduling Pod sales-db", "ProvisioningFailed PersistentVolumeClaim data-sales-db", "BackoffLimitExceeded Job stock-sync",
		"DeadlineExceeded Job price-import", "FailedGetResourceMetric HorizontalPodAutoscaler kiosk-display",
		"FailedGetScale HorizontalPodAutoscaler queue-tickets",
	}
	eventually(t, "every kind of Warning was written", func() bool {
		events, _ := c.Events(t, "", corev1.EventTypeWarning)
		for _, e := range events {
			kind := fmt.Sprintf("%s %s %s", e.Reason, e.InvolvedObject.Kind, e.InvolvedObject.Name)
			if !seen[kind] {
				seen[kind] = true
				t.Logf("%4.1f s: %s: %.150s", time.Since(began).Seconds(), kind, e.Message)
			}
		}
		return !slices.ContainsFunc(wanted, func(prefix string) bool {
			for kind := range seen {
				if strings.HasPrefix(kind, prefix) {
					return false
				}
			}
			return true
		})
	})
}

func TestCreatedEventsAreAllThere(t *testing.T) {
	c := clustertest.Shared(t)
	// More than a page of what Events asks for.
	const n = 1100
	names := c.CreateEvents(t, n, clustertest.EventTemplate{Namespace: "many", Prefix: "web", Objects: 50, MessageBytes: 300})
	c.CreateEvents(t, 3, clustertest.EventTemplate{Namespace: "many", Prefix: "fine", Type: corev1.EventTypeNormal})
	c.PatchEvents(t, "many", names[:20], 7)
	version := c.PatchEvent(t, "many", names[0], 30)
	c.DeleteEvents(t, "many", names[n-10:]...)

	events, listVersion := c.Events(t, "many", corev1.EventTypeWarning)
	if len(events) != n-10 {
		t.Errorf("%d events, want %d", len(events), n-10)
	}
	objects := make(map[string]bool)
	for i, e := range events {
		objects[e.InvolvedObject.Name] = true
		want := int32(1)
		if i < 20 {
			want = 7
		}
		if i == 0 {
			want = 30
		}
		if e.Name != names[i] || e.Count != want || len(e.Message) != 300 {
			t.Fatalf("event %d is %s, count %d, message of %d bytes; want %s, %d", i, e.Name, e.Count, len(e.Message), names[i], want)
		}
	}
	if len(objects) != 50 {
		t.Errorf("they are of %d pods, want 50", len(objects))
	}
	if events[0].ResourceVersion != version {
		t.Errorf("the patched event has resourceVersion %s, want %s", events[0].ResourceVersion, version)
	}
	if number(t, listVersion) <= number(t, version) {
		t.Errorf("the list has resourceVersion %s, not after %s", listVersion, version)
	}
}

func number(t *testing.T, version string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		t.Fatalf("resourceVersion %q is no number", version)
	}
	return n
}

func TestStoredEventsAreAllThereAndTakenForCreatedOnes(t *testing.T) {
	c := clustertest.Shared(t)
	names := c.StoreEvents(t, 1100, clustertest.EventTemplate{Namespace: "stored", Objects: 50})
	c.PatchEvent(t, "stored", names[1099], 7)
	c.DeleteEvents(t, "stored", names[1098])
	events, _ := c.Events(t, "stored", corev1.EventTypeWarning)
	if len(events) != 1099 {
		t.Fatalf("%d events, want 1,099", len(events))
	}
	created, stored := events[0], events[1]
	if stored.Name != names[1] || stored.UID == created.UID || len(stored.ManagedFields) != len(created.ManagedFields) || len(stored.ManagedFields) == 0 {
		t.Errorf("stored as %+v", stored)
	}
	if last := events[1098]; last.Name != names[1099] || last.Count != 7 {
		t.Errorf("the last one is %s, count %d", last.Name, last.Count)
	}
}

func TestKilledComponentsComeBackWithTheirData(t *testing.T) {
	c := clustertest.Shared(t)
	names := c.CreateEvents(t, 100, clustertest.EventTemplate{Namespace: "killed"})
	for _, component := range []string{clustertest.APIServer, clustertest.Datastore, clustertest.ControllerManager, clustertest.Scheduler} {
		c.Kill(t, component)
		if component == clustertest.APIServer {
			if _, _, err := get(t, clustertest.Client(t, c.AgentKubeconfig), c.Server+listPath); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("with the API server killed: %v", err)
			}
		}
		c.StartComponent(t, component)
		// After the datastore's return the API server needs a moment to connect to it.
		var got int
		eventually(t, "the API server answers", func() bool {
			resp, body, err := get(t, clustertest.Client(t, c.AgentKubeconfig), c.Server+"/api/v1/namespaces/killed/events")
			if err != nil || resp.StatusCode != http.StatusOK {
				return false
			}
			var list corev1.EventList
			if err := json.Unmarshal([]byte(body), &list); err != nil {
				t.Fatal(err)
			}
			got = len(list.Items)
			return true
		})
		if got != len(names) {
			t.Errorf("after the restart of %s there are %d events, want %d", component, got, len(names))
		}
	}
	c.Restart(t, clustertest.ControllerManager)
	c.Terminate(t, clustertest.Scheduler)
	c.LaunchComponent(t, clustertest.Scheduler)
}

func TestPausedAPIServerAnswersWhenItIsResumed(t *testing.T) {
	c := clustertest.Shared(t)
	client := clustertest.Client(t, c.AgentKubeconfig)
	c.Pause(t, clustertest.APIServer)
	answered := make(chan error, 1)
	go func() {
		_, _, err := get(t, client, c.Server+listPath)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("the paused API server answered: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	c.Resume(t, clustertest.APIServer)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// saysGone reports whether an answer is, or a watch sends, a Status with the code 410. Names, UIDs and versions may hold those digits too.
func saysGone(body string) bool {
	for decoder := json.NewDecoder(strings.NewReader(body)); ; {
		var answer struct {
			metav1.Status
			Object metav1.Status `json:"object"`
		}
		if decoder.Decode(&answer) != nil {
			return false
		}
		for _, s := range []metav1.Status{answer.Status, answer.Object} {
			if s.Kind == "Status" && s.Code == http.StatusGone {
				return true
			}
		}
	}
}

func TestGoneIsReadFromAStatusAndNotFromOtherDigits(t *testing.T) {
	for body, want := range map[string]bool{
		`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Expired","code":410}`: true,
		`{"type":"ADDED","object":{"kind":"Event","metadata":{"uid":"410a"}}}
{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410}}`: true,
		`{"kind":"EventList","items":[{"metadata":{"uid":"8410b7d5-0410","resourceVersion":"410"},"count":410}]}`: false,
		`{"type":"ADDED","object":{"kind":"Event","metadata":{"uid":"410a"},"code":410}}`:                         false,
		`{"kind":"Status","code":404,"message":"410"}`:                                                            false,
		"": false,
	} {
		if got := saysGone(body); got != want {
			t.Errorf("%s: gone is %v", body, got)
		}
	}
}

func TestCompactionMakesOldResourceVersionsStale(t *testing.T) {
	c := clustertest.Shared(t)
	client := clustertest.Client(t, c.AgentKubeconfig)
	c.CreateEvents(t, 10, clustertest.EventTemplate{Namespace: "compacted"})
	const path = "/api/v1/namespaces/compacted/events"
	_, version := c.Events(t, "compacted", "")
	_, body, err := get(t, client, c.Server+path+"?limit=3")
	if err != nil {
		t.Fatal(err)
	}
	var page corev1.EventList
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatal(err)
	}
	watch := c.Server + path + "?watch=true&timeoutSeconds=1&resourceVersion=" + version
	further := c.Server + path + "?limit=3&continue=" + page.Continue
	for _, url := range []string{watch, further} {
		if resp, body, err := get(t, client, url); err != nil || resp.StatusCode != http.StatusOK || saysGone(body) {
			t.Fatalf("before the compaction %s: %v %.200s %v", url, resp, body, err)
		}
	}

	c.Compact(t)
	resp, body, err := get(t, client, watch)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a watch from a stale resourceVersion: %s %s", resp.Status, body)
	if resp.StatusCode != http.StatusGone && !saysGone(body) {
		t.Error("that is no 410")
	}
	resp, body, err = get(t, client, further)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a stale continue: %s %s", resp.Status, body)
	if resp.StatusCode != http.StatusGone {
		t.Error("that is no 410")
	}
	resp, body, err = get(t, client, c.Server+path+"?resourceVersionMatch=Exact&limit=1&resourceVersion="+version)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a list at exactly a stale resourceVersion: %s %s", resp.Status, body)

	// What is new after the compaction is good to watch from.
	_, version = c.Events(t, "compacted", "")
	if _, body, err := get(t, client, c.Server+path+"?watch=true&timeoutSeconds=1&resourceVersion="+version); err != nil || body != "" {
		t.Errorf("a watch from now: %q, %v", body, err)
	}
}

func TestTokensEndAndAreRevoked(t *testing.T) {
	t.Parallel()
	c := clustertest.Shared(t)
	status := func() int {
		// A client of its own: client-go reads the file again only once a minute.
		return agentStatus(t, c, clustertest.Client(t, c.AgentKubeconfig), listPath)
	}
	c.NewToken(t, time.Hour)
	if got := status(); got != 200 {
		t.Errorf("a new token: %d", got)
	}
	c.NewToken(t, 2*time.Second)
	if got := status(); got != 200 {
		t.Errorf("a short token: %d", got)
	}
	eventually(t, "the short token ended", func() bool { return status() == 401 })

	c.NewToken(t, time.Hour)
	if got := status(); got != 200 {
		t.Errorf("a new token: %d", got)
	}
	c.Revoke(t)
	if got := status(); got != 401 {
		t.Errorf("a revoked token: %d", got)
	}
	c.NewToken(t, time.Hour)
	if got := status(); got != 200 {
		t.Errorf("a new token after the revocation: %d", got)
	}
}

func TestEventsEndAfterTheirTimeToLive(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{EventTTL: 2 * time.Second})
	c.CreateEvents(t, 5, clustertest.EventTemplate{})
	eventually(t, "the events are gone", func() bool {
		events, _ := c.Events(t, "default", corev1.EventTypeWarning)
		return len(events) == 0
	})
}

// processesIn returns the processes that work in a folder.
func processesIn(t *testing.T, dir string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd")); err == nil && strings.HasPrefix(cwd, dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestStopLeavesNoProcessAndNoFile(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	if n := len(processesIn(t, c.Dir)); n != 5 {
		t.Errorf("%d processes work in the folder, want the program and four components", n)
	}
	c.Pause(t, clustertest.Scheduler)
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if pids := processesIn(t, c.Dir); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
	if _, err := os.Stat(c.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

// TestNoProcessSurvivesTheProgram kills the program in a way that it cannot clean up after.
func TestNoProcessSurvivesTheProgram(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	for _, pid := range processesIn(t, c.Dir) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\x00component\x00") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "all processes ended", func() bool { return len(processesIn(t, c.Dir)) == 0 })
	if err := c.Stop(); err == nil {
		t.Error("Stop does not tell that the program was killed")
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		t.Error(err)
	}
}

func TestProxyBeforeTheControlPlaneShowsItsWatch(t *testing.T) {
	c := clustertest.Shared(t)
	p := faultproxy.Before(t, c)
	client := clustertest.Client(t, p.Kubeconfig(t))
	c.CreateNamespace(t, "proxied")
	_, version := c.Events(t, "proxied", "")
	watch := open(t, client, p.Server+"/api/v1/namespaces/proxied/events?watch=true&resourceVersion="+version)
	for _, name := range c.CreateEvents(t, 3, clustertest.EventTemplate{Namespace: "proxied"}) {
		expect(t, watch, "ADDED", name)
	}
	c.PatchEvent(t, "proxied", "event-00001", 12)
	expect(t, watch, "MODIFIED", "event-00001")
	c.DeleteEvents(t, "proxied", "event-00002")
	expect(t, watch, "DELETED", "event-00002")
	if got := p.Requests(faultproxy.Watch); len(got) != 1 || got[0].Protocol != "HTTP/2.0" {
		t.Errorf("watches: %+v", got)
	}
}

// open starts a watch and returns its frames.
func open(t *testing.T, client *http.Client, url string) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

func expect(t *testing.T, watch *bufio.Reader, change, name string) {
	t.Helper()
	line, err := watch.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var frame struct {
		Type   string
		Object corev1.Event
	}
	if err := json.Unmarshal([]byte(line), &frame); err != nil {
		t.Fatal(err)
	}
	// Parallel writers: the order of the creations is theirs.
	if frame.Type != change || change != "ADDED" && frame.Object.Name != name {
		t.Errorf("got %s %s, want %s %s", frame.Type, frame.Object.Name, change, name)
	}
}
