package link

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
)

const (
	// groups are RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and RTMGRP_IPV6_ROUTE.
	groups = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
	// settle is how long events gather before the tables are read again. A modem that comes back makes a dozen.
	settle = 200 * time.Millisecond
	// patience is how long the kernel may take to answer.
	patience = 10 * time.Second
	// maxInterrupted is how often a dump is made again because the table changed meanwhile.
	maxInterrupted = 3
)

var errInterrupted = errors.New("the table changed while it was read")

// watcher listens on one socket and reads the tables over another.
type watcher struct {
	link   *Link
	names  []string
	events *netlink.Conn
	last   snapshot
	before verdict
	seen   bool
}

// watch reads the tables once before it returns.
func watch(ctx context.Context, l *Link, names []string) {
	// Listening comes first: what changes during the first reading is an event then.
	events, err := open(groups)
	if err != nil {
		l.publish(Unknown, err.Error(), false)
		return
	}
	w := &watcher{link: l, names: names, events: events}
	w.refresh(ctx)
	context.AfterFunc(ctx, func() { _ = events.Close() })
	go w.run(ctx)
}

// open returns a socket that joined the groups.
func open(groups uint32) (*netlink.Conn, error) {
	c, err := netlink.Dial(syscall.NETLINK_ROUTE, &netlink.Config{Groups: groups})
	if err != nil {
		return nil, fmt.Errorf("netlink: open socket: %w", err)
	}
	return c, nil
}

// run waits for events; after the first that matters it waits settle longer and then reads the tables.
func (w *watcher) run(ctx context.Context) {
	pending := false
	for {
		matters, err := w.receive()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			_ = w.events.SetReadDeadline(time.Time{})
			pending = false
			w.refresh(ctx)
			continue
		case err != nil && fatal(err):
			w.link.publish(Unknown, err.Error(), false)
			return
		case err == nil && !matters:
			// After any other error events were lost, and the tables tell all of them.
			continue
		}
		if !pending {
			pending = true
			if err := w.events.SetReadDeadline(time.Now().Add(settle)); err != nil {
				w.link.publish(Unknown, err.Error(), false)
				return
			}
		}
	}
}

// receive waits for the next datagram of events and reports whether one of them can change the verdict.
func (w *watcher) receive() (matters bool, err error) {
	for m, err := range w.events.ReceiveIter() {
		if err != nil {
			return false, err
		}
		matters = matters || m.Header.Type == netlink.Overrun || w.last.matters(m)
	}
	return matters, nil
}

// fatal reports an error of the socket that will come again. Lost events and a message that cannot be read do not.
func fatal(err error) bool {
	number, ok := errors.AsType[syscall.Errno](err)
	return ok && number != syscall.ENOBUFS || errors.Is(err, os.ErrClosed)
}

// refresh reads the tables and publishes what they mean. The kernel sends no event for the IPv4 routes that it drops with
// their interface, so keeping a table up to date by events alone would go wrong.
func (w *watcher) refresh(ctx context.Context) {
	s, err := w.read()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.link.publish(Unknown, err.Error(), false)
		return
	}
	w.last = s
	v := s.judge(w.names, w.seen)
	w.seen = w.seen || v.state == Up
	moved := v.moved(&w.before)
	w.before = v
	w.link.publish(v.state, v.reason, moved)
}

// read makes a snapshot, again if the tables change meanwhile.
func (w *watcher) read() (snapshot, error) {
	var s snapshot
	var err error
	for range maxInterrupted {
		if s, err = dumpAll(); err == nil || !errors.Is(err, errInterrupted) && fatal(err) {
			break
		}
	}
	if errors.Is(err, errInterrupted) {
		// An event follows for what changed.
		err = nil
	}
	return s, err
}

func dumpAll() (snapshot, error) {
	var s snapshot
	c, err := open(0)
	if err != nil {
		return s, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return s, fmt.Errorf("set deadline: %w", err)
	}
	var interrupted error
	for _, table := range []struct {
		kind netlink.HeaderType
		// size is that of the message after the header.
		size int
	}{{rtmGetLink, 16}, {rtmGetAddr, 8}, {rtmGetRoute, 12}} {
		err := dump(c, table.kind, table.size, s.add)
		if errors.Is(err, errInterrupted) {
			interrupted = err
		} else if err != nil {
			return s, fmt.Errorf("read table %d: %w", table.kind, err)
		}
	}
	return s, interrupted
}

// dump asks for one table and calls add for each message of it, as it comes: a table may be larger than what is kept of it.
func dump(c *netlink.Conn, kind netlink.HeaderType, size int, add func(netlink.Message)) error {
	request, err := c.Send(netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump}, Data: make([]byte, size),
	})
	if err != nil {
		return err
	}
	for {
		own, foreign, interrupted, err := answers(c, request.Header.Sequence, add)
		if err != nil || interrupted != nil {
			return cmp.Or(err, interrupted)
		}
		if own > 0 || foreign == 0 {
			return nil
		}
		// Somebody else's message, which the library takes for the end of the answer.
	}
}

// answers calls add for each message that answers the request, and counts them and those that do not.
func answers(c *netlink.Conn, sequence uint32, add func(netlink.Message)) (own, foreign int, interrupted, err error) {
	for m, err := range c.ReceiveIter() {
		switch {
		case err != nil:
			return own, foreign, nil, err
		case m.Header.Type == netlink.Overrun:
			return own, foreign, nil, syscall.ENOBUFS
		case m.Header.Sequence != sequence:
			foreign++
			continue
		case m.Header.Flags&netlink.DumpInterrupted != 0:
			interrupted = errInterrupted
		}
		own++
		add(m)
	}
	return own, foreign, interrupted, nil
}

// reaches asks the kernel which route leads to address. It sends nothing.
func reaches(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	c, err := open(0)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return false
	}
	family := byte(syscall.AF_INET)
	if address.Is6() {
		family = syscall.AF_INET6
	}
	to, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: rtaDst, Data: address.AsSlice()}})
	if err != nil {
		return false
	}
	body := make([]byte, 12, 12+len(to))
	body[0], body[1] = family, byte(address.BitLen())
	binary.NativeEndian.PutUint32(body[8:], fibMatch)
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: rtmGetRoute, Flags: netlink.Request}, Data: append(body, to...),
	})
	return err == nil && len(answers) == 1 && answers[0].Header.Type == rtmNewRoute && specific(answers[0].Data)
}
