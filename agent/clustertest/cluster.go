package clustertest

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The components of the control plane, for Kill and its siblings.
const (
	Datastore         = "kine"
	APIServer         = "apiserver"
	ControllerManager = "controller-manager"
	Scheduler         = "scheduler"
)

const (
	// startTimeout is for a machine twenty times slower than two usual cores, where the start takes five seconds.
	startTimeout = 2 * time.Minute
	// commandTimeout is more than the program itself gives a command.
	commandTimeout = 3 * time.Minute
	stopTimeout    = 30 * time.Second

	// programVariable names a ready-built program.
	programVariable = "EDGE_EVENTER_CLUSTER"
)

var errEnded = errors.New("with exit code 0")

// Options say what a control plane is started with. The zero value is a quiet one.
type Options struct {
	// Workload creates the objects of scripts/cluster/workload.yaml, which make controllers write Warning events for as
	// long as the control plane runs. Without it there are no Warnings but those of the test.
	Workload bool
	// EventTTL is how long an event lives after its last change. Default: 1 h, as everywhere.
	EventTTL time.Duration
	// CompactionInterval is how often the API server compacts the datastore; K3s has 5 min. Default: never, only
	// Compact does.
	CompactionInterval time.Duration
}

// Cluster is a running control plane. Its methods may be called from several goroutines; commands run one after the other.
type Cluster struct {
	// Dir holds every file of the control plane, component logs among them.
	Dir string `json:"dir"`
	// AgentKubeconfig signs in as the ServiceAccount, with the token in the file AgentToken.
	AgentKubeconfig string `json:"agentKubeconfig"`
	AgentToken      string `json:"agentToken"`
	// AdminKubeconfig may do everything.
	AdminKubeconfig string `json:"adminKubeconfig"`
	// Server is the API server's URL. It stays the same over restarts.
	Server string `json:"server"`

	cmd    *exec.Cmd
	admin  *http.Client
	stderr *tail
	exited chan struct{}
	// exit is valid once exited is closed.
	exit error
	// answers are the lines of the program after the first.
	answers chan string

	// commands is held while a command waits for its answer.
	commands sync.Mutex
	stdin    io.WriteCloser
	stopOnce sync.Once
}

// Start starts a control plane that ends with the test. It builds the program first if that was never done, which takes five
// minutes on two cores. With -short the test is skipped.
func Start(t T, o Options) *Cluster {
	t.Helper()
	skipInShort(t)
	c, err := start(o, t.Logf)
	if err != nil {
		t.Fatalf("start a control plane: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.logTails(t)
		}
		if err := c.Stop(); err != nil {
			t.Errorf("stop the control plane: %v", err)
		}
	})
	return c
}

// shared is the control plane of the test process.
//
//nolint:gochecknoglobals // One for all tests of a process cannot be handed to them in any other way.
var shared struct {
	sync.Mutex
	cluster *Cluster
	// users are the tests that have used the cluster, by name.
	users map[string]testing.TB
}

// Shared returns the quiet control plane that all tests of the process share, and starts it if need be. It ends with the
// process, since its standard input ends then. A test that uses it keeps to a namespace of its own, and leaves every
// component running. Where the tests are run again, as with -count, they get a new one: the names that they use are taken in the old
// one. With -short the test is skipped.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	skipInShort(t)
	shared.Lock()
	defer shared.Unlock()
	if before := shared.users[t.Name()]; before != nil && before != t {
		// All tests of the run before have ended.
		if err := shared.cluster.Stop(); err != nil {
			t.Errorf("stop the shared control plane: %v", err)
		}
		shared.cluster = nil
	}
	if shared.cluster == nil {
		shared.users = make(map[string]testing.TB)
		c, err := start(Options{}, t.Logf)
		if err != nil {
			t.Fatalf("start the shared control plane: %v", err)
		}
		shared.cluster = c
	}
	shared.users[t.Name()] = t
	c := shared.cluster
	t.Cleanup(func() {
		if t.Failed() {
			c.logTails(t)
		}
	})
	return c
}

func start(o Options, logf func(string, ...any)) (*Cluster, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	program := os.Getenv(programVariable)
	if program == "" {
		if program, err = build(root, logf); err != nil {
			return nil, err
		}
	}
	args := []string{"run", "--stdin", "--etcd-compaction-interval=" + o.CompactionInterval.String()}
	if o.EventTTL > 0 {
		args = append(args, "--event-ttl="+o.EventTTL.String())
	}
	if o.Workload {
		args = append(args, "--workload="+filepath.Join(root, "scripts", "cluster", "workload.yaml"))
	}
	c := &Cluster{
		stderr:  new(tail),
		exited:  make(chan struct{}),
		answers: make(chan string, 1),
	}
	// It outlives the test's context, and ends when its standard input does.
	c.cmd = exec.Command(program, args...) //nolint:noctx // As the comment says.
	c.cmd.Stderr = c.stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	began := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go c.wait(stdout)
	line, err := c.answer(startTimeout)
	if err == nil {
		if err = json.Unmarshal([]byte(line), c); err != nil {
			err = fmt.Errorf("first line %q: %w", line, err)
		}
	}
	if err == nil {
		c.admin, err = client(c.AdminKubeconfig)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, c.stderr), c.Stop())
	}
	logf("the control plane was ready after %.1f s: %s", time.Since(began).Seconds(), c.Server)
	return c, nil
}

