package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/internal/seed"
)

// buildAgent builds the agent as it is shipped: without the race detector, whose memory would hide the agent's own.
var buildAgent = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "edge-eventer-test.")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "edge-eventer")
	command := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := buildAgent(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// process is a running agent.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func startAgent(t *testing.T, config string) *process {
	t.Helper()
	path, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, exec.Command(path, "run", "--config", config))
}

func start(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: command, log: new(lockedBuffer), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = cmp.Or[io.Writer](p.cmd.Stdout, p.log), cmp.Or[io.Writer](p.cmd.Stderr, p.log)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("the agent's log:\n%s", p.log)
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.done
}

// exit waits for the end and returns the exit code and how long it took.
func (p *process) exit() (code int, took time.Duration) {
	p.t.Helper()
	begin := time.Now()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), time.Since(begin)
	case <-time.After(time.Minute):
		p.t.Fatal("the agent did not end within a minute")
	}
	return 0, 0
}

// memory returns fields of proc(5) status in bytes.
func (p *process) memory(field string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	match := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(text)
	if match == nil {
		p.t.Fatalf("no %s in /proc status", field)
	}
	kib, err := strconv.ParseInt(string(match[1]), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}

// archive is a webhook receiver that keeps what it confirmed.
type archive struct {
	*httptest.Server
	mu sync.Mutex
	// ids counts the deliveries of each content, batches those of each message.
	ids, batches map[string]int
	// counts holds the highest count of each event.
	counts map[string]int32
	// again counts the messages in which something came that had been confirmed before.
	again int
	// untold is the sum over all messages whose batch was new.
	untold  int
	changed chan struct{}
	down    bool
	// losses are those of all messages, as JSON.
	losses string
}

func newArchive(t *testing.T) *archive {
	t.Helper()
	a := &archive{ids: make(map[string]int), batches: make(map[string]int), counts: make(map[string]int32), changed: make(chan struct{}, 1)}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

// sent returns the body of a request, which is compressed unless a receiver is told not to.
func sent(r *http.Request) string {
	var from io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return err.Error()
		}
		from = z
	}
	body, _ := io.ReadAll(from)
	return string(body)
}

func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Batch     string          `json:"batch"`
		Losses    json.RawMessage `json:"losses"`
		Incidents []struct {
			ID     string `json:"id"`
			Untold int    `json:"untold"`
			Event  struct {
				Metadata struct {
					Name string `json:"name"`
				} `json:"metadata"`
				Count int32 `json:"count"`
			} `json:"event"`
		} `json:"incidents"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	a.batches[body.Batch]++
	a.losses += string(body.Losses)
	for _, in := range body.Incidents {
		if a.ids[in.ID] > 0 {
			a.again++
			break
		}
	}
	for _, in := range body.Incidents {
		a.ids[in.ID]++
		a.counts[in.Event.Metadata.Name] = max(a.counts[in.Event.Metadata.Name], in.Event.Count)
		if a.batches[body.Batch] == 1 {
			a.untold += in.Untold
		}
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *archive) setDown(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

func (a *archive) events() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.counts)
}

// told returns how many observations the messages told.
func (a *archive) told() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.untold
}

// wait waits until n different events have arrived.
func (a *archive) wait(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for a.events() < n {
		select {
		case <-a.changed:
		case <-ctx.Done():
			t.Fatalf("%d of %d events arrived", a.events(), n)
		}
	}
}

// repeated returns how many contents, and how many messages, were delivered more than once.
func (a *archive) repeated() (contents, messages int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.ids {
		contents += n - 1
	}
	for _, n := range a.batches {
		messages += n - 1
	}
	return contents, messages
}

// repeatedMessages returns how many messages held something that had been confirmed before.
func (a *archive) repeatedMessages() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.again
}

// writeConfig writes a configuration of one webhook receiver and returns its path.
func writeConfig(t *testing.T, kubeconfig, url, more string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`cluster: test
kubernetes: {kubeconfig: %q}
spool: {path: %q, commitInterval: 100ms}
server: {listen: ""}
notify: {groupWait: 100ms, maxBackoff: 1s}
receivers:
  - {name: archive, type: webhook, url: %q%s}
