package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/netlink"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".netlink"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// messages are those of a recorded datagram.
func messages(t testing.TB, b []byte) []netlink.Message {
	t.Helper()
	var all []netlink.Message
	for len(b) > 0 {
		size := (int(binary.NativeEndian.Uint32(b)) + 3) &^ 3
		var m netlink.Message
		if err := m.UnmarshalBinary(b[:size]); err != nil {
			t.Fatal(err)
		}
		all, b = append(all, m), b[size:]
	}
	return all
}

func parse(t testing.TB, b []byte) snapshot {
	t.Helper()
	var s snapshot
	for _, m := range messages(t, b) {
		s.add(m)
	}
	return s
}

func TestVerdictOverRecordedTables(t *testing.T) {
	for _, c := range []struct {
		file   string
		names  []string
		seen   bool
		want   State
		reason string
	}{
		{file: "empty", want: Unknown, reason: "no default route so far"},
		{file: "empty", seen: true, want: Down, reason: "no default route"},
		{file: "up", want: Up, reason: "over wan0"},
		{file: "up", names: []string{"wan0"}, want: Up, reason: "wan0"},
		{file: "up", names: []string{"wwan1"}, want: Down, reason: "no interface of link.interfaces"},
		{file: "interface-down", seen: true, want: Down, reason: "no default route"},
		{file: "interface-down", names: []string{"wan0"}, want: Down, reason: "no interface of link.interfaces"},
		{file: "no-route", seen: true, want: Down, reason: "no default route"},
		{file: "no-route", names: []string{"wan0"}, want: Up, reason: "wan0"},
		{file: "up-ipv6", want: Up, reason: "over wan0"},
		{file: "two-interfaces", names: []string{"wwan1", "wan0"}, want: Up, reason: "wan0"},
		{file: "two-interfaces", want: Up, reason: "over lan0"},
		{file: "pod", want: Unknown, reason: "pod"},
		{file: "pod", names: []string{"wwan0"}, want: Unknown, reason: "pod"},
		{file: "pod", names: []string{"eth0"}, want: Up, reason: "eth0"},
	} {
		s := parse(t, read(t, c.file))
		if v := s.judge(c.names, c.seen); v.state != c.want || !strings.Contains(v.reason, c.reason) {
			t.Errorf("%s, interfaces %v: %v (%s), want %v (%s)", c.file, c.names, v.state, v.reason, c.want, c.reason)
		}
	}
}

func TestEventsThatChangeNothingAreNotRead(t *testing.T) {
	up := messages(t, read(t, "up"))
	s := parse(t, read(t, "up"))
	known := 0
	for _, m := range up {
		if m.Header.Type != rtmNewLink && m.Header.Type != rtmNewAddr {
			continue
		}
		// lo has no address beyond the host, so only what is known of wan0 comes again.
		if known++; s.matters(m) {
			t.Errorf("a message of kind %d that was known already set off a reading", m.Header.Type)
		}
	}
	if known < 3 {
		t.Errorf("only %d messages: the test sees nothing", known)
	}
	before := parse(t, read(t, "interface-down"))
	if !slices.ContainsFunc(up, before.matters) {
		t.Error("the return of an interface set off no reading")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	up := messages(t, read(t, "up"))
	s := snapshot{}
	for index := range int32(2 * maxLinks) {
		for _, m := range up {
			if m.Header.Type == rtmNewLink {
				m.Data = bytes.Clone(m.Data)
				m.Data[4], m.Data[5] = byte(index), byte(index>>8)
			}
			s.add(m)
		}
	}
	if len(s.links) > maxLinks || len(s.defaults) > maxDefaults {
		t.Errorf("%d links and %d routes are kept", len(s.links), len(s.defaults))
	}
}

func TestNothingIsSentWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(Options{})
		if err := l.Wait(t.Context(), nil); err != nil {
			t.Fatalf("unknown must not wait: %v", err)
		}
		l.publish(Up, "test", false)
		l.publish(Down, "test", false)
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- l.Wait(t.Context(), nil) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("Wait returned while the link was down: %v", err)
		case <-time.After(6 * time.Hour):
		}
		l.publish(Up, "test", false)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if late := time.Since(start) - 6*time.Hour; late <= 0 || late > MaxJitter {
			t.Errorf("the attempt comes %v after the return, want a jitter up to %v", late, MaxJitter)
		}
		s := l.Status()
		if s.Outages != 1 || s.OutageTo.Sub(s.OutageFrom) != 6*time.Hour {
			t.Errorf("outage is %+v, want one of 6 hours", s)
		}
	})
}

func TestWaitGoesOnWhenTheLinkFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(Options{})
		l.publish(Down, "test", false)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Wait(ctx, nil) }()
		synctest.Wait()
		l.publish(Up, "test", false)
		synctest.Wait()
		l.publish(Down, "test", false)
		select {
		case err := <-done:
			t.Fatalf("Wait returned though the link went down again during the jitter: %v", err)
		case <-time.After(time.Hour):
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("Wait did not tell that it was cancelled")
		}
	})
}

