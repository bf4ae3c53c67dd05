package faultproxy

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
)

// Freeze stops all bytes of the connections that are open now, in both directions and without a FIN: they are half-open.
// The proxy's kernel still acknowledges what the client sends. New connections work, unless newToo is set.
func (p *Proxy) Freeze(newToo bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freezeNew = newToo
	for c := range p.conns {
		c.freeze()
	}
}

// Thaw lets the bytes of all connections flow again.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freezeNew = false
	for c := range p.conns {
		c.thaw()
	}
}

// Connections returns how many connections are open, frozen ones included.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// CutConnections ends the connections that are open now with a TCP reset. New ones work.
func (p *Proxy) CutConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset()
	}
}

// Refuse closes the listener and resets all connections: a new one is refused by the kernel.
func (p *Proxy) Refuse(t clustertest.T) {
	t.Helper()
	if err := p.refuse(); err != nil {
		t.Fatalf("close the proxy's listener: %v", err)
	}
}

func (p *Proxy) refuse() error {
	p.mu.Lock()
	listener := p.listener
	p.listener = nil
	p.mu.Unlock()
	var err error
	if listener != nil {
		err = listener.Close()
	}
	p.CutConnections()
	return err
}

// Accept takes connections again after Refuse, on the same address.
func (p *Proxy) Accept(t clustertest.T) {
	t.Helper()
	if err := p.listen(); err != nil {
		t.Fatalf("open the proxy's listener: %v", err)
	}
}

// listen opens the listener, at the first time on a port of its choice.
func (p *Proxy) listen() error {
	var listener net.Listener
	var err error
	if p.address != "" {
		listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", p.address)
	} else {
		listener, err = listenOnFixedPort()
	}
	if err != nil {
		return err
	}
	p.address = listener.Addr().String()
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	go func() {
		// It ends with the listener, and its error says no more than that.
		_ = p.server.ServeTLS(&gateListener{Listener: listener, proxy: p}, "", "")
	}()
	return nil
}

// listenOnFixedPort takes a port below the kernel's range for outgoing connections. While the listener is closed, a client's
// next connection could else be given that very port.
func listenOnFixedPort() (net.Listener, error) {
	const lowest, highest = 10_000, 32_000
	var listener net.Listener
	var err error
	for range 100 {
		port := strconv.Itoa(lowest + rand.IntN(highest-lowest))
		if listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return listener, nil
		}
	}
	return nil, err
}
