package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// The addresses of the network between the agent and its receivers, of ranges that are kept for documentation.
const (
	receiversAddress = "203.0.113.10"
	firstGateway     = "192.0.2.1"
	secondGateway    = "198.51.100.1"
)

// network is a network namespace of the agent's own with two ways to the receivers, of which the second is the dearer one. Each is a
// bridge in the agent's namespace, as a modem is an interface there, and a cable from it into the soak's namespace: without
// the bridge the agent would see that its interface leads into another namespace, and know nothing of its link.
type network struct {
	stage *stage.Stage
	// file is the namespace in /proc.
	file string
	// calls are run by a thread that has entered the namespace.
	calls chan func()
	// last is the last byte of the agent's address on the first way.
	last int
}

// newNetwork makes it. It needs a network namespace of the soak's own, which holds no more than the loopback interface.
func newNetwork(s *stage.Stage) (*network, error) {
	holder := exec.CommandContext(s.Context(), "cat")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	// It ends with the soak, since its standard input does.
	if _, err := holder.StdinPipe(); err != nil {
		return nil, err
	}
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	s.Cleanup(func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	})
	n := &network{stage: s, file: fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid), calls: make(chan func()), last: 2}
	entered := make(chan error)
	go n.enter(entered)
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("enter the agent's network namespace: %w", err)
	}
	err := outside(s.Context(), "link set lo up", "address add "+receiversAddress+"/32 dev lo")
	if err != nil {
		return nil, err
	}
	if err := n.inside("link set lo up"); err != nil {
		return nil, err
	}
	for name, gateway := range map[string]string{"wan0": firstGateway, "wan1": secondGateway} {
		err = errors.Join(
			outside(s.Context(),
				fmt.Sprintf("link add far-%s type veth peer name near-%[1]s netns %d", name, holder.Process.Pid),
				"address add "+gateway+"/24 dev far-"+name, "link set far-"+name+" up"),
			n.inside("link add "+name+" type bridge", "link set near-"+name+" master "+name, "link set near-"+name+" up", "link set "+name+" up"),
		)
		if err != nil {
			return nil, err
		}
	}
	err = n.inside("address add "+n.address()+" dev wan0", "address add "+strings.TrimSuffix(secondGateway, "1")+"2/24 dev wan1")
	return n, errors.Join(err, n.route())
}

// enter runs the calls on a thread that is in the namespace and stays there.
func (n *network) enter(entered chan<- error) {
	runtime.LockOSThread()
	f, err := os.Open(n.file)
	if err == nil {
		err = errors.Join(unix.Setns(int(f.Fd()), unix.CLONE_NEWNET), f.Close())
	}
	entered <- err
	if err != nil {
		return
	}
	for {
		select {
		case call := <-n.calls:
			call()
		case <-n.stage.Context().Done():
			return
		}
	}
}

// do calls f on a thread that is in the namespace: a socket that it makes belongs there for good.
func (n *network) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case n.calls <- func() { done <- f() }:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *network) listen(ctx context.Context, address string) (l net.Listener, err error) {
	err = n.do(ctx, func() error {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp", address)
		return err
	})
	return l, err
}

func (n *network) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.do(ctx, func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

func (n *network) address() string {
	return fmt.Sprintf("%s%d/24", strings.TrimSuffix(firstGateway, "1"), n.last)
}

// route adds the default routes, or puts them back.
func (n *network) route() error {
	return n.inside("route replace default via "+firstGateway+" dev wan0 metric 100", "route replace default via "+secondGateway+" dev wan1 metric 200")
}

func (n *network) unroute() error {
	return n.inside("route del default via "+firstGateway+" dev wan0", "route del default via "+secondGateway+" dev wan1")
}

// readdress gives the agent another address on the first way. What was connected over the old one is dead.
func (n *network) readdress() error {
	before := n.address()
	n.last = 2 + (n.last-1)%200
	return errors.Join(n.inside("address del "+before+" dev wan0", "address add "+n.address()+" dev wan0"), n.route())
}

func (n *network) inside(lines ...string) error {
	for _, line := range lines {
		args := append([]string{"--net=" + n.file, "ip"}, strings.Fields(line)...)
		if err := run(n.stage.Context(), "nsenter", args...); err != nil {
			return err
		}
	}
	return nil
}

func outside(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if err := run(ctx, "ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
