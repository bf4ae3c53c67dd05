package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	// groups are RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and RTMGRP_IPV6_ROUTE.
	groups = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
	// settle is how long events gather before the tables are read again. A modem that comes back makes a dozen.
	settle = 200 * time.Millisecond
	// bufferSize is the largest answer that the kernel makes to a dump (NLMSG_GOODSIZE grows to 32 KiB).
	bufferSize = 32 << 10
	// maxInterrupted is how often a dump is made again because the table changed meanwhile.
	maxInterrupted = 3
)

var (
	errInterrupted = errors.New("the table changed while it was read")
	errOverrun     = errors.New("events were lost")
)

// watcher listens on one socket and reads the tables over another.
type watcher struct {
	link   *Link
	names  []string
	events *os.File
	buffer []byte
	last   snapshot
	before verdict
	seen   bool
}

// watch reads the tables once before it returns.
func watch(ctx context.Context, l *Link, names []string) {
	// Listening comes first: what changes during the first reading is an event then.
	events, err := open(groups)
	if err != nil {
		l.publish(Unknown, "netlink: "+err.Error(), false)
		return
	}
	w := &watcher{link: l, names: names, events: events, buffer: make([]byte, bufferSize)}
	w.refresh(ctx)
	context.AfterFunc(ctx, func() { _ = events.Close() })
	go w.run(ctx)
}

// open returns a socket that joined the groups. It is non-blocking, so that the runtime's poller waits on it.
func open(groups uint32) (*os.File, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: groups}); err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("join groups: %w", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}

// run waits for events; after the first that matters it waits settle longer and then reads the tables.
func (w *watcher) run(ctx context.Context) {
	pending := false
	for {
		n, err := receive(w.events, w.buffer)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			_ = w.events.SetReadDeadline(time.Time{})
			pending = false
			w.refresh(ctx)
			continue
		case errors.Is(err, syscall.ENOBUFS), errors.Is(err, errTruncated):
			// Events were lost; the tables tell all of them.
		case err != nil:
			w.link.publish(Unknown, "netlink: "+err.Error(), false)
			return
		default:
			if !w.last.anyMatters(w.buffer[:n]) {
				continue
			}
		}
		if !pending {
			pending = true
			if err := w.events.SetReadDeadline(time.Now().Add(settle)); err != nil {
				w.link.publish(Unknown, "netlink: "+err.Error(), false)
				return
			}
		}
	}
}

// anyMatters goes through a datagram of events; one that is cut short counts.
func (s *snapshot) anyMatters(b []byte) bool {
	for len(b) > 0 {
		m, rest, err := next(b)
		if err != nil || m.kind == nlmsgOverrun || s.matters(m) {
			return true
		}
		b = rest
	}
	return false
}

// refresh reads the tables and publishes what they mean. The kernel sends no event for the IPv4 routes that it drops with
// their interface, so keeping a table up to date by events alone would go wrong.
func (w *watcher) refresh(ctx context.Context) {
	s, err := w.read()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.link.publish(Unknown, "netlink: "+err.Error(), false)
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
		if s, err = dumpAll(); !errors.Is(err, errInterrupted) {
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
	f, err := open(0)
	if err != nil {
		return s, err
	}
	defer func() { _ = f.Close() }()
	if err := f.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return s, fmt.Errorf("set deadline: %w", err)
	}
	buffer := make([]byte, bufferSize)
	var interrupted error
	for seq, table := range []struct {
		kind uint16
		// size is that of the message after the header.
		size int
	}{{rtmGetLink, 16}, {rtmGetAddr, 8}, {rtmGetRoute, 12}} {
		err := dump(f, buffer, table.kind, uint32(seq+1), table.size, s.add)
		if errors.Is(err, errInterrupted) {
			interrupted = err
		} else if err != nil {
			return s, fmt.Errorf("read table %d: %w", table.kind, err)
		}
	}
	return s, interrupted
}

// reaches asks the kernel which route leads to address. It sends nothing.
func reaches(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	f, err := open(0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	if err := f.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return false
	}
	const seq, size = 1, 12
	family := byte(syscall.AF_INET)
	if address.Is6() {
		family = syscall.AF_INET6
	}
	to := address.AsSlice()
	request := make([]byte, headerSize+size, headerSize+size+4+len(to))
	binary.NativeEndian.PutUint16(request[4:], rtmGetRoute)
	binary.NativeEndian.PutUint16(request[6:], flagRequest)
	binary.NativeEndian.PutUint32(request[8:], seq)
	request[headerSize], request[headerSize+1] = family, byte(address.BitLen())
	binary.NativeEndian.PutUint32(request[headerSize+8:], fibMatch)
	request = binary.NativeEndian.AppendUint16(request, uint16(4+len(to)))
	request = binary.NativeEndian.AppendUint16(request, rtaDst)
	request = append(request, to...)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	if err := send(f, request); err != nil {
		return false
	}
	buffer := make([]byte, 4096)
	read, err := receive(f, buffer)
	if err != nil {
		return false
	}
	answer, _, err := next(buffer[:read])
	return err == nil && answer.seq == seq && answer.kind == rtmNewRoute && specific(answer.body)
}

// dump asks for one table and calls add for each message of it.
func dump(f *os.File, buffer []byte, kind uint16, seq uint32, size int, add func(message)) error {
	request := make([]byte, headerSize+size)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], kind)
	binary.NativeEndian.PutUint16(request[6:], flagRequest|flagDump)
	binary.NativeEndian.PutUint32(request[8:], seq)
	if err := send(f, request); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	var interrupted error
	for {
		n, err := receive(f, buffer)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		for b := buffer[:n]; len(b) > 0; {
			m, rest, err := next(b)
			if err != nil {
				return err
			}
			b = rest
			if m.seq != seq {
				continue
			}
			if m.flags&flagInterrupted != 0 {
				interrupted = errInterrupted
			}
			switch m.kind {
			case nlmsgDone:
				return interrupted
			case nlmsgOverrun:
				return errOverrun
			case nlmsgError:
				if len(m.body) < 4 {
					return errTruncated
				}
				if code := -int32(binary.NativeEndian.Uint32(m.body)); code != 0 {
					return syscall.Errno(code)
				}
			default:
				add(m)
			}
		}
	}
}

func send(f *os.File, b []byte) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = syscall.Sendto(int(fd), b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
		return !errors.Is(sent, syscall.EAGAIN)
	})
	return errors.Join(err, sent)
}

// receive reads one datagram of the kernel. What another process sends is passed over.
func receive(f *os.File, buffer []byte) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	for {
		var n, flags int
		var from syscall.Sockaddr
		var received error
		err := raw.Read(func(fd uintptr) bool {
			for {
				n, _, flags, from, received = syscall.Recvmsg(int(fd), buffer, nil, 0)
				if !errors.Is(received, syscall.EINTR) {
					return !errors.Is(received, syscall.EAGAIN)
				}
			}
		})
		if err = errors.Join(err, received); err != nil {
			return 0, err
		}
		if flags&syscall.MSG_TRUNC != 0 {
			return 0, errTruncated
		}
		if sender, ok := from.(*syscall.SockaddrNetlink); ok && sender.Pid == 0 {
			return n, nil
		}
	}
}