// build returns the program's path.
func build(root string, logf func(string, ...any)) (string, error) {
	began := time.Now()
	cmd := exec.Command(filepath.Join(root, "scripts", "cluster", "build")) //nolint:noctx // A build that is cut off is in vain.
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the control plane: %w\n%s", err, stderr.Bytes())
	}
	if took := time.Since(began); took > time.Second {
		logf("the control plane was built in %.0f s", took.Seconds())
	}
	return strings.TrimSpace(string(out)), nil
}

// moduleRoot returns the nearest folder above the working directory, or itself, that has a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the module: no go.mod in any folder above")
		}
		dir = parent
	}
}

// wait hands the program's lines on until it ends.
func (c *Cluster) wait(stdout io.Reader) {
	scanner := bufio.NewScanner(stdout)
	for scanner.Scan() {
		c.answers <- scanner.Text()
	}
	c.exit = c.cmd.Wait()
	close(c.exited)
}

func (c *Cluster) answer(timeout time.Duration) (string, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case line := <-c.answers:
		return line, nil
	case <-c.exited:
		return "", fmt.Errorf("the control plane ended: %w", cmp.Or(c.exit, errEnded))
	case <-timer.C:
		return "", fmt.Errorf("no answer from the control plane for %s", timeout)
	}
}

// Stop ends the control plane and removes its folder. Only the first call does something; later ones return nil.
func (c *Cluster) Stop() error {
	var err error
	c.stopOnce.Do(func() {
		err = c.stdin.Close()
		if errors.Is(err, os.ErrClosed) {
			// The program has ended before, and its exit says why.
			err = nil
		}
		timer := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() })
		defer timer.Stop()
		<-c.exited
		err = errors.Join(err, c.exit)
		if c.admin != nil {
			utilnet.CloseIdleConnectionsFor(c.admin.Transport)
		}
	})
	return err
}

// Kill sends SIGKILL and returns when the component is gone.
func (c *Cluster) Kill(t T, component string) { t.Helper(); c.command(t, "kill "+component) }

// Terminate sends SIGTERM and returns when the component is gone. The API server closes its watches in good order.
func (c *Cluster) Terminate(t T, component string) {
	t.Helper()
	c.command(t, "stop "+component)
}

// StartComponent starts a component that was killed, on the address it had, and returns when it is ready.
func (c *Cluster) StartComponent(t T, component string) {
	t.Helper()
	c.command(t, "start "+component)
}

// LaunchComponent starts a component that was killed and does not wait.
func (c *Cluster) LaunchComponent(t T, component string) {
	t.Helper()
	c.command(t, "launch "+component)
}

// Restart kills a component, starts it again, and returns when it is ready.
func (c *Cluster) Restart(t T, component string) {
	t.Helper()
	c.command(t, "restart "+component)
}

// Pause stops a component with SIGSTOP: its connections stay open, and the kernel takes new ones, but nothing is answered.
func (c *Cluster) Pause(t T, component string) { t.Helper(); c.command(t, "pause "+component) }

// Resume lets a paused component run.
func (c *Cluster) Resume(t T, component string) {
	t.Helper()
	c.command(t, "resume "+component)
}

// Compact makes every resourceVersion that was handed out so far stale: to watch from it, or to continue a list that has it,
// answers 410.
func (c *Cluster) Compact(t T) { t.Helper(); c.command(t, "compact") }

// NewToken replaces the token in AgentToken by one that the API server refuses after d and at most ten seconds more,
// for which it remembers a token that was good. The old token stays valid.
func (c *Cluster) NewToken(t T, d time.Duration) {
	t.Helper()
	c.command(t, "token "+d.String())
}

// Revoke makes every token of the agent invalid, and returns when the API server refuses the one in AgentToken. NewToken
// gives a good one again. A watch that is open goes on: the API server checks credentials only at its start.
func (c *Cluster) Revoke(t T) { t.Helper(); c.command(t, "revoke") }

func (c *Cluster) command(t T, line string) {
	t.Helper()
	c.commands.Lock()
	defer c.commands.Unlock()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		t.Fatalf("tell the control plane %q: %v\n%s", line, err, c.stderr)
	}
	answer, err := c.answer(commandTimeout)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, c.stderr)
	}
	if answer != "ok" {
		t.Fatalf("%s: %s\n%s", line, answer, c.stderr)
	}
}

// logTails shows what the components wrote last.
func (c *Cluster) logTails(t T) {
	t.Logf("the control plane wrote:\n%s", c.stderr)
	for _, component := range []string{Datastore, APIServer, ControllerManager, Scheduler} {
		text, err := os.ReadFile(filepath.Join(c.Dir, component+".log"))
		if err != nil {
			t.Logf("log of %s: %v", component, err)
			continue
		}
		t.Logf("end of the log of %s:\n%s", component, text[max(0, len(text)-2<<10):])
	}
}

// tail keeps the last 16 KiB of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if over := len(b.text) - 16<<10; over > 0 {
		b.text = append(b.text[:0], b.text[over:]...)
	}
	return len(p), nil
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// Client makes a client that signs in as the kubeconfig says, over HTTP/2, with a connection pool of its own.
func Client(t T, kubeconfig string) *http.Client {
	t.Helper()
	client, err := client(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(client.Transport) })
	return client
}

func client(kubeconfig string) (*http.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kubeconfig, err)
	}
	// client-go shares its transports among all clients with the same settings.
	transport := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}
	authorized, err := rest.HTTPWrappersForConfig(config, transport)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &http.Client{Transport: authorized}, nil
}

// url joins the server's address, a path and a query.
func (c *Cluster) url(path string, query url.Values) string {
	if len(query) == 0 {
		return c.Server + path
	}
	return c.Server + path + "?" + query.Encode()
}