`, kubeconfig, filepath.Join(dir, "spool", "spool.db"), url, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// anonymous writes a kubeconfig without credentials.
func anonymous(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\n"+
		"users: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n", url)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func TestTwentyThousandEventsAtStartStayWithinTheMemoryBudget(t *testing.T) {
	cluster := clustertest.Shared(t)
	begin := time.Now()
	cluster.StoreEvents(t, 20_000, clustertest.EventTemplate{Namespace: "crowd", Prefix: "crowd"})
	t.Logf("20,000 events created in %s", time.Since(begin).Round(time.Second))
	a := newArchive(t)
	p := startAgent(t, writeConfig(t, cluster.AgentKubeconfig, a.URL, ""))
	begin = time.Now()
	a.wait(t, 20_000)
	t.Logf("20,000 events delivered in %s: VmHWM %s, RssAnon %s, VmRSS %s", time.Since(begin).Round(time.Second),
		mib(p.memory("VmHWM")), mib(p.memory("RssAnon")), mib(p.memory("VmRSS")))
	if peak := p.memory("VmHWM"); peak >= 32<<20 {
		t.Errorf("peak of the resident memory %s, the budget is 32 MiB", mib(peak))
	}
	if anonymous := p.memory("RssAnon"); anonymous >= 12<<20 {
		t.Errorf("anonymous memory %s, the budget is 12 MiB", mib(anonymous))
	}
	if contents, _ := a.repeated(); contents != 0 {
		t.Errorf("%d events were told twice", contents)
	}
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(); code != exitOK || took > 5*time.Second {
		t.Errorf("exit code %d after %s, want %d within 5s", code, took, exitOK)
	}
}

// fromEnvironment returns a number for the long forms of tests that scripts/crash starts.
func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestKilledAgentLosesNothing kills the agent at random points under load, while events are made, patched and delivered.
// AGENT_KILLS in the environment gives its long form.
func TestKilledAgentLosesNothing(t *testing.T) {
	kills := int(fromEnvironment(t, "AGENT_KILLS", 12))
	random := seed.New(t)
	cluster := clustertest.Shared(t)
	a := newArchive(t)
	config := writeConfig(t, cluster.AgentKubeconfig, a.URL, "")
	const perRound = 40
	down, before, worst := 0, 0, 0
	life := func() {
		again := a.repeatedMessages()
		worst = max(worst, again-before)
		before = again
	}
	for round := range kills {
		p := startAgent(t, config)
		isDown := random.IntN(3) == 0
		if isDown {
			down++
		}
		a.setDown(isDown)
		names := cluster.CreateEvents(t, perRound, clustertest.EventTemplate{Namespace: "killed", Prefix: fmt.Sprintf("round%03d", round)})
		cluster.PatchEvents(t, "killed", names[:perRound/2], 5)
		select {
		case <-time.After(time.Duration(random.Int64N(int64(600 * time.Millisecond)))):
		case <-p.done:
			t.Fatal("the agent ended by itself")
		}
		p.kill()
		life()
	}
	a.setDown(false)
	p := startAgent(t, config)
	for round := range kills {
		for i := range perRound {
			name, count := fmt.Sprintf("round%03d-%05d", round, i), int32(1)
			if i < perRound/2 {
				count = 5
			}
			waitFor(t, a, func() bool { return a.counts[name] == count }, fmt.Sprintf("count %d of %s", count, name))
		}
	}
	life()
	t.Logf("| kill -9 | of them with the receiver down | events | lost | messages repeated | most after one kill |")
	t.Logf("| %d | %d | %d | 0 | %d | %d |", kills, down, kills*perRound, before, worst)
	if worst > 1 {
		t.Errorf("%d messages were repeated after one kill, want at most one", worst)
	}
	// With nothing left to deliver the wait above may end before the process has asked for its signals.
	p.waitForLog(`"started"`)
	p.signal(syscall.SIGTERM)
	if code, _ := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
}

// until polls for what only asking can show.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("a minute later it is still not so that %s", what)
		}
	}
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func waitFor(t *testing.T, a *archive, done func() bool, what string) {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		a.mu.Lock()
		ok := done()
		a.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-a.changed:
		case <-timeout:
			t.Fatalf("%s did not arrive", what)
		}
	}
}

func TestAgentWithoutAClusterStillEndsInPeace(t *testing.T) {
	a := newArchive(t)
	p := startAgent(t, writeConfig(t, filepath.Join(t.TempDir(), "missing"), a.URL, ""))
	p.waitForLog("cannot sign in to the cluster")
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(); code != exitOK || took > 5*time.Second {
		t.Errorf("exit code %d after %s, want %d within 5s", code, took, exitOK)
	}
}

// waitForLog waits for a line of the agent's log.
func (p *process) waitForLog(text string) {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for !bytes.Contains([]byte(p.log.String()), []byte(text)) {
		select {
		case <-tick.C:
		case <-timeout:
			p.t.Fatalf("the agent did not log %q", text)
		case <-p.done:
			p.t.Fatalf("the agent ended before it logged %q", text)
		}
	}
}

func TestSecondSignalEndsTheAgentAtOnce(t *testing.T) {
	// A receiver that hangs keeps the first signal's stop busy for three seconds.
	hung := make(chan struct{}, 8)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		hung <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	cluster := clustertest.Shared(t)
	cluster.CreateEvents(t, 1, clustertest.EventTemplate{Namespace: "signals", Prefix: "signals"})
	p := startAgent(t, writeConfig(t, cluster.AgentKubeconfig, server.URL, ""))
	<-hung
	p.signal(syscall.SIGTERM)
	p.waitForLog("stopping")
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(); code == exitOK || took > time.Second {
		t.Errorf("exit code %d after %s, want a death by signal within a second", code, took)
	}
}

func TestSecondAgentOnOneSpoolIsRefused(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	config := writeConfig(t, filepath.Join(t.TempDir(), "missing"), a.URL, "")
	first := startAgent(t, config)
	first.waitForLog("cannot sign in to the cluster")
	second := startAgent(t, config)
	if code, _ := second.exit(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
}

func TestHangUpReloadsTheConfigurationAndABadOneIsRefused(t *testing.T) {
	a := newArchive(t)
	config := writeConfig(t, filepath.Join(t.TempDir(), "missing"), a.URL, "")
	p := startAgent(t, config)
	p.waitForLog("cannot sign in to the cluster")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	change := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(config, text, 0o600); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGHUP)
	}
	change(bytes.Replace(text, []byte("cluster: test"), []byte("cluster: other"), 1))
	p.waitForLog(`"configuration reloaded"`)
	change(append(text, "typo: 1\n"...))
	p.waitForLog("typo: unknown key")
	change(text)
	p.signal(syscall.SIGTERM)
	if code, _ := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
}

func TestHangUpAtAnyTimeOfALifeDoesNotEndTheAgent(t *testing.T) {
	t.Parallel()
	hung := make(chan struct{}, 8)
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		hung <- struct{}{}
		<-release
	}))
	defer server.Close()
	defer close(release)
	cluster := clustertest.Shared(t)
	cluster.CreateEvents(t, 1, clustertest.EventTemplate{Namespace: "hangup", Prefix: "hangup"})
	p := startAgent(t, writeConfig(t, cluster.AgentKubeconfig, server.URL, ""))
	p.waitForLog(`"started"`)
	p.signal(syscall.SIGHUP)
	// The receiver keeps the stop busy for three seconds.
	<-hung
	p.signal(syscall.SIGTERM)
	p.waitForLog("stopping")
	p.signal(syscall.SIGHUP)
	if code, _ := p.exit(); code != exitOK {
		t.Errorf("exit code %d, want %d", code, exitOK)
	}
}
