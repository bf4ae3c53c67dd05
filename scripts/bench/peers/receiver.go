package main

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// named finds the names of events in what a program posts, whatever its form.
var named = regexp.MustCompile(`\b(?:start|away|outage)-[0-9]{5}\b`) //nolint:gochecknoglobals // Compiled once.

// receiver takes every POST and keeps which events were in it.
type receiver struct {
	address string
	bytes   atomic.Int64
	server  *http.Server

	mu     sync.Mutex
	events map[string]int
}

func newReceiver(ctx context.Context) (*receiver, error) {
	r := &receiver{address: "127.0.0.1:0", events: make(map[string]int)}
	return r, r.accept(ctx)
}

// accept listens, on the address that it had before.
func (r *receiver) accept(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", r.address)
	if err != nil {
		return err
	}
	r.address = l.Addr().String()
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func() { _ = r.server.Serve(&countedListener{l, &r.bytes}) }()
	return nil
}

// refuse closes everything; a new connection is refused.
func (r *receiver) refuse() { _ = r.server.Close() }

// ServeHTTP takes a message.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := readBody(req)
	if err != nil {
		return
	}
	inBody := make(map[string]bool)
	for _, name := range named.FindAllString(string(body), -1) {
		inBody[name] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range inBody {
		r.events[name]++
	}
	w.WriteHeader(http.StatusNoContent)
}

// count is how many events of a phase are there.
func (r *receiver) count(prefix string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.events {
		if strings.HasPrefix(name, prefix+"-") {
			n++
		}
	}
	return n
}

// judge says what is missing, what came again, and what an event cost.
func (r *receiver) judge(result *result, n sizes) {
	result.lost = [...]int{n.start - r.count("start"), n.away - r.count("away"), n.outage - r.count("outage")}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, times := range r.events {
		result.again += times - 1
	}
	if len(r.events) > 0 {
		result.wire = float64(r.bytes.Load()) / float64(len(r.events))
		result.disk = float64(result.written) / float64(len(r.events))
	}
}

type countedListener struct {
	net.Listener
	bytes *atomic.Int64
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{conn, l.bytes}, nil
}

type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

func readBody(req *http.Request) ([]byte, error) {
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(req.Body)
		if err != nil {
			return nil, err
		}
		body = unzipped
	}
	return io.ReadAll(io.LimitReader(body, 64<<20))
}
