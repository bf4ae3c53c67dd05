package notify

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	dialTimeout      = 15 * time.Second
	handshakeTimeout = 15 * time.Second
	// answerTimeout bounds the wait for the answer's header. A Kafka bridge whose brokers are away answers after 60 seconds.
	answerTimeout = 2 * time.Minute
	// sendTimeout bounds one request as a whole, where ctx does not.
	sendTimeout = 3 * time.Minute
	// idleTimeout closes a connection that was not used, because a NAT on the way forgets it soon after.
	idleTimeout = 90 * time.Second

	maxAnswer     = 64 << 10
	maxAnswerKept = 1 << 10
	// maxRetryAfter is the longest wait that a receiver can ask for.
	maxRetryAfter = time.Hour

	userAgent = "edge-eventer"
)

// poster posts the requests of one receiver over connections of its own. It speaks HTTP/1.1 only: for one short request a
// connection HTTP/2 costs 160 bytes more, cold or resumed, and a request on a warm connection is rare here.
type poster struct {
	cfg       Config
	transport *http.Transport
	// files tells which contents of the files of tls the transport was made with.
	files   [sha256.Size]byte
	secrets []Secret
}

func newPoster(cfg *Config) *poster {
	p := &poster{cfg: *cfg, secrets: []Secret{cfg.Secret, cfg.Token}}
	for _, value := range cfg.Header {
		p.secrets = append(p.secrets, value)
	}
	return p
}

func newTransport(cfg *Config, with *tls.Config) *http.Transport {
	dial := cfg.DialContext
	if dial == nil {
		// Keep-alive probes are off: a request on a dead connection fails by its own time limits.
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: -1}).DialContext
	}
	t := &http.Transport{
		Proxy: proxyOf(cfg),
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			return dial(ctx, network, address)
		},
		TLSClientConfig:        with,
		TLSHandshakeTimeout:    handshakeTimeout,
		ResponseHeaderTimeout:  answerTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConns:           2,
		MaxIdleConnsPerHost:    1,
		MaxResponseHeaderBytes: maxAnswer,
		// Answers are short; asking for gzip costs more than it saves.
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// Close releases idle connections.
func (p *poster) Close() {
	if p.transport != nil {
		p.transport.CloseIdleConnections()
	}
}

// target is where a request goes and what of it must not be told.
type target struct {
	url    string
	header map[string]Secret
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	// body is the beginning of the body, at most 64 KiB.
	body []byte
	// broken is set if the body could not be read to its end. A verdict in the body is then unknown.
	broken *Error
	// date is the server's clock and at is ours at the same time; date is zero if it was not told.
	date, at time.Time
	redact   func(string) string
}

// post sends r and returns the answer whatever it says, or an *Error if there was none.
func (p *poster) post(ctx context.Context, to target, r *Request) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	redact, err := p.redactor(to)
	if err != nil {
		return nil, &Error{Outcome: BadTarget, Reason: "a secret cannot be read", Err: err}
	}
	if err := p.refresh(); err != nil {
		return nil, &Error{Outcome: Retry, Reason: "the files of tls cannot be used", Err: err}
	}
	body := r.Body
	if p.cfg.Gzip {
		body = gzipped(body)
	}
	var phase sendPhase
	req, err := http.NewRequestWithContext(phase.trace(ctx), r.Method, to.url, bytes.NewReader(body))
	if err != nil {
		// The text of err holds the URL.
		return nil, &Error{Outcome: BadTarget, Reason: "the URL is not valid"}
	}
	if err := setHeader(req, to, r, p.cfg.Gzip); err != nil {
		return nil, err
	}
	// A client would follow redirects and wrap errors with the URL; the transport does neither.
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return nil, phase.failure(ctx, err, redact)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// Nobody asked for another protocol. What would follow is a bare connection, which ctx does not end.
		a := &answer{status: resp.StatusCode, header: resp.Header, at: time.Now(), redact: redact}
		return nil, a.fail(Retry, "", "the answer is not that of the receiver (perhaps a captive portal or a proxy)")
	}
	a := &answer{status: resp.StatusCode, header: resp.Header, at: time.Now(), redact: redact}
	a.date, _ = http.ParseTime(resp.Header.Get("Date"))
	var read error
	a.body, read = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	a.body = a.body[:min(len(a.body), maxAnswer)]
	if read != nil {
		a.broken = phase.failure(ctx, read, redact)
		a.broken.Status = a.status
	}
	return a, nil
}

func setHeader(req *http.Request, to target, r *Request, gzip bool) error {
	req.Header.Set("User-Agent", userAgent)
	if gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if user := req.URL.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	for name, secret := range to.header {
		value, err := secret.Read()
		if err != nil {
			return &Error{Outcome: BadTarget, Reason: "the value of header " + name + " cannot be read", Err: err}
		}
		if !validHeaderValue(value) {
			return &Error{Outcome: BadTarget, Reason: "the value of header " + name + " holds control characters"}
		}
		req.Header.Set(name, value)
	}
	return nil
}

// gzipped compresses in one go; the 0.8 MiB that a compressor needs are garbage afterwards, not kept for the next batch.
func gzipped(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}

// sendPhase notes how far a request came, so that an error can say what it means. The transport calls from its own goroutines.
type sendPhase struct {
	connected, written atomic.Bool
}

