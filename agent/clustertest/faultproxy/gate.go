package faultproxy

import (
	"net"
	"sync"
)

// gateListener makes every connection one that can be frozen.
type gateListener struct {
	net.Listener

	proxy *Proxy
}

// Accept registers the connection with the proxy.
func (l *gateListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &gateConn{Conn: conn, proxy: l.proxy, open: closedChannel(), gone: make(chan struct{})}
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	if l.proxy.listener != l.Listener {
		// It slipped in while the listener was being closed.
		c.reset()
		return nil, net.ErrClosed
	}
	l.proxy.conns[c] = struct{}{}
	if l.proxy.freezeNew {
		c.freeze()
	}
	return c, nil
}

// gateConn is a TCP connection whose bytes pass only while its gate is open. It lies below TLS.
type gateConn struct {
	net.Conn

	proxy *Proxy

	mu sync.Mutex
	// open is closed while bytes pass.
	open chan struct{}
	// frozen says that open is not closed.
	frozen bool
	// gone is closed with the connection.
	gone     chan struct{}
	goneOnce sync.Once
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// pass waits until bytes may pass or the connection is gone.
func (c *gateConn) pass() {
	c.mu.Lock()
	open := c.open
	c.mu.Unlock()
	select {
	case <-open:
	case <-c.gone:
	}
}

// Read also holds back what came just before the gate was shut, and the end of the stream.
func (c *gateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.pass()
	return n, err
}

// Write sends nothing while the gate is shut.
func (c *gateConn) Write(b []byte) (int, error) {
	c.pass()
	return c.Conn.Write(b)
}

// Close sends no FIN while the gate is shut: it waits in the background for the gate.
func (c *gateConn) Close() error {
	c.mu.Lock()
	frozen := c.frozen
	c.mu.Unlock()
	if frozen {
		go func() {
			c.pass()
			_ = c.end()
		}()
		return nil
	}
	return c.end()
}

func (c *gateConn) end() error {
	c.goneOnce.Do(func() { close(c.gone) })
	c.proxy.mu.Lock()
	delete(c.proxy.conns, c)
	c.proxy.mu.Unlock()
	return c.Conn.Close()
}

// reset ends the connection with a RST. The proxy's lock is held.
func (c *gateConn) reset() {
	c.goneOnce.Do(func() { close(c.gone) })
	delete(c.proxy.conns, c)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Conn.Close()
}

func (c *gateConn) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen {
		c.open, c.frozen = make(chan struct{}), true
	}
}

func (c *gateConn) thaw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		close(c.open)
		c.frozen = false
	}
}
