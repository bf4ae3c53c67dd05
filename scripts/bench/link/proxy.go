package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// mode is what the proxy does to connections.
type mode int

const (
	pass mode = iota
	// cut closes each connection at once.
	cut
	// drop takes what is sent and gives nothing on, as a link without a way back does.
	drop
)

// proxy stands for the link.
type proxy struct {
	listener net.Listener
	target   string
	// delay holds each piece back; rate is in bytes a second, 0 for no bound. They are set before the first connection.
	delay time.Duration
	rate  int

	bytes, last atomic.Int64
	// dropped counts the connections that spoke into silence.
	dropped atomic.Int64

	mu   sync.Mutex
	mode mode
	open map[net.Conn]bool
}

func newProxy(ctx context.Context, target string, delay time.Duration, rate int) (*proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, delay: delay, rate: rate, open: make(map[net.Conn]bool)}
	go p.accept(ctx)
	return p, nil
}

func (p *proxy) close() {
	p.set(cut)
	_ = p.listener.Close()
}

func (p *proxy) address() string { return p.listener.Addr().String() }

// set changes the mode and closes what is open, so that each scenario starts with a new connection.
func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	for c := range p.open {
		_ = c.Close()
	}
}

// quiet returns for how long nothing passed.
func (p *proxy) quiet() time.Duration { return time.Duration(time.Now().UnixNano() - p.last.Load()) }

func (p *proxy) accept(ctx context.Context) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(ctx, c)
	}
}

func (p *proxy) hold(c net.Conn) (mode, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == cut {
		return cut, false
	}
	p.open[c] = true
	return p.mode, true
}

func (p *proxy) release(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
	_ = c.Close()
}

func (p *proxy) serve(ctx context.Context, c net.Conn) {
	defer p.release(c)
	m, ok := p.hold(c)
	if !ok {
		return
	}
	if m == drop {
		p.copy(nil, c)
		return
	}
	s, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return
	}
	if _, ok := p.hold(s); !ok {
		_ = s.Close()
		return
	}
	defer p.release(s)
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{s, c}, {c, s}} {
		go func() {
			p.copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
}

// copy hands on and counts until either side ends. A nil destination takes everything.
func (p *proxy) copy(to, from net.Conn) {
	b := make([]byte, 16<<10)
	spoke := false
	for {
		n, err := from.Read(b)
		if n > 0 {
			p.bytes.Add(int64(n))
			p.last.Store(time.Now().UnixNano())
			if !spoke && to == nil {
				spoke = true
				p.dropped.Add(1)
			}
			pause := p.delay
			if p.rate > 0 {
				pause += time.Duration(n) * time.Second / time.Duration(p.rate)
			}
			if pause > 0 {
				<-time.After(pause)
			}
			if to != nil {
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}
