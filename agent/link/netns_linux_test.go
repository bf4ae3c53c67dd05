package link

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
)

var update = flag.Bool("update", false, "record testdata from a network namespace")

// inNamespace is set in the process that runs inside a network namespace of its own.
const inNamespace = "EDGE_EVENTER_TEST_NETNS"

// enter runs the calling test again in a new user and network namespace, where it is root over an empty network, and reports
// whether the caller is that second run. A machine that forbids user namespaces, or has no ip command, leaves this part out
// and says so in its log; everything that is parsed and judged is tested over recorded messages as well.
func enter(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Logf("left out: %v", err)
		return false
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
	if *update {
		args = append(args, "-update")
	}
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), inNamespace+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Logf("left out: no namespace here: %v", err)
		return false
	}
	if err := c.Wait(); err != nil {
		t.Errorf("in the namespace: %v\n%s", err, out.String())
	}
	return false
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// record keeps what a dump of all tables answers.
func record(t *testing.T, name string) {
	t.Helper()
	if !*update {
		return
	}
	var all []byte
	for _, table := range []int{rtmGetLink, rtmGetAddr, rtmGetRoute} {
		b, err := syscall.NetlinkRIB(table, syscall.AF_UNSPEC)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	if err := os.WriteFile(filepath.Join("testdata", name+".netlink"), all, 0o644); err != nil {
		t.Fatal(err)
	}
}

// becomes waits for a state.
func becomes(t *testing.T, l *Link, want State) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		changed := l.Changed()
		if l.Up() == want {
			return
		}
		select {
		case <-changed:
		case <-deadline.Done():
			t.Fatalf("the link is %v (%s), want %v", l.Up(), l.Status().Reason, want)
		}
	}
}

func TestDefaultRouteComesAndGoes(t *testing.T) {
	if !enter(t) {
		return
	}
	record(t, "empty")
	l := Watch(t.Context(), Options{})
	if l.Up() != Unknown {
		t.Fatalf("the link is %v before there ever was a default route, want unknown", l.Up())
	}
	ip(t, "link add wan0 type veth peer name wan9")
	ip(t, "link set wan9 up")
	ip(t, "address add 192.0.2.2/24 dev wan0")
	ip(t, "link set wan0 up")
	ip(t, "route add default via 192.0.2.1 dev wan0")
	becomes(t, l, Up)
	record(t, "up")

	// The kernel drops the route with the interface and sends no event for the route.
	ip(t, "link set wan0 down")
	becomes(t, l, Down)
	record(t, "interface-down")
	ip(t, "link set wan0 up")
	ip(t, "route add default via 192.0.2.1 dev wan0")
	becomes(t, l, Up)

	ip(t, "route delete default")
	becomes(t, l, Down)
	record(t, "no-route")
	ip(t, "-6 address add 2001:db8::2/64 dev wan0 nodad")
	ip(t, "-6 route add default via 2001:db8::1 dev wan0")
	becomes(t, l, Up)
	record(t, "up-ipv6")

	ip(t, "link delete wan0")
	becomes(t, l, Down)
	if s := l.Status(); s.Outages != 3 || s.OutageTo.Before(s.OutageFrom) || s.OutageFrom.IsZero() {
		t.Errorf("outages are %+v, want 3 and the times of the second", s)
	}
}

func TestNamedInterfaceComesAndGoes(t *testing.T) {
	if !enter(t) {
		return
	}
	ip(t, "link add lan0 type veth peer name lan9")
	ip(t, "link set lan9 up")
	ip(t, "address add 198.51.100.2/24 dev lan0")
	ip(t, "link set lan0 up")
	ip(t, "route add default via 198.51.100.1 dev lan0")
	l := Watch(t.Context(), Options{Interfaces: []string{"wan0"}})
	if l.Up() != Down {
		t.Fatalf("the link is %v without the named interface, want down", l.Up())
	}
	ip(t, "link add wan0 type veth peer name wan9")
	ip(t, "link set wan9 up")
	ip(t, "link set wan0 up")
	ip(t, "address add 192.0.2.2/24 dev wan0")
	becomes(t, l, Up)
	record(t, "two-interfaces")
	ip(t, "address delete 192.0.2.2/24 dev wan0")
	becomes(t, l, Down)
}

