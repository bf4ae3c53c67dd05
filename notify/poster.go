package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/http"
)

// Poster posts the requests of one receiver over connections of its own. No redirect is followed, and no error holds a secret.
type Poster struct{ *poster }

// PosterOptions say what a Poster does beside posting.
type PosterOptions struct {
	// Gzip compresses the bodies.
	Gzip bool
	// URL is where the requests go, so that Destination can be asked before the first of them.
	URL Secret
	// Secrets are taken out of every text that an answer brings back, beside those of the target's URL and headers.
	Secrets []Secret
}

// NewPoster returns a poster. It opens no connection.
func NewPoster(c Common, o PosterOptions) *Poster {
	cfg := c.config()
	cfg.Gzip, cfg.URL = o.Gzip, o.URL
	p := newPoster(cfg)
	p.secrets = o.Secrets
	return &Poster{p}
}

// config is what the code that is older than Common takes.
func (c *Common) config() *Config {
	return &Config{
		Name: c.Name, Cluster: c.Cluster, Location: c.Location, Language: c.Language, Logger: c.Logger,
		CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ServerName: c.TLS.ServerName,
		InsecureSkipVerify: c.TLS.InsecureSkipVerify,
		Proxy:              c.Proxy, KeyExchange: c.KeyExchange, DialContext: c.DialContext, Doubt: c.Doubt, Output: c.Output,
	}
}

// Target is where a request goes. Neither the URL nor the values of the headers are ever told.
type Target struct {
	URL    string
	Header map[string]Secret
}

// Post sends r and returns the answer whatever it says, or an *Error if there was none.
func (p *Poster) Post(ctx context.Context, to Target, r *Request) (*Answer, error) {
	a, err := p.post(ctx, target{url: to.URL, header: to.Header}, r)
	if err != nil {
		return nil, err
	}
	return &Answer{a}, nil
}

// Answer is what a receiver answered.
type Answer struct{ *answer }

// Status is the HTTP status.
func (a *Answer) Status() int { return a.status }

// Header is that of the answer.
func (a *Answer) Header() http.Header { return a.header }

// Body is the beginning of the body, at most 64 KiB.
func (a *Answer) Body() []byte { return a.body }

// Broken is the error that ended the body early; a verdict in the body is unknown then. Nil if it was read to its end.
func (a *Answer) Broken() error {
	if a.broken == nil {
		return nil
	}
	return a.broken
}

// IsHTML recognizes the page of a captive portal or a proxy.
func (a *Answer) IsHTML() bool { return a.isHTML() }

// Fail describes an answer that is not a yes. The format's arguments may hold text of the answer: secrets are taken out.
func (a *Answer) Fail(outcome Outcome, code, format string, args ...any) *Error {
	return a.fail(outcome, code, format, args...)
}

// Foreign judges an answer that is not in the platform's own words where such words are due: nothing is proven by it, so it
// is retried, and the name that led to it is looked up anew.
func (a *Answer) Foreign(platform string) *Error { return a.foreign(platform) }

// ByStatus judges an answer that says nothing in the platform's own words by its status.
func (a *Answer) ByStatus(platform string) *Error { return a.byStatus(platform) }

// Quoted is what a platform says, cleaned and cut, as a part of a reason.
func Quoted(text string) string { return quoted(text) }

// Text is an untrusted text as an archive takes it: valid UTF-8 of at most limit bytes, with a mark where it was cut.
func Text(text string, limit int) string { return prepared(text, limit, byteWidth, validText) }

// Line is Text on one line, without control characters.
func Line(text string, limit int) string { return prepared(text, limit, byteWidth, cleanLine) }

// LossIncident stands for the losses of a message where only events can be told.
func (c *Common) LossIncident(m *Message) Incident { return lossIncident(c.config(), m) }

// CheckConnection adds the mistakes in how connections are opened: tls and proxy.
func (c *Common) CheckConnection(add AddMistake) { checkConnection(c.config(), addMistake(add)) }

// CheckURL adds a mistake unless url is the URL of an HTTP server, where its text is known.
func CheckURL(url Secret, add AddMistake) {
	switch text, err := url.Read(); {
	case url.IsZero():
		add("url", "must be set, or urlFile")
	case url.File() != "" || err != nil:
	case !isWebURL(text):
		add("url", "must begin with https:// or http:// and name a host")
	}
}

// CheckHeaders adds the mistakes in configured headers. The reserved ones are set by the type itself.
func CheckHeaders(typeName string, header map[string]Secret, add AddMistake) {
	checkHeaders(&Config{Type: typeName, Header: header}, addMistake(add))
}

// CheckBatch adds the mistakes in the bounds of a batch.
func CheckBatch(most int, bytes int64, add AddMistake) {
	if most < 1 || most > maxBatch {
		add("batch.max", "must be 1 to %d", maxBatch)
	}
	if bytes < minBatchBytes || bytes > maxBatchBytes {
		add("batch.maxBytes", "must be 16Ki to 1Mi")
	}
}

// MaxLosses is how many losses of a message a receiver tells at most. The spool knows fewer causes of loss.
const MaxLosses = 10

// LossesIn returns part where the message has a loss to tell, and LossesNowhere where it has none.
func (m *Message) LossesIn(part LossPart) LossPart { return m.lossesIn(part) }

// LossID names a loss of a receiver: the same for a repeat, another one once more was lost.
func LossID(cluster, receiver string, l *Loss) string {
	h := sha256.New()
	for _, part := range []string{cluster, receiver, l.Cause} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	_, _ = fmt.Fprintf(h, "%d %d %d", l.Incidents, l.Events, l.Since.UnixMilli())
	return "loss-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// LossText says in English what was lost, for the records of machines that people read now and then.
func LossText(l *Loss) string {
	cause := Line(l.Cause, 64)
	if l.Events == 0 {
		return "events were lost, and nobody knows how many: " + cause
	}
	return fmt.Sprintf("%d events of %d incidents were lost: %s", l.Events, l.Incidents, cause)
}

// TLSConfig returns how a receiver that does not speak HTTP opens TLS connections. The files are read at each call.
func (c *Common) TLSConfig() (*tls.Config, error) {
	cfg := c.config()
	files, err := readTLSFiles(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the files of tls: %w", err)
	}
	with, err := files.trust()
	if err != nil {
		return nil, fmt.Errorf("read the files of tls: %w", err)
	}
	return tlsConfig(cfg, with), nil
}
