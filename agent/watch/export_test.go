package watch

import (
	"net/http"
	"net/url"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
)

// MaxPageText is what the tests outside of the package need: they take events with the agent's own intake, which imports this package.
const MaxPageText = maxPageText

// WithTransport lets o's requests be answered by rt.
func WithTransport(o Options, rt http.RoundTripper) Options {
	o.connect = func() (apiclient.Connection, error) {
		base, err := url.Parse("https://fake/api/v1")
		return apiclient.Connection{Client: &http.Client{Transport: rt}, Base: base, CloseIdle: func() {}}, err
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

// WithShort sets the life of a watch below which it counts as closed at once.
func WithShort(o Options, short time.Duration) Options {
	o.timing.short = short
	return o
}