func TestChangedTellsEachChange(t *testing.T) {
	l := newLink(Options{})
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	c := l.Changed()
	l.publish(Unknown, "still", false)
	if closed(c) {
		t.Error("a change of the reason alone was told")
	}
	l.publish(Up, "first", true)
	if !closed(c) {
		t.Error("up was not told")
	}
	c = l.Changed()
	l.publish(Up, "another interface", true)
	if !closed(c) {
		t.Error("another way out was not told")
	}
}

func TestLogHasOneLineForEachChange(t *testing.T) {
	var log bytes.Buffer
	l := newLink(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, state := range []State{Unknown, Unknown, Up, Up, Down, Down, Down, Up} {
		l.publish(state, "because", false)
	}
	if n := strings.Count(log.String(), "\n"); n != 4 {
		t.Errorf("%d lines, want 4:\n%s", n, log.String())
	}
}

// FuzzMessages gives each parser each body. The library has taken the header off.
func FuzzMessages(f *testing.F) {
	for _, name := range []string{"empty", "up", "up-ipv6", "two-interfaces", "pod"} {
		for _, m := range messages(f, read(f, name)) {
			f.Add(m.Data)
		}
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		var s snapshot
		for _, kind := range []netlink.HeaderType{rtmNewLink, rtmNewAddr, rtmNewRoute, rtmDelLink, rtmDelAddr, rtmDelRoute} {
			m := netlink.Message{Header: netlink.Header{Type: kind}, Data: b}
			s.matters(m)
			s.add(m)
			s.matters(m)
		}
		specific(b)
		s.judge(nil, true)
		s.judge([]string{"wan0"}, true)
	})
}

// TestOnlyARouteThatLeadsSomewhereIsAWayOut changes the recorded default route into what the kernel also keeps in its tables.
func TestOnlyARouteThatLeadsSomewhereIsAWayOut(t *testing.T) {
	for name, change := range map[string]func(route []byte){
		"none":              func([]byte) {},
		"dead":              func(r []byte) { r[8] |= 0x1 },
		"link down":         func(r []byte) { r[8] |= 0x10 },
		"copy of a lookup":  func(r []byte) { r[9] |= 0x2 },
		"black hole":        func(r []byte) { r[7] = 6 },
		"unreachable":       func(r []byte) { r[7] = 7 },
		"to one network":    func(r []byte) { r[1] = 24 },
		"from one network":  func(r []byte) { r[2] = 24 },
		"shorter than said": func(r []byte) { r[1] = 1 },
	} {
		var s snapshot
		for _, m := range messages(t, read(t, "up")) {
			if _, isDefault := parseDefault(m.Data); m.Header.Type == rtmNewRoute && isDefault {
				change(m.Data)
			}
			s.add(m)
		}
		want := Down
		if name == "none" {
			want = Up
		}
		if v := s.judge(nil, true); v.state != want {
			t.Errorf("change %q: %v (%s), want %v", name, v.state, v.reason, want)
		}
	}
}

// TestOnlyAnAddressThatCanBeUsedMakesAnInterfaceAWayOut: while an address is looked for on the link, or was found there, nothing
// leaves from it.
func TestOnlyAnAddressThatCanBeUsedMakesAnInterfaceAWayOut(t *testing.T) {
	for name, change := range map[string]func(address []byte){
		"none":       func([]byte) {},
		"tentative":  func(a []byte) { a[2] |= 0x40 },
		"duplicate":  func(a []byte) { a[2] |= 0x08 },
		"link-local": func(a []byte) { a[3] = 253 },
	} {
		var s snapshot
		for _, m := range messages(t, read(t, "two-interfaces")) {
			if m.Header.Type == rtmNewAddr {
				change(m.Data)
			}
			s.add(m)
		}
		want := Down
		if name == "none" {
			want = Up
		}
		if v := s.judge([]string{"wan0"}, true); v.state != want {
			t.Errorf("addresses that are %q: %v (%s), want %v", name, v.state, v.reason, want)
		}
	}
}

// TestInterfaceWithoutACarrierIsNoWayOut: the kernel keeps routes and addresses of an interface whose cable is out.
func TestInterfaceWithoutACarrierIsNoWayOut(t *testing.T) {
	for _, names := range [][]string{nil, {"wan0"}} {
		s := parse(t, read(t, "up"))
		for _, m := range messages(t, read(t, "up")) {
			if m.Header.Type == rtmNewLink {
				m.Data[8] &^= iffRunning
				index, i, _ := parseLink(m.Data)
				i.addresses = s.links[index].addresses
				s.links[index] = i
			}
		}
		if v := s.judge(names, true); v.state != Down {
			t.Errorf("interfaces %v: %v (%s), want down", names, v.state, v.reason)
		}
	}
}

// TestOneWayOutIntoAPodDoesNotHideAnother has a default route of the host's own beside one that leaves into another namespace.
func TestOneWayOutIntoAPodDoesNotHideAnother(t *testing.T) {
	s := parse(t, read(t, "pod"))
	if v := s.judge(nil, true); v.state != Unknown {
		t.Fatalf("%v (%s), want unknown", v.state, v.reason)
	}
	s.links[77] = iface{name: "wan0", up: true, addresses: []string{"a"}}
	s.defaults = append(s.defaults, []hop{{index: 77}})
	if v := s.judge(nil, true); v.state != Up {
		t.Errorf("%v (%s), want up", v.state, v.reason)
	}
}
