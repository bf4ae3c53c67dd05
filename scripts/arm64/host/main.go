// Command host is the part of scripts/arm64/run on this machine: it starts a control plane and a receiver that counts, makes the
// disk of the emulated machine with the agent on it, boots it, makes events, waits until each was delivered, and prints what the
// machine says of the agent as a Markdown table.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/scripts/arm64/report"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// hostAddress is this machine's loopback as QEMU's user network shows it.
const hostAddress = "10.0.2.2"

type options struct {
	agent, guest, kernel, initrd   string
	cpu, processors, memory, limit string
	events                         int
	rest                           time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.agent, "agent", "bin/edge-eventer-arm64", "the agent's `FILE`")
	flag.StringVar(&o.guest, "guest", "", "`FILE` of scripts/arm64/guest")
	flag.StringVar(&o.processors, "processors", "1", "how many the machine has")
	flag.StringVar(&o.kernel, "kernel", "", "kernel `FILE`")
	flag.StringVar(&o.initrd, "initrd", "", "initramfs `FILE`")
	flag.StringVar(&o.cpu, "cpu", "cortex-a53", "`MODEL` of the processor")
	flag.StringVar(&o.memory, "memory", "64M", "the machine's memory")
	flag.StringVar(&o.limit, "limit", "32M", "limit of the agent's memory cgroup, or max")
	flag.IntVar(&o.events, "events", 5000, "Warning events, once while the receiver takes them and once while it is away")
	flag.DurationVar(&o.rest, "rest", time.Minute, "how long the agent is looked at while nothing happens")
	flag.Parse()
	if err := stage.Run(context.Background(), 40*time.Minute, func(s *stage.Stage) error { return run(s, &o) }); err != nil {
		fmt.Fprintln(os.Stderr, "scripts/arm64:", err)
		os.Exit(1)
	}
}

func run(s *stage.Stage, o *options) error {
	dir := s.TempDir()
	cluster := clustertest.Start(s, clustertest.Options{})
	r := newReceiver()
	receiver, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // It is there at once.
	if err != nil {
		return err
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(receiver) }()
	defer func() { _ = server.Close() }()
	control, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // It is there at once.
	if err != nil {
		return err
	}
	defer func() { _ = control.Close() }()

	disk := filepath.Join(dir, "disk")
	if err := makeDisk(s, o, disk, filepath.Join(dir, "data"), cluster, guestAddress(receiver)); err != nil {
		return err
	}
	g, err := boot(s.Context(), o, disk, filepath.Join(dir, "console"), control)
	if err != nil {
		return err
	}
	defer g.kill()
	return g.explain(measure(s, o, g, r, cluster))
}

func guestAddress(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(hostAddress, port)
}

// makeDisk makes a file system with the agent, its configuration and its kubeconfig, and room for the spool.
func makeDisk(s *stage.Stage, o *options, disk, tree string, cluster *clustertest.Cluster, receiver string) error {
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	kubeconfig, err := agentKubeconfig(cluster)
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`cluster: emulated
kubernetes: {kubeconfig: /data/kubeconfig}
spool: {path: /data/spool/spool.db}
server: {listen: ""}
notify: {groupWait: 1s, maxBackoff: 5s}
receivers:
  - {name: counter, type: webhook, url: "http://%s/"}
`, receiver)
	for name, content := range map[string][]byte{"kubeconfig": kubeconfig, "config.yaml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(tree, name), content, 0o600); err != nil {
			return err
		}
	}
	for name, file := range map[string]string{"edge-eventer": o.agent, "guest": o.guest} {
		program, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tree, name), program, 0o700); err != nil { //nolint:gosec // They are programs.
			return err
		}
	}
	out, err := exec.CommandContext(s.Context(), "mkfs.ext4", "-q", "-d", tree, disk, "96M").CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the disk: %w: %s", err, out)
	}
	return nil
}

