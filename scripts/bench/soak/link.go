package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// linkMode is what the link does to connections.
type linkMode int

const (
	linkUp linkMode = iota
	// linkRefuses closes each connection at once.
	linkRefuses
	// linkSilent takes what is sent and gives nothing on in either direction.
	linkSilent
	// linkCutsAnswers gives the request on and closes when the answer comes: the receiver has the message, the agent no yes.
	linkCutsAnswers
)

func (m linkMode) String() string {
	return [...]string{"up", "refuses", "silent", "cuts answers"}[m]
}

// wire is a TCP proxy that stands for the link.
type wire struct {
	listener net.Listener
	target   string

	mu   sync.Mutex
	mode linkMode
	open map[net.Conn]bool
}

func newWire(ctx context.Context, target string) (*wire, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{listener: l, target: target, open: make(map[net.Conn]bool)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(ctx, c)
		}
	}()
	return w, nil
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) close() {
	_ = w.listener.Close()
	w.set(linkRefuses)
}

// set changes the mode. Only silence leaves the open connections open, and up takes them up where they were.
func (w *wire) set(m linkMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	silent := w.mode == linkSilent
	w.mode = m
	if m == linkRefuses || silent {
		for c := range w.open {
			_ = c.Close()
		}
	}
}

func (w *wire) now() linkMode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mode
}

func (w *wire) hold(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mode == linkRefuses {
		return false
	}
	w.open[c] = true
	return true
}

func (w *wire) release(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
	_ = c.Close()
}

func (w *wire) serve(ctx context.Context, c net.Conn) {
	defer w.release(c)
	if !w.hold(c) {
		return
	}
	s, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", w.target)
	if err != nil {
		return
	}
	defer w.release(s)
	if !w.hold(s) {
		return
	}
	done := make(chan struct{}, 2)
	go func() { w.copy(s, c, false); done <- struct{}{} }()
	go func() { w.copy(c, s, true); done <- struct{}{} }()
	<-done
}

func (w *wire) copy(to, from net.Conn, answers bool) {
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			switch mode := w.now(); {
			case mode == linkSilent:
				continue
			case mode == linkRefuses, mode == linkCutsAnswers && answers:
				return
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
