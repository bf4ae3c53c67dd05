package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// inNamespace is set in the process that has a network namespace of its own.
const inNamespace = "SOAK_TEST_NETNS"

// A machine that forbids user namespaces, or lacks the tools, leaves this out and says so in its log, as scripts/soak does.
func TestWayToTheReceiversChanges(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		again(t)
		return
	}
	err := stage.Run(t.Context(), time.Minute, func(s *stage.Stage) error {
		n, err := newNetwork(s)
		if err != nil {
			return err
		}
		l, err := new(net.ListenConfig).Listen(s.Context(), "tcp", receiversAddress+":0")
		if err != nil {
			return err
		}
		defer l.Close()
		from := func(want string) {
			t.Helper()
			c, err := n.dial(s.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Errorf("dial: %v", err)
				return
			}
			if got := c.LocalAddr().String(); !strings.HasPrefix(got, want+":") {
				t.Errorf("connected from %s, want %s", got, want)
			}
			_ = c.Close()
		}
		from("192.0.2.2")
		if err := n.readdress(); err != nil {
			return err
		}
		from("192.0.2.3")
		if err := n.inside("link set wan0 down"); err != nil {
			return err
		}
		from("198.51.100.2")
		if err := errors.Join(n.inside("link set wan0 up"), n.route()); err != nil {
			return err
		}
		from("192.0.2.3")
		if err := n.unroute(); err != nil {
			return err
		}
		if _, err := n.dial(s.Context(), "tcp", l.Addr().String()); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("without a route: %v", err)
		}
		if err := n.route(); err != nil {
			return err
		}
		from("192.0.2.3")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// again runs the test in a user and a network namespace of its own.
func again(t *testing.T) {
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("left out: %v", err)
			return
		}
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), inNamespace+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	switch {
	case len(out) == 0 && err != nil:
		t.Logf("left out: no namespace here: %v", err)
	case strings.Contains(string(out), "Unknown device type"):
		t.Logf("left out: this kernel has no bridges: %s", out)
	case err != nil:
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
}