func TestPodNetworkIsUnknown(t *testing.T) {
	if !enter(t) {
		return
	}
	// The other end lives in the namespace of a process of its own, as that of a pod lives in the host's.
	other := exec.CommandContext(t.Context(), "unshare", "--net", "cat")
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	if err := other.Start(); err != nil {
		t.Logf("left out: %v", err)
		return
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		if ns, err := os.Readlink("/proc/" + strconv.Itoa(other.Process.Pid) + "/ns/net"); err == nil && ns != own {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no second namespace")
		}
	}
	ip(t, "link add eth0 type veth peer name veth1 netns "+strconv.Itoa(other.Process.Pid))
	ip(t, "address add 10.42.0.7/24 dev eth0")
	ip(t, "link set eth0 up")
	if out, err := exec.CommandContext(t.Context(), "nsenter", "--net=/proc/"+strconv.Itoa(other.Process.Pid)+"/ns/net",
		"ip", "link", "set", "veth1", "up").CombinedOutput(); err != nil {
		t.Logf("left out: %v %s", err, out)
		return
	}
	ip(t, "route add default via 10.42.0.1 dev eth0")
	record(t, "pod")
	l := Watch(t.Context(), Options{Interfaces: []string{"wwan0"}})
	if s := l.Status(); s.State != Unknown || !strings.Contains(s.Reason, "pod") {
		t.Errorf("with a named interface: %+v, want unknown, and why", s)
	}
	l = Watch(t.Context(), Options{})
	if s := l.Status(); s.State != Unknown || !strings.Contains(s.Reason, "pod") {
		t.Errorf("%+v, want unknown, and why", s)
	}
	if err := stdin.Close(); err != nil {
		t.Error(err)
	}
	_ = other.Wait()
}

func TestNearDestinationIsReachedWithoutADefaultRoute(t *testing.T) {
	if !enter(t) {
		return
	}
	ip(t, "link set lo up")
	ip(t, "link add lan0 type veth peer name lan9")
	ip(t, "link set lan9 up")
	ip(t, "address add 198.51.100.2/24 dev lan0")
	ip(t, "-6 address add 2001:db8:1::2/64 dev lan0 nodad")
	ip(t, "link set lan0 up")
	ip(t, "route add 203.0.113.0/24 via 198.51.100.1")
	check := func(when string, want bool, addresses ...string) {
		t.Helper()
		for _, text := range addresses {
			if got := Reaches(netip.MustParseAddr(text)); got != want {
				t.Errorf("%s: %s reached: %v, want %v", when, text, got, want)
			}
		}
	}
	near := []string{"198.51.100.7", "203.0.113.9", "2001:db8:1::7", "::ffff:198.51.100.7"}
	check("no default route", true, append(near, "198.51.100.2", "127.0.0.1", "::1")...)
	check("no default route", false, "192.0.2.7", "2001:db8:2::7")
	// A default route is what the state of the link is about.
	ip(t, "route add default via 198.51.100.1 dev lan0")
	ip(t, "-6 route add default via 2001:db8:1::1 dev lan0")
	check("default route", true, near...)
	check("default route", false, "192.0.2.7", "2001:db8:2::7")
	// The kernel takes up to a second to notice that the carrier is gone.
	ip(t, "link set lan9 down")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); Reaches(netip.MustParseAddr("198.51.100.7")); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("a destination behind an interface without a carrier is reached")
		}
	}
	check("no carrier", false, near...)
	ip(t, "link set lan0 down")
	check("interface down", false, "198.51.100.7", "203.0.113.9", "2001:db8:1::7")
	check("interface down", true, "127.0.0.1", "::1")
}

