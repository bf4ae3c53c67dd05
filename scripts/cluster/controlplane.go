package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// The names of the components, in the order in which they start.
const (
	nameKine              = "kine"
	nameAPIServer         = "apiserver"
	nameControllerManager = "controller-manager"
	nameScheduler         = "scheduler"
)

const (
	// startTimeout is for one component on a machine that is ten times slower than usual: the API server takes about four
	// seconds on two cores.
	startTimeout = 2 * time.Minute
	pollInterval = 100 * time.Millisecond

	issuer = "https://kubernetes.default.svc.cluster.local"
)

// options are the command line's.
type options struct {
	dir        string
	keep       bool
	workload   string
	eventTTL   time.Duration
	compaction time.Duration
	stderr     io.Writer
}

// controlPlane is the folder and the components. The program's working directory is the folder.
type controlPlane struct {
	options
	processes []*process
	port      int

	ca       *pair
	admin    *pair
	tokenKey *ecdsa.PrivateKey
	client   *kubernetes.Clientset
	config   *rest.Config

	// background ends with stopBackground.
	background     sync.WaitGroup
	stopBackground context.CancelFunc
}

// newControlPlane makes the folder and everything in it that the components need. It starts nothing.
func newControlPlane(o options) (_ *controlPlane, err error) {
	if o.workload != "" {
		if o.workload, err = filepath.Abs(o.workload); err != nil {
			return nil, fmt.Errorf("find the workload file: %w", err)
		}
		if _, err := os.Stat(o.workload); err != nil {
			return nil, fmt.Errorf("workload file: %w", err)
		}
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "edge-eventer-cluster-"); err != nil {
			return nil, fmt.Errorf("make a folder: %w", err)
		}
	} else {
		if o.dir, err = filepath.Abs(o.dir); err != nil {
			return nil, fmt.Errorf("find the folder: %w", err)
		}
		if err := os.MkdirAll(o.dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder: %w", err)
		}
		// The folder is removed at the end, so nothing of anybody else may be in it.
		entries, err := os.ReadDir(o.dir)
		if err != nil {
			return nil, fmt.Errorf("look into the folder: %w", err)
		}
		if len(entries) > 0 {
			return nil, fmt.Errorf("folder %s is not empty", o.dir)
		}
		// Keys lie in it, and a socket that asks nobody who he is.
		if err := os.Chmod(o.dir, 0o700); err != nil {
			return nil, fmt.Errorf("close the folder to others: %w", err)
		}
	}
	if err := os.Chdir(o.dir); err != nil {
		return nil, fmt.Errorf("enter the folder: %w", err)
	}
	c := &controlPlane{options: o, stopBackground: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	if err := c.makeKeys(); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	c.port = ports[0]
	if err := c.writeKubeconfigs(); err != nil {
		return nil, err
	}
	return c, c.connect(ports[1], ports[2])
}

func (c *controlPlane) path(name string) string { return filepath.Join(c.dir, name) }

func (c *controlPlane) server() string { return "https://127.0.0.1:" + strconv.Itoa(c.port) }

// connect makes the administrator's client and the processes, which are not started.
func (c *controlPlane) connect(controllerManagerPort, schedulerPort int) error {
	c.config = &rest.Config{
		Host:            c.server(),
		QPS:             -1,
		WarningHandler:  rest.NoWarnings{},
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca.certPEM, CertData: c.admin.certPEM, KeyData: c.admin.keyPEM},
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	c.client = client

	spawner := newSpawner()
	add := func(name string, ready func(context.Context) error, args ...string) {
		c.processes = append(c.processes, &process{name: name, args: args, spawner: spawner, stderr: c.stderr, ready: ready})
	}
	add(nameKine, c.kineReady)
	add(nameAPIServer, c.apiServerReady,
		"--bind-address=127.0.0.1",
		"--secure-port="+strconv.Itoa(c.port),
		// Nobody is told of this address: the reconciler that would refuses loopback addresses.
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--etcd-servers=unix://"+kineSocket,
		"--etcd-compaction-interval="+c.compaction.String(),
		"--event-ttl="+c.eventTTL.String(),
		"--client-ca-file=ca.crt",
		"--tls-cert-file=serving.crt",
		"--tls-private-key-file=serving.key",
		"--authorization-mode=RBAC",
		"--service-account-issuer="+issuer,
		"--service-account-key-file=service-account.key",
		"--service-account-signing-key-file=service-account.key",
		"--service-cluster-ip-range=10.43.0.0/24",
		"--profiling=false",
	)
	add(nameControllerManager, c.healthy(controllerManagerPort),
		"--bind-address=127.0.0.1",
		"--secure-port="+strconv.Itoa(controllerManagerPort),
		"--tls-cert-file=serving.crt",
		"--tls-private-key-file=serving.key",
		"--kubeconfig=admin.kubeconfig",
		"--service-account-private-key-file=service-account.key",
		"--root-ca-file=ca.crt",
		"--leader-elect=false",
		"--profiling=false",
	)
	add(nameScheduler, c.healthy(schedulerPort),
		"--bind-address=127.0.0.1",
		"--secure-port="+strconv.Itoa(schedulerPort),
		"--tls-cert-file=serving.crt",
		"--tls-private-key-file=serving.key",
		"--kubeconfig=admin.kubeconfig",
		"--leader-elect=false",
		"--profiling=false",
	)
	return nil
}

