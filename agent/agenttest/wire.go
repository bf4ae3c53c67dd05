package agenttest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// memoryNet is a network within a bubble: its connections are pipes, so that the bubble's clock runs while a server is silent.
type memoryNet struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (n *memoryNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.conns <- server:
		return client, nil
	case <-n.closed:
	case <-ctx.Done():
	}
	return nil, net.ErrClosed
}

// Accept returns the next connection.
func (n *memoryNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (n *memoryNet) Close() error {
	close(n.closed)
	return nil
}

// Addr returns the address of no network.
func (n *memoryNet) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// ServeIn runs an HTTP server in the bubble and returns how to dial it, and its end.
func ServeIn(handler http.Handler) (dial func(context.Context, string, string) (net.Conn, error), stop func()) {
	n := &memoryNet{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: time.Hour, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(n)
	}()
	return n.dial, func() {
		_ = s.Close()
		<-done
	}
}

// ReceiverOn is a real receiver whose far end is handler, within a bubble.
func ReceiverOn(t *testing.T, cfg configtest.Keys, handler http.Handler) (r notify.Receiver, stop func()) {
	t.Helper()
	dial, stopServer := ServeIn(handler)
	cfg.DialContext = dial
	cfg.Name, cfg.Location = "ops", time.UTC
	if cfg.URL == (notify.Secret{}) {
		cfg.URL = notify.SecretValue("http://receiver.test/path")
	}
	if mistakes := configtest.Check(cfg); len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	r, err := configtest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, func() {
		r.Close()
		stopServer()
	}
}
