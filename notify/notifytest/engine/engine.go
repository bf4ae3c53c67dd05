// Package engine runs the real engines that scripts/engines builds, on loopback, for tests that read back what was sent. Fakes of
// engines, which give every documented answer on demand, are in notifytest.
package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// startTimeout and queryTimeout are for a machine many times slower than two usual cores, where either takes less than a second.
	startTimeout = 2 * time.Minute
	queryTimeout = time.Minute
	pollInterval = 200 * time.Millisecond

	// folderVariable names the folder of ready-built engines.
	folderVariable = "EDGE_EVENTER_ENGINES"
)

// Server is a real engine. It keeps its address and its data over Stop and Start.
type Server struct {
	// URL is the server's address, without a slash at its end.
	URL string

	program string
	args    []string
	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	log     bytes.Buffer
}

// VictoriaLogs starts an empty VictoriaLogs that ends with the test. With -short the test is skipped.
func VictoriaLogs(t testing.TB, flags ...string) *Server {
	t.Helper()
	return run(t, "victoria-logs", append([]string{"-storageDataPath=" + t.TempDir(), "-loggerLevel=WARN"}, flags...))
}

// VictoriaMetrics starts an empty VictoriaMetrics that ends with the test. With -short the test is skipped.
func VictoriaMetrics(t testing.TB, flags ...string) *Server {
	t.Helper()
	// Queries see at once what was stored; by default they leave out the last 30 seconds.
	return run(t, "victoria-metrics", append([]string{"-storageDataPath=" + t.TempDir(), "-loggerLevel=WARN", "-search.latencyOffset=1ms"}, flags...))
}

// Vmalert starts a vmalert that reads rules from a file and ends with the test. With -short the test is skipped.
func Vmalert(t testing.TB, rules string, flags ...string) *Server {
	t.Helper()
	return run(t, "vmalert", append([]string{"-rule=" + rules, "-loggerLevel=WARN", "-notifier.blackhole"}, flags...))
}

// CheckRules has vmalert read a file of rules and returns what it says of mistakes. With -short the test is skipped.
func CheckRules(t testing.TB, rules string, flags ...string) error {
	t.Helper()
	//nolint:gosec // The program is the one that was built.
	cmd := exec.CommandContext(t.Context(), program(t, "vmalert"), append([]string{"-dryRun", "-rule=" + rules}, flags...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("vmalert -dryRun: %w\n%s", err, out)
	}
	return nil
}

var folder = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // The engines are looked for once in a process.
	if dir := os.Getenv(folderVariable); dir != "" {
		return dir, nil
	}
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "scripts", "engines", "build")); err == nil {
			break
		}
		parent := filepath.Dir(root)
		if parent == root {
			return "", errors.New("no scripts/engines/build in any folder above")
		}
		root = parent
	}
	cmd := exec.Command(filepath.Join(root, "scripts", "engines", "build")) //nolint:noctx // A build that is cut off is in vain.
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the engines: %w\n%s", err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
})

func program(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("real engines are left out by -short")
	}
	dir, err := folder()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

func run(t testing.TB, name string, args []string) *Server {
	t.Helper()
	s := &Server{program: program(t, name)}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.URL, s.args = "http://"+address, append([]string{"-httpListenAddr=" + address}, args...)
	s.Start(t)
	t.Cleanup(func() {
		s.Stop(t)
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, s.log.Bytes())
		}
	})
	return s
}

// Start starts a server that was stopped and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd = exec.Command(s.program, s.args...) //nolint:noctx,gosec // It ends by Stop; the program is the one that was built.
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(ended)
	}(s.cmd)
	s.ended = ended
	Until(t, startTimeout, filepath.Base(s.program)+" answers", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", filepath.Base(s.program), s.log.Bytes())
		default:
		}
		_, err := s.get(t.Context(), "/health", nil)
		return err == nil
	})
}

// Stop ends the server in good order and returns when it is gone. One that is stopped already stays so.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(startTimeout, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	<-s.ended
	s.cmd = nil
}

// Get asks the server and returns the body of its 200.
func (s *Server) Get(t testing.TB, path string, query url.Values) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), queryTimeout)
	defer cancel()
	body, err := s.get(ctx, path, query)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (s *Server) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: read the answer: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.300s", path, resp.Status, body)
	}
	return body, nil
}

// Until polls for what only asking can show.
func Until(t testing.TB, timeout time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	end := time.After(timeout)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s later it is still not so that %s", timeout, what)
		}
	}
}