// agentKubeconfig is that of the agent's ServiceAccount, with the address under which the machine sees the API server. Its
// certificate is for the loopback's names.
func agentKubeconfig(c *clustertest.Cluster) ([]byte, error) {
	config, err := clientcmd.LoadFromFile(c.AgentKubeconfig)
	if err != nil {
		return nil, err
	}
	server, err := url.Parse(c.Server)
	if err != nil {
		return nil, err
	}
	for _, entry := range config.Clusters {
		entry.Server = "https://" + net.JoinHostPort(hostAddress, server.Port())
		entry.TLSServerName = "localhost"
	}
	token, err := os.ReadFile(c.AgentToken)
	if err != nil {
		return nil, err
	}
	for _, entry := range config.AuthInfos {
		entry.TokenFile, entry.Token = "", string(bytes.TrimSpace(token))
	}
	return clientcmd.Write(*config)
}

// guest is the emulated machine.
type guest struct {
	machine *exec.Cmd
	exited  chan struct{}
	console string
	conn    net.Conn
	lines   *bufio.Scanner
}

func boot(ctx context.Context, o *options, disk, console string, control net.Listener) (*guest, error) {
	//nolint:gosec // The arguments are the caller's own.
	machine := exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "virt", "-cpu", o.cpu, "-smp", o.processors, "-m", o.memory,
		"-display", "none", "-monitor", "none", "-no-reboot", "-serial", "file:"+console,
		"-kernel", o.kernel, "-initrd", o.initrd,
		"-drive", "file="+disk+",format=raw,if=none,id=disk", "-device", "virtio-blk-device,drive=disk",
		"-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net",
		// Of 64 MiB, Debian's kernel leaves 34 to the rest, and its drivers and file systems fill half of these. So it goes
		// without what no agent needs: memory for devices that want it in one piece (64 MiB by default), and the files of its
		// tracers (8 MiB). What the kernel does not know of the line becomes the environment of its first process.
		"-append", "console=ttyAMA0 quiet panic=-1 cma=0 swiotlb=noforce debugfs=off initcall_blacklist=tracer_init_tracefs apparmor=0 HOST="+guestAddress(control)+" LIMIT="+o.limit)
	machine.Stderr = os.Stderr
	machine.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := machine.Start(); err != nil {
		return nil, fmt.Errorf("start the machine: %w", err)
	}
	g := &guest{machine: machine, exited: make(chan struct{}), console: console}
	began := time.Now()
	go func() {
		_ = machine.Wait()
		close(g.exited)
		_ = control.Close()
	}()
	_ = control.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Minute))
	conn, err := control.Accept()
	if err != nil {
		g.kill()
		return nil, g.explain(fmt.Errorf("the machine does not come up: %w", err))
	}
	fmt.Fprintf(os.Stderr, "the machine came up in %.0f s\n", time.Since(began).Seconds())
	g.conn, g.lines = conn, bufio.NewScanner(conn)
	return g, nil
}

func (g *guest) kill() {
	_ = g.machine.Process.Kill()
	<-g.exited
}

// explain adds the end of the machine's console to an error.
func (g *guest) explain(err error) error {
	if err == nil {
		return nil
	}
	text, _ := os.ReadFile(g.console)
	return fmt.Errorf("%w; the end of its console:\n%s", err, text[max(0, len(text)-4000):])
}

