package server

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// grace is how long a connection may let the server wait, for its request or for its answer to be taken, before it is closed in favour of
// another. Whoever waited in the kernel's queue has sent its request by the time it is accepted, and needs none of it.
const grace = 10 * time.Millisecond

// A phase of a connection.
type phase int

const (
	// accepted: the server has not begun to read.
	accepted phase = iota
	// asking: the server waits for a whole request header.
	asking
	// handling: the handler works; the server is the slow one.
	handling
	// answering: the answer is written.
	answering
)

// listener is a listener that keeps at most MaxConns connections open. When there are more, Accept closes one that lets the server wait for longer
// than the grace: the oldest of the address that has most of them, so that a flood from one pod shuts out itself and not the kubelet. As
// long as there is none, Accept waits, and newcomers wait in the kernel's queue.
type listener struct {
	net.Listener
	// changed has a token when a connection was closed or changed its phase.
	changed chan struct{}

	// mu guards open, closed, and the phases of the connections.
	mu     sync.Mutex
	open   []*conn // the oldest first
	closed bool
}

func newListener(l net.Listener) *listener {
	return &listener{Listener: l, changed: make(chan struct{}, 1)}
}

// Accept returns the next connection when there is a place for it.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, listener: l}
	if a, ok := inner.RemoteAddr().(*net.TCPAddr); ok {
		c.source, _ = netip.AddrFromSlice(a.IP)
	}
	for {
		pause, err := l.place(c)
		switch {
		case err != nil:
			_ = inner.Close()
			return nil, err
		case pause == 0:
			return c, nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-l.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// place gives c a place, or returns how long to wait before it is worth asking again.
func (l *listener) place(c *conn) (pause time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, net.ErrClosed
	}
	if len(l.open) >= MaxConns {
		victim, pause := l.victim(time.Now())
		if victim < 0 {
			return pause, nil
		}
		_ = l.open[victim].Conn.Close()
		l.open = slices.Delete(l.open, victim, victim+1)
	}
	l.open = append(l.open, c)
	return 0, nil
}

// victim returns the place of the connection to close, or -1 and how long it takes until there may be one.
func (l *listener) victim(now time.Time) (victim int, pause time.Duration) {
	from := make(map[netip.Addr]int, len(l.open))
	for _, c := range l.open {
		from[c.source]++
	}
	most := 0
	for _, c := range l.open {
		// One that was just accepted will wait in a moment.
		if c.phase != handling {
			most = max(most, from[c.source])
		}
	}
	pause = time.Second
	for i, c := range l.open {
		left, waits := c.patience(now)
		switch {
		case !waits || from[c.source] < most:
		case left <= 0:
			return i, 0
		default:
			pause = min(pause, left)
		}
	}
	return -1, pause
}

// Close closes the listener. Its connections are the server's to close.
func (l *listener) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake()
	return l.Listener.Close()
}

func (l *listener) wake() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// conn is a connection of a listener.
type conn struct {
	net.Conn
	listener *listener
	// source is the client's address.
	source netip.Addr
	// phase and since, when it began, are guarded by listener.mu.
	phase phase
	since time.Time
}

// patience returns how long the client may still let the server wait. It reports false while the client does not: the server is at work.
func (c *conn) patience(now time.Time) (left time.Duration, waits bool) {
	if c.phase == accepted || c.phase == handling {
		return 0, false
	}
	return grace - now.Sub(c.since), true
}

// enter begins a phase.
func (c *conn) enter(p phase) {
	c.listener.mu.Lock()
	c.phase, c.since = p, time.Now()
	c.listener.mu.Unlock()
	c.listener.wake()
}

// Read begins the wait for a request, and does not begin it again with each byte of a header that trickles in. While a request is
// handled, net/http reads too, to notice a client that leaves.
func (c *conn) Read(b []byte) (int, error) {
	c.advance(accepted, asking)
	return c.Conn.Read(b)
}

// Write begins the wait for the answer to be taken.
func (c *conn) Write(b []byte) (int, error) {
	c.advance(handling, answering)
	return c.Conn.Write(b)
}

// advance begins the phase to, if the connection is in the phase from.
func (c *conn) advance(from, to phase) {
	c.listener.mu.Lock()
	is := c.phase == from
	c.listener.mu.Unlock()
	if is {
		c.enter(to)
	}
}

// Close gives the place back.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	if i := slices.Index(c.listener.open, c); i >= 0 {
		c.listener.open = slices.Delete(c.listener.open, i, i+1)
	}
	c.listener.mu.Unlock()
	c.listener.wake()
	return c.Conn.Close()
}
