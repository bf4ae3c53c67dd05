package watch

import (
	"net/http"
	"net/url"
	"time"
)

// What the tests outside of the package need: they take events with the agent's own intake, which imports this package.
const (
	MaxPageText     = maxPageText
	MaxMessage      = maxMessage
	MaxErrorBody    = maxErrorBody
	MaxStreamWindow = maxStreamWindow
	MaxField        = maxField
	K3sKubeconfig   = k3sKubeconfig
)

// WithTransport lets o's requests be answered by rt.
func WithTransport(o Options, rt http.RoundTripper) Options {
	o.connect = func() (connection, error) {
		base, err := url.Parse("https://fake/api/v1")
		return connection{client: &http.Client{Transport: rt}, base: base, closeIdle: func() {}}, err
	}
	return o
}

// WithPauses bounds the pauses after failures.
func WithPauses(o Options, shortest, longest time.Duration) Options {
	o.timing.backoffMin, o.timing.backoffMax = shortest, longest
	return o
}

// WithPings sets when a silent connection is asked, and how long it has to answer.
func WithPings(o Options, after, timeout time.Duration) Options {
	o.timing.pingAfter, o.timing.pingTimeout = after, timeout
	return o
}

// Connect returns the client and the base URL that o leads to.
func Connect(o Options) (*http.Client, *url.URL, error) {
	o.timing = o.timing.withDefaults()
	c, err := connect(o)
	return c.client, c.base, err
}
