package dial

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout returns the TCP_USER_TIMEOUT of a connection.
func userTimeout(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	raw, err := c.(*conn).Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var milliseconds int
	var failed error
	err = raw.Control(func(fd uintptr) {
		milliseconds, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return time.Duration(milliseconds) * time.Millisecond
}

// connected is a counted connection on loopback whose other end sends back what it reads.
func connected(t *testing.T) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	_, d := start(nil)
	c, err := d.For("ops", nil)(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOnlyAConnectionThatPausedIsGivenUpSoon(t *testing.T) {
	c := connected(t)
	for _, paused := range []time.Duration{0, idleAfter / 2, 2 * idleAfter} {
		c.(*conn).used.Store(int64(time.Since(c.(*conn).opened) - paused))
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		want := time.Duration(0)
		if paused > idleAfter {
			want = deadAfter
		}
		if got := userTimeout(t, c); got != want {
			t.Errorf("after a pause of %s the limit is %s, want %s", paused, got, want)
		}
	}
	// What comes from the other side is no pause.
	c = connected(t)
	c.(*conn).used.Store(-int64(time.Hour))
	if _, err := c.(*conn).Conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil || userTimeout(t, c) != 0 {
		t.Errorf("an answer that just came is taken for a pause: %v, %s", err, userTimeout(t, c))
	}
}

// TestDeadConnectionIsFoundWithinSeconds takes the way of a kept connection away without a word, as a modem does that got another
// address: no reset, no event. It runs in a network namespace of its own; where the kernel forbids that, it leaves itself out.
func TestDeadConnectionIsFoundWithinSeconds(t *testing.T) {
	const inside = "EDGE_EVENTER_TEST_NETNS"
	if os.Getenv(inside) == "" {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		c.Env = append(os.Environ(), inside+"=1")
		c.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		var out strings.Builder
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Logf("left out: no namespace here: %v", err)
		} else if err := c.Wait(); err != nil {
			t.Errorf("in the namespace: %v\n%s", err, out.String())
		}
		return
	}
	loopback := func(state string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", "lo", state).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	loopback("up")
	c := connected(t)
	buffer := make([]byte, 1)
	for range 2 {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(buffer); err != nil {
			t.Fatal(err)
		}
	}
	loopback("down")
	c.(*conn).used.Store(-int64(time.Minute))
	begin := time.Now()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(buffer)
	if took := time.Since(begin); !errors.Is(err, syscall.ETIMEDOUT) || took > 20*time.Second {
		t.Errorf("%v after %s, want a connection that timed out after %s", err, took, deadAfter)
	}
	t.Logf("found after %s", time.Since(begin).Round(100*time.Millisecond))
}
