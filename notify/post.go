package notify

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
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

// Poster posts the requests of one receiver over connections of its own. It speaks HTTP/1.1 only: for one short request a
// connection HTTP/2 costs 160 bytes more, cold or resumed, and a request on a warm connection is rare here.
type Poster struct {
	common    Common
	options   PosterOptions
	transport *http.Transport
	// files tells which contents of the files of tls the transport was made with.
	files [sha256.Size]byte
	// readsGzip says that the receiver has taken something compressed, plain that it took plain what it had refused compressed.
	readsGzip, plain bool
}

// PosterOptions say what a Poster does beside posting.
type PosterOptions struct {
	// URL is where requests go, as far as the configuration says it, so that Destination can be asked before the first of them.
	URL Secret
	// Gzip compresses the bodies that are at least GzipFrom bytes long, until the receiver shows that it cannot read them.
	Gzip     bool
	GzipFrom int
	// Secrets are taken out of every text that an answer brings back, beside those of a request's target.
	Secrets []Secret
}

// NewPoster returns a poster. It opens no connection.
func NewPoster(c Common, o PosterOptions) *Poster { return &Poster{common: c, options: o} }

func newTransport(c *Common, with *tls.Config) *http.Transport {
	dial := c.DialContext
	if dial == nil {
		// Keep-alive probes are off: a request on a dead connection fails by its own time limits.
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: -1}).DialContext
	}
	t := &http.Transport{
		Proxy: proxyOf(c),
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
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
		if answer.StatusCode != http.StatusOK {
			return &proxyRefusal{answer.StatusCode}
		}
		return nil
	}
	return t
}

// proxyRefusal is a proxy's answer to CONNECT that is not 200.
type proxyRefusal struct{ status int }

// Error returns the status, and nothing that the proxy wrote.
func (r *proxyRefusal) Error() string { return fmt.Sprintf("the proxy answered %d", r.status) }

// failure judges the refusal: what the configuration has to change keeps the queue, what may pass is tried again.
func (r *proxyRefusal) failure() *Error {
	e := &Error{Outcome: Retry, Status: r.status, Reason: "the proxy cannot connect to the receiver"}
	switch r.status {
	case http.StatusProxyAuthRequired:
		e.Outcome, e.Reason = BadTarget, "the proxy refuses: it wants a user name and a password"
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusUnauthorized:
		e.Outcome, e.Reason = BadTarget, "the proxy refuses to connect to the receiver"
	}
	return e
}

// proxied reports whether a proxy stands before the URL of a request.
func (p *Poster) proxied(r *http.Request) bool {
	proxy, err := p.transport.Proxy(r)
	return err == nil && proxy != nil
}

// Destination returns the host that the next request connects to: that of the proxy where there is one, else that of the
// URL; empty where the URL cannot be read or its host is a template.
func (p *Poster) Destination() string {
	text, err := p.options.URL.Read()
	if err != nil {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	if proxy, err := proxyOf(&p.common)(&http.Request{URL: u}); err == nil && proxy != nil {
		return proxy.Hostname()
	}
	return u.Hostname()
}

// doubter returns what is called when an answer was not the receiver's. A connection to somebody else is not used again.
func (p *Poster) doubter(to Target) func(wrong bool) {
	return func(wrong bool) {
		u, err := url.Parse(to.URL)
		if err != nil {
			return
		}
		if p.common.Doubt != nil {
			p.common.Doubt(u.Hostname(), wrong)
		}
		if wrong {
			p.Close()
		}
	}
}

// Close releases idle connections.
func (p *Poster) Close() {
	if p.transport != nil {
		p.transport.CloseIdleConnections()
	}
}

// Target is where a request goes. Neither the URL nor the values of the headers are ever told.
type Target struct {
	URL    string
	Header map[string]Secret
}

// TargetOf is a URL and headers as they are configured.
func TargetOf(address Secret, header map[string]Secret) (Target, error) {
	text, err := address.Read()
	if err != nil {
		return Target{}, &Error{Outcome: BadTarget, Reason: "the URL cannot be read", Err: err}
	}
	return Target{URL: text, Header: header}, nil
}

// WithPath adds path to a base URL unless it ends with it.
func (t Target) WithPath(path string) (Target, error) {
	return t.Edited(func(u *url.URL) *url.URL {
		if strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), path) {
			return u
		}
		return u.JoinPath(path)
	})
}

// Edited is the target with a URL that change makes of the present one.
func (t Target) Edited(change func(*url.URL) *url.URL) (Target, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		// The text of err holds the URL.
		return t, &Error{Outcome: BadTarget, Reason: "the URL is not valid"}
	}
	t.URL = change(u).String()
	return t, nil
}

// Authorized is the target with an Authorization header in place of one that is configured: the scheme and a secret, or where there is a user
// Basic with both. An empty secret changes nothing; key names it in errors.
func (t Target) Authorized(scheme, user string, secret Secret, key string) (Target, error) {
	if secret.IsZero() {
		return t, nil
	}
	value, err := secret.Read()
	if err != nil {
		return t, &Error{Outcome: BadTarget, Reason: key + " cannot be read", Err: err}
	}
	if user != "" {
		scheme, value = "Basic", base64.StdEncoding.EncodeToString([]byte(user+":"+value))
	}
	header := make(map[string]Secret, len(t.Header)+1)
	maps.Copy(header, t.Header)
	header["Authorization"] = SecretValue(scheme + " " + value)
	t.Header = header
	return t, nil
}

