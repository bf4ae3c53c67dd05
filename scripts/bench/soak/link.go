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
	// linkStalls takes connections and reads nothing from them, up to its end: a TLS handshake gets no answer, and what was sent
	// comes late.
	linkStalls
)

func (m linkMode) String() string {
	return [...]string{"up", "refuses", "silent", "cuts answers", "stalls"}[m]
}

// wire is a TCP proxy that stands for the link.
type wire struct {
	listener net.Listener
	target   string

	mu   sync.Mutex
	mode linkMode
	// changed is closed when the mode changes.
	changed chan struct{}
	open    map[net.Conn]bool
}

// newWire gives on what comes to the listener.
func newWire(ctx context.Context, l net.Listener, target string) *wire {
	w := &wire{listener: l, target: target, changed: make(chan struct{}), open: make(map[net.Conn]bool)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(ctx, c)
		}
	}()
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) close() {
	_ = w.listener.Close()
	w.set(linkRefuses)
}

// set changes the mode. Open connections go on in the next mode, but for those that were silent: they have gaps.
func (w *wire) set(m linkMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	silent := w.mode == linkSilent
	w.mode = m
	close(w.changed)
	w.changed = make(chan struct{})
	if m == linkRefuses || silent {
		for c := range w.open {
			_ = c.Close()
		}
	}
}

// now returns the mode once it is not linkStalls.
func (w *wire) now(ctx context.Context) linkMode {
	for {
		w.mu.Lock()
		mode, changed := w.mode, w.changed
		w.mu.Unlock()
		if mode != linkStalls {
			return mode
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return linkRefuses
		}
	}
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
	w.now(ctx)
	s, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", w.target)
	if err != nil {
		return
	}
	defer w.release(s)
	if !w.hold(s) {
		return
	}
	done := make(chan struct{}, 2)
	go func() { w.copy(ctx, s, c, false); done <- struct{}{} }()
	go func() { w.copy(ctx, c, s, true); done <- struct{}{} }()
	<-done
}

func (w *wire) copy(ctx context.Context, to, from net.Conn, answers bool) {
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			switch mode := w.now(ctx); {
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
