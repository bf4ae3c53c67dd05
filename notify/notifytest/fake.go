package notifytest

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxBody bounds what a fake reads of a request.
const maxBody = 8 << 20

// Answer is an HTTP answer.
type Answer struct {
	// Status is the HTTP status; 0 is 200.
	Status int
	Header map[string]string
	Body   string
}

// Platform knows one protocol.
type Platform interface {
	// Judge checks a request as the platform does at its time now. It reports whether the message was taken.
	Judge(r *http.Request, body []byte, now time.Time) (Answer, bool)
	// TooFast is the answer to a request beyond the rate limit.
	TooFast() Answer
	// Refusal is the answer to a wrong signature, or to a wrong token where the platform has no signatures.
	Refusal() Answer
}

// Received is a message that was taken.
type Received struct {
	// At is the fake's time.
	At     time.Time
	Method string
	// Path is the URL's path with the query.
	Path   string
	Header http.Header
	// Body is the body without its content encoding.
	Body []byte
}

type fault int

const (
	none fault = iota
	hang
	endless
	slow
	redirect
	portal
	reset
	down
	always
)

// maxReceived is how many messages a fake keeps; older ones are forgotten.
const maxReceived = 10_000

// Fake is the far end of a receiver.
type Fake struct {
	platform Platform

	mu        sync.Mutex
	fault     fault
	failures  []Answer
	forever   Answer
	ahead     time.Duration
	received  []Received
	requests  int
	strayed   int
	written   int64
	stop      chan struct{}
	onReceive func(Received)
}

// New returns a fake of the platform.
func New(p Platform) *Fake { return &Fake{platform: p, stop: make(chan struct{})} }

// OnReceive calls f with each message that is taken, before it is answered.
func (f *Fake) OnReceive(receive func(Received)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onReceive = receive
}

// Fail gives the next n requests this answer, without looking at them.
func (f *Fake) Fail(n int, a Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, slices.Repeat([]Answer{a}, n)...)
}

// FailAlways gives every request this answer, without looking at it, until Heal.
func (f *Fake) FailAlways(a Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.forever = always, a
}

// RefuseAlways gives every request the answer to a wrong signature, until Heal.
func (f *Fake) RefuseAlways() { f.FailAlways(f.platform.Refusal()) }

// RateLimitAlways gives every request the answer to too many requests, until Heal.
func (f *Fake) RateLimitAlways() { f.FailAlways(f.platform.TooFast()) }

// RateLimit gives the next n requests the platform's answer to too many requests.
func (f *Fake) RateLimit(n int) { f.Fail(n, f.platform.TooFast()) }

// Hang reads requests and answers none, until Heal.
func (f *Fake) Hang() { f.set(hang) }

// EndlessBody answers with a body that does not end, until Heal.
func (f *Fake) EndlessBody() { f.set(endless) }

// SlowBody sends the header and the first byte of the answer, and then nothing, until Heal.
func (f *Fake) SlowBody() { f.set(slow) }

// Redirect sends requests to a login page, until Heal.
func (f *Fake) Redirect() { f.set(redirect) }

// CaptivePortal answers with a login page and status 200, until Heal.
func (f *Fake) CaptivePortal() { f.set(portal) }

// Reset breaks the connection in the middle of the answer, until Heal.
func (f *Fake) Reset() { f.set(reset) }

// Down breaks connections before any answer, until Heal.
func (f *Fake) Down() { f.set(down) }

// Heal ends all faults, and releases requests that hang.
func (f *Fake) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = none
	f.failures = nil
	close(f.stop)
	f.stop = make(chan struct{})
}

func (f *Fake) set(to fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = to
}

// SetClock makes the fake's clock run ahead of this machine's. It dates the answers and checks signatures.
func (f *Fake) SetClock(ahead time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead = ahead
}

// Received returns the messages that were taken, oldest first.
func (f *Fake) Received() []Received {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.received)
}

// Requests counts the requests that were read.
func (f *Fake) Requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// Strayed counts requests that followed a redirect to the login page.
func (f *Fake) Strayed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.strayed
}

// Written counts the bytes of endless bodies that the client's side took.
func (f *Fake) Written() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written
}

const loginPath = "/captive/login"

// ServeHTTP answers a request as the platform would, or as the fault says.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == loginPath {
		f.mu.Lock()
		f.strayed++
		f.mu.Unlock()
		writeAnswer(w, Answer{Body: portalPage})
		return
	}
	body, err := readBody(r)
	f.mu.Lock()
	f.requests++
	now, current, stop := time.Now().Add(f.ahead), f.fault, f.stop
	var failure *Answer
	switch {
	case current == always:
		forever := f.forever
		failure, current = &forever, none
	case len(f.failures) > 0 && current == none:
		failure = &f.failures[0]
		f.failures = f.failures[1:]
	}
	f.mu.Unlock()
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	switch {
	case err != nil:
		writeAnswer(w, Answer{Status: http.StatusBadRequest, Body: "cannot read the body: " + err.Error()})
	case current != none:
		f.misbehave(w, r, current, stop)
	case failure != nil:
		writeAnswer(w, *failure)
	default:
		answer, taken := f.platform.Judge(r, body, now)
		if taken {
			f.take(Received{At: now, Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header.Clone(), Body: body})
		}
		writeAnswer(w, answer)
	}
}

func (f *Fake) take(m Received) {
	f.mu.Lock()
	if len(f.received) == maxReceived {
		f.received = slices.Delete(f.received, 0, maxReceived/10)
	}
	f.received = append(f.received, m)
	receive := f.onReceive
	f.mu.Unlock()
	if receive != nil {
		receive(m)
	}
}

func readBody(r *http.Request) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
		return raw, err
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxBody))
}

const portalPage = "<!DOCTYPE html><html><head><title>Welcome</title></head><body>captive portal</body></html>"

func (f *Fake) misbehave(w http.ResponseWriter, r *http.Request, how fault, stop <-chan struct{}) {
	wait := func() {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	}
	switch how {
	case hang:
		wait()
	case endless:
		f.flood(w, r)
	case slow:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		wait()
	case redirect:
		writeAnswer(w, Answer{Status: http.StatusFound, Header: map[string]string{"Location": loginPath}})
	case portal:
		writeAnswer(w, Answer{Header: map[string]string{"Content-Type": "text/html"}, Body: portalPage})
	case reset:
		breakConnection(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"co")
	case down:
		breakConnection(w, "")
	}
}

func (f *Fake) flood(w http.ResponseWriter, r *http.Request) {
	chunk := bytes.Repeat([]byte("{\"code\":0} "), 400)
	for r.Context().Err() == nil {
		n, err := w.Write(chunk)
		f.mu.Lock()
		f.written += int64(n)
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// breakConnection sends a beginning and then a reset.
func breakConnection(w http.ResponseWriter, beginning string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, beginning)
	if tcp, ok := conn.(*net.TCPConn); ok && beginning == "" {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func writeAnswer(w http.ResponseWriter, a Answer) {
	header := w.Header()
	if strings.HasPrefix(a.Body, "{") || strings.HasPrefix(a.Body, "[") {
		header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Header)) {
		header.Set(name, a.Header[name])
	}
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	_, _ = io.WriteString(w, a.Body)
}