// Exchange sends r, and returns what judge makes of the answer, or an *Error if there was none. Nobody can ask a receiver of HTTP
// beforehand whether it reads what is compressed. So what is refused compressed is sent once more as it is, within the same attempt, until
// the receiver has taken something: if it takes the second, it gets nothing compressed any more.
func (p *Poster) Exchange(ctx context.Context, to Target, r *Request, judge func(*Answer) error) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	compressed := p.options.Gzip && !p.plain && len(r.Body) >= p.options.GzipFrom
	a, err := p.post(ctx, to, r, compressed)
	if err != nil {
		return err
	}
	verdict := judge(a)
	if !compressed {
		return verdict
	}
	if understood(a, verdict) {
		p.readsGzip = true
		return verdict
	}
	if p.readsGzip && a.Status != http.StatusUnsupportedMediaType || !a.mayMeanGzip() {
		return verdict
	}
	if a, err = p.post(ctx, to, r, false); err != nil {
		return err
	}
	verdict = judge(a)
	if understood(a, verdict) {
		p.plain = true
		if p.common.Logger != nil {
			p.common.Logger.Info("the receiver does not read compressed requests, and gets none until the agent is restarted")
		}
	}
	return verdict
}

// understood reports whether an answer proves that the request was read: it was taken, as a whole or in part.
func understood(a *Answer, verdict error) bool {
	e, failed := errors.AsType[*Error](verdict)
	return verdict == nil || failed && a.Status/100 == 2 && len(e.Refused) > 0
}

// mayMeanGzip reports whether an answer can be that of a program that could not read what is compressed: it says so, finds no JSON in it, fails,
// or says no in the body of a yes.
func (a *Answer) mayMeanGzip() bool {
	if a.Broken != nil || len(a.Body) == maxAnswer {
		return false
	}
	switch a.Status {
	case http.StatusOK, http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
		http.StatusInternalServerError, http.StatusNotImplemented:
		return !a.IsHTML()
	}
	return false
}

// Post sends r, compressed if the options say so, and returns the answer whatever it says, or an *Error if there was none.
func (p *Poster) Post(ctx context.Context, to Target, r *Request) (*Answer, error) {
	return p.post(ctx, to, r, p.options.Gzip)
}

func (p *Poster) post(ctx context.Context, to Target, r *Request, compressed bool) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	redact, err := p.redactor(to)
	if err != nil {
		return nil, &Error{Outcome: BadTarget, Reason: "a secret cannot be read", Err: err}
	}
	doubt := p.doubter(to)
	if err := p.refresh(); err != nil {
		return nil, &Error{Outcome: Retry, Reason: "the files of tls cannot be used", Err: err}
	}
	body := r.Body
	if compressed {
		body = gzipped(body)
	}
	var phase sendPhase
	req, err := http.NewRequestWithContext(phase.trace(ctx), r.Method, to.URL, bytes.NewReader(body))
	if err != nil {
		// The text of err holds the URL.
		return nil, &Error{Outcome: BadTarget, Reason: "the URL is not valid"}
	}
	if err := setHeader(req, to, r, compressed); err != nil {
		return nil, err
	}
	// A client would follow redirects and wrap errors with the URL; the transport does neither.
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return nil, phase.failure(ctx, err, redact, doubt)
	}
	defer func() { _ = resp.Body.Close() }()
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, At: time.Now(), redact: redact, doubt: doubt, proxied: p.proxied(req)}
	if a.Status == http.StatusSwitchingProtocols {
		// Nobody asked for another protocol. What would follow is a bare connection, which ctx does not end.
		return nil, a.Foreign("the receiver")
	}
	a.Date, _ = http.ParseTime(resp.Header.Get("Date"))
	var read error
	a.Body, read = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	a.Body = a.Body[:min(len(a.Body), maxAnswer)]
	if read != nil {
		a.Broken = phase.failure(ctx, read, redact, doubt)
		a.Broken.Status = a.Status
	}
	return a, nil
}

func setHeader(req *http.Request, to Target, r *Request, gzip bool) error {
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
	for name, secret := range to.Header {
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
	// The level is one that exists.
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
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

// failure says what an error of the transport means. doubt is told that the name may lead to somebody else.
func (s *sendPhase) failure(ctx context.Context, err error, redact func(string) string, doubt func(wrong bool)) *Error {
	if refused, ok := errors.AsType[*proxyRefusal](err); ok {
		return refused.failure()
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	doubt(untrusted || plain)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	reason := "cannot connect"
	switch {
	case plain:
		reason = "the answer is no TLS (a captive portal or a proxy)"
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
func (p *Poster) redactor(to Target) (func(string) string, error) {
	var texts []string
	for _, s := range slices.Concat(p.options.Secrets, slices.Collect(maps.Values(to.Header))) {
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
	texts = append(texts, to.URL)
	for _, text := range []string{to.URL, p.common.Proxy} {
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