func (s *sendPhase) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { s.connected.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) { s.written.Store(info.Err == nil) },
	})
}

func (s *sendPhase) failure(ctx context.Context, err error, redact func(string) string) *Error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	reason := "cannot connect"
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case untrusted:
		reason = "the server's certificate is not trusted (a captive portal, a wrong clock, or tls.caFile is missing)"
	case s.written.Load():
		reason = "no answer, the message may have arrived"
	case s.connected.Load():
		reason = "the connection broke while sending"
	}
	return &Error{Outcome: Retry, Reason: reason, Err: &redactedError{text: redact(err.Error()), err: err}}
}

// redactedError has the text of a cause without secrets. It does not unwrap, because the cause prints them.
type redactedError struct {
	text string
	err  error
}

// Error returns the text without secrets.
func (e *redactedError) Error() string { return e.text }

// Is lets errors.Is find the cause, such as context.DeadlineExceeded.
func (e *redactedError) Is(target error) bool { return errors.Is(e.err, target) }

// Format prints the text only, whatever the verb.
func (e *redactedError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.text) }

// redactor returns a function that replaces every secret of the receiver in a text.
func (p *poster) redactor(to target) (func(string) string, error) {
	var texts []string
	for _, s := range slices.Concat(p.secrets, slices.Collect(maps.Values(to.header))) {
		text, err := s.Read()
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
		// "Bearer TOKEN", "ID:TOKEN": a part may come back without the rest.
		for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ':' }) {
			if len(part) >= 8 {
				texts = append(texts, part)
			}
		}
	}
	texts = append(texts, to.url)
	for _, text := range []string{to.url, p.cfg.Proxy} {
		if u, err := url.Parse(text); err == nil {
			texts = append(texts, secretParts(u)...)
		}
	}
	// Longer texts first: a URL must go as a whole before its parts do.
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, text := range slices.Compact(texts) {
		// Shorter texts hide nothing and would spoil every sentence.
		if len(text) >= 4 {
			pairs = append(pairs, text, "<secret>")
		}
	}
	replacer := strings.NewReplacer(pairs...)
	return replacer.Replace, nil
}

// secretParts lists what of a URL is a credential or may hold one: all but scheme and host.
func secretParts(u *url.URL) []string {
	parts := []string{u.RequestURI(), u.Path, u.RawQuery}
	if u.User != nil {
		password, _ := u.User.Password()
		parts = append(parts, u.User.String(), password)
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		// Words such as robot, send or hook are no secrets.
		if len(segment) >= 8 && segment != "open-apis" {
			parts = append(parts, segment)
		}
	}
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	return parts
}

// isHTML recognizes the page of a captive portal or a proxy, where a status alone would be believed.
func (a *answer) isHTML() bool { return strings.HasPrefix(strings.TrimSpace(string(a.body)), "<") }

// fail describes an answer that is not a yes.
func (a *answer) fail(outcome Outcome, code, format string, args ...any) *Error {
	kept := a.body[:min(len(a.body), maxAnswerKept)]
	return &Error{
		Outcome:    outcome,
		Status:     a.status,
		Code:       code,
		Reason:     a.redact(fmt.Sprintf(format, args...)),
		RetryAfter: a.retryAfter(),
		Answer:     []byte(cutBytes(a.redact(strings.ToValidUTF8(string(kept), "\uFFFD")), maxAnswerKept)),
	}
}

// byStatus judges an answer that says nothing in the platform's own words: by its status, and what proves nothing is to
// be retried. A redirect is the way of a captive portal, not of any of these platforms.
func (a *answer) byStatus(platform string) *Error {
	switch s := a.status; {
	case s/100 == 3:
		return a.fail(Retry, "", "redirected, perhaps by a captive portal; a redirect is not followed")
	case s == http.StatusTooManyRequests:
		return a.fail(Retry, "", "%s asks for fewer requests", platform)
	case s == http.StatusRequestTimeout, s/100 == 5:
		return a.fail(Retry, "", "%s is not available", platform)
	case s == http.StatusRequestEntityTooLarge:
		return a.fail(BadPayload, "", "%s refused the message as too large", platform)
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound, s == http.StatusGone,
		s == http.StatusMethodNotAllowed, s == http.StatusProxyAuthRequired:
		return a.fail(BadTarget, "", "%s refuses every message at this URL", platform)
	case s/100 == 4:
		return a.fail(BadPayload, "", "%s refused the message", platform)
	}
	return a.fail(Retry, "", "the answer is not that of %s (perhaps a captive portal or a proxy)", platform)
}

// retryAfter returns what the answer asks for: Retry-After in seconds or as a date, or the reset of Feishu's gateway.
func (a *answer) retryAfter() time.Duration {
	for _, name := range []string{"Retry-After", "X-Ogw-Ratelimit-Reset"} {
		text := strings.TrimSpace(a.header.Get(name))
		if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
			return clampRetryAfter(seconds)
		}
		if at, err := http.ParseTime(text); err == nil {
			now := a.at
			if !a.date.IsZero() {
				// The date is by the server's clock.
				now = a.date
			}
			return min(max(0, at.Sub(now)), maxRetryAfter)
		}
	}
	return 0
}

func clampRetryAfter(seconds uint64) time.Duration {
	return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
}