func TestAnotherWayOutIsTold(t *testing.T) {
	if !enter(t) {
		return
	}
	ip(t, "link add wan0 type veth peer name wan9")
	ip(t, "link set wan9 up")
	ip(t, "address add 192.0.2.2/24 dev wan0")
	ip(t, "address add 192.0.2.3/24 dev wan0")
	ip(t, "address add 192.0.2.4/24 dev wan0")
	ip(t, "link set wan0 up")
	ip(t, "route add default via 192.0.2.1 dev wan0")
	told := make(chan struct{}, 16)
	l := Watch(t.Context(), Options{Moved: func() { told <- struct{}{} }})
	becomes(t, l, Up)
	<-told
	tells := func(what string) {
		t.Helper()
		before := l.Ways()
		ip(t, what)
		select {
		case <-told:
		case <-time.After(time.Minute):
			t.Fatalf("%q was not told", what)
		}
		if l.Ways() <= before {
			t.Errorf("%q was not counted", what)
		}
	}
	tells("address delete 192.0.2.3/24 dev wan0")
	tells("route replace default via 192.0.2.9 dev wan0")
	// The same interface, renumbered: what was connected from the address before is dead.
	tells("address delete 192.0.2.4/24 dev wan0")
	tells("route add default via 192.0.2.1 dev wan0 metric 10")
}

// TestLostEventsAreAReasonToReadTheTables overruns the socket before anybody reads from it.
func TestLostEventsAreAReasonToReadTheTables(t *testing.T) {
	if !enter(t) {
		return
	}
	events, err := open(groups)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := events.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) }); err != nil {
		t.Fatal(err)
	}
	ip(t, "link add wan0 type veth peer name wan9")
	ip(t, "link set wan9 up")
	ip(t, "address add 192.0.2.2/24 dev wan0")
	ip(t, "link set wan0 up")
	ip(t, "route add default via 192.0.2.1 dev wan0")
	l := newLink(Options{})
	w := &watcher{link: l, events: events}
	context.AfterFunc(t.Context(), func() { _ = events.Close() })
	go w.run(t.Context())
	becomes(t, l, Up)
}

// forge sends a message to a socket from another one, as a privileged process could.
func forge(t *testing.T, to *netlink.Conn, forged []byte) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Sendto(fd, forged, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Pid: to.PID()}); err != nil {
		t.Fatalf("send to another process: %v", err)
	}
}

// TestOnlyTheKernelIsBelieved forges an interface before the kernel can answer: its sequence number is not that of the request.
func TestOnlyTheKernelIsBelieved(t *testing.T) {
	if !enter(t) {
		return
	}
	ours, err := open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ours.Close() }()
	if err := ours.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	forged := netlink.Message{Header: netlink.Header{Length: 32, Type: rtmNewLink}, Data: make([]byte, 16)}
	forged.Data[4] = 99
	one, err := forged.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	forged.Header.Flags = netlink.Multi
	part, err := forged.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	forge(t, ours, one)
	forge(t, ours, part)
	var s snapshot
	if err := dump(ours, rtmGetLink, 16, s.add); err != nil {
		t.Fatal(err)
	}
	if _, believed := s.links[99]; believed || len(s.links) == 0 {
		t.Errorf("interfaces %v, want the kernel's after another's", s.links)
	}
}

// TestGarbageDoesNotEndTheWatch sends what is no message to the socket that waits for events.
func TestGarbageDoesNotEndTheWatch(t *testing.T) {
	if !enter(t) {
		return
	}
	events, err := open(groups)
	if err != nil {
		t.Fatal(err)
	}
	forge(t, events, []byte("forged by another process, and long enough"))
	l := newLink(Options{})
	w := &watcher{link: l, events: events}
	context.AfterFunc(t.Context(), func() { _ = events.Close() })
	go w.run(t.Context())
	ip(t, "link add wan0 type veth peer name wan9")
	ip(t, "link set wan9 up")
	ip(t, "address add 192.0.2.2/24 dev wan0")
	ip(t, "link set wan0 up")
	ip(t, "route add default via 192.0.2.1 dev wan0")
	becomes(t, l, Up)
}