// start returns when all components are ready and the agent's identity and the workload are there.
func (c *controlPlane) start(ctx context.Context) error {
	for _, name := range []string{nameKine, nameAPIServer} {
		if err := c.startAndWait(ctx, name); err != nil {
			return err
		}
	}
	// These two start side by side; they need nothing from each other.
	rest := []string{nameControllerManager, nameScheduler}
	for _, name := range rest {
		if err := c.process(name).start(); err != nil {
			return err
		}
	}
	if err := c.makeIdentity(ctx); err != nil {
		return err
	}
	for _, name := range rest {
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		if err := c.process(name).waitReady(ctx); err != nil {
			return err
		}
	}
	// The default ServiceAccount is the work of a controller: when it is there, the controllers are.
	if err := c.waitForDefaultServiceAccount(ctx, agentNamespace); err != nil {
		return err
	}
	if c.workload == "" {
		return nil
	}
	if err := c.applyWorkload(ctx); err != nil {
		return err
	}
	background, cancel := context.WithCancel(ctx)
	c.stopBackground = cancel
	c.background.Go(func() { c.failPods(background) })
	return nil
}

// stop ends everything and removes the folder. The data need no orderly end, so it is SIGKILL for all.
func (c *controlPlane) stop() error {
	c.stopBackground()
	c.background.Wait()
	var errs []error
	for _, p := range slices.Backward(c.processes) {
		errs = append(errs, p.end(syscall.SIGKILL))
	}
	if !c.keep {
		errs = append(errs, os.Chdir(os.TempDir()), os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

func (c *controlPlane) process(name string) *process {
	for _, p := range c.processes {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (c *controlPlane) startAndWait(ctx context.Context, name string) error {
	p := c.process(name)
	if err := p.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.waitReady(ctx)
}

func (c *controlPlane) apiServerReady(ctx context.Context) error {
	return c.client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// healthy asks the component itself, not through the API server.
func (c *controlPlane) healthy(port int) func(context.Context) error {
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DisableKeepAlives: true,
	}}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/healthz", port), nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("healthz: %s", resp.Status)
		}
		return nil
	}
}

// waitFor asks every 100 ms until ask answers nil, and at the end of ctx says what the last answer was.
func waitFor(ctx context.Context, what string, ask func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		// One answer that never comes must not take all the time there is.
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := ask(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %v)", what, context.Cause(ctx), last)
		case <-ticker.C:
		}
	}
}

// freePorts returns TCP ports of loopback that nobody listens on. They lie below the range from which the kernel takes the
// ports of outgoing connections: a client that connects again and again to a component that is down could else be given that
// very port, and the component could not come back.
func freePorts(n int) ([]int, error) {
	const lowest = 10000
	highest := 32768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if first, err := strconv.Atoi(strings.Fields(string(text))[0]); err == nil && first > lowest+1000 {
			highest = first
		}
	}
	var ports []int
	for range 1000 {
		port := lowest + rand.IntN(highest-lowest)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil || slices.Contains(ports, port) {
			continue
		}
		if err := listener.Close(); err != nil {
			return nil, fmt.Errorf("try port %d: %w", port, err)
		}
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d", lowest, highest)
}