// do says one word and reads the answer.
func (g *guest) do(word string) (sample report.Sample, err error) {
	_ = g.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintln(g.conn, word); err != nil {
		return sample, fmt.Errorf("%s: %w", word, err)
	}
	if !g.lines.Scan() {
		return sample, fmt.Errorf("%s: the machine does not answer: %w", word, errors.Join(g.lines.Err(), io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(g.lines.Bytes(), &sample); err != nil {
		return sample, fmt.Errorf("%s: %w", word, err)
	}
	if sample.Exited && word != "stop" {
		return sample, fmt.Errorf("%s: the agent has ended with %d; kills: %d", word, sample.ExitCode, sample.Kills)
	}
	return sample, nil
}

// delivered returns when every event that was made has arrived, or when the agent has ended.
func (g *guest) delivered(ctx context.Context, r *receiver) error {
	alive := time.NewTicker(10 * time.Second)
	defer alive.Stop()
	for {
		missing, _ := r.count()
		if missing == 0 {
			return nil
		}
		select {
		case <-r.changed:
		case <-alive.C:
			if _, err := g.do("sample"); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%d events did not arrive: %w", missing, ctx.Err())
		}
	}
}

func measure(st *stage.Stage, o *options, g *guest, r *receiver, c *clustertest.Cluster) error {
	makeEvents := func(prefix string, n int) { r.expect(c.CreateEvents(st, n, clustertest.EventTemplate{Prefix: prefix})) }
	first, err := g.do("start")
	if err != nil {
		return err
	}
	fmt.Printf("Linux %s on a %s with %s of memory, %s of it left by the kernel; pages of %d KiB. The agent's memory cgroup: %s.\n\n",
		first.Kernel, o.cpu, o.memory, mib(first.MemTotal), first.PageSize>>10, o.limit)
	fmt.Println("| after | RssAnon, now / peak | RssFile | VmHWM | cgroup peak | CPU user + system | written | free, available in the machine |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	var last report.Sample
	row := func(what string) error {
		s, err := g.do("sample")
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s / %s | %s | %s | %s | %.2f + %.2f s | %s | %s, %s |\n", what, mib(s.RssAnon), mib(s.PeakAnon), mib(s.RssFile), mib(s.HWM),
			mib(s.CgroupPeak), (s.User - last.User).Seconds(), (s.System - last.System).Seconds(), mib(s.Written-last.Written), mib(s.MemFree), mib(s.MemAvailable))
		last = s
		return nil
	}
	// The agent works when an event comes through.
	makeEvents("first", 1)
	if err := g.delivered(st.Context(), r); err != nil {
		return err
	}
	if err := row("start, first event delivered"); err != nil {
		return err
	}
	if err := st.Pass(o.rest); err != nil {
		return err
	}
	if err := row(fmt.Sprintf("%s of rest", o.rest)); err != nil {
		return err
	}
	began := time.Now()
	makeEvents("burst", o.events)
	if err := g.delivered(st.Context(), r); err != nil {
		return err
	}
	if err := row(fmt.Sprintf("%d events, all delivered %.0f s after the first was made", o.events, time.Since(began).Seconds())); err != nil {
		return err
	}
	r.setAway(true)
	makeEvents("outage", o.events)
	// The last of them is committed within seconds.
	if err := st.Pass(10 * time.Second); err != nil {
		return err
	}
	if err := row(fmt.Sprintf("%d more while the receiver is away", o.events)); err != nil {
		return err
	}
	began = time.Now()
	r.setAway(false)
	if err := g.delivered(st.Context(), r); err != nil {
		return err
	}
	if err := row(fmt.Sprintf("the receiver is back, all delivered after %.0f s", time.Since(began).Seconds())); err != nil {
		return err
	}
	if err := st.Pass(o.rest); err != nil {
		return err
	}
	if err := row(fmt.Sprintf("%s of rest", o.rest)); err != nil {
		return err
	}
	began = time.Now()
	stopped, err := g.do("stop")
	if err != nil {
		return err
	}
	fmt.Printf("\n%s It ended with %d, %.1f s after SIGTERM; kills by the kernel: %d.\n", r.summary(), stopped.ExitCode, time.Since(began).Seconds(), stopped.Kills)
	if stopped.ExitCode != 0 || stopped.Kills != 0 {
		return errors.New("the agent did not end well")
	}
	if _, err := fmt.Fprintln(g.conn, "off"); err != nil {
		return err
	}
	select {
	case <-g.exited:
		return nil
	case <-time.After(time.Minute):
		return errors.New("the machine does not power off")
	}
}

func mib(n int64) string { return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB" }
