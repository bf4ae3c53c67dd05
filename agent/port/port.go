// Package port answers what the HTTP port is asked: /metrics, /healthz, /readyz and the status page at /. It promises:
//
//   - Nothing on this port changes anything, and nobody who asks is known: only the page shows the texts of events, and only readiness those of
//     receivers and of the API server, both to the machine itself, unless the configuration says otherwise.
//   - All of it is made of one status document, which is read at most once a second, however many ask.
package port

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/edge-eventer/edge-eventer/agent/page"
	"github.com/edge-eventer/edge-eventer/agent/server"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

// Options are what the port shows, and to whom.
type Options struct {
	// Listen is the configured address, and Hosts further names of this machine.
	Listen string
	Hosts  []string
	// Everywhere shows the page at every address, not at those of the loopback only.
	Everywhere bool
	// Document returns how the agent stands; with an error, what is known.
	Document func() (status.Document, error)
	// Stuck lists the loops that make no progress.
	Stuck func() []string
	// Incidents and History are those of the page.
	Incidents func(yield func(page.Incident) bool) error
	History   *page.History
}

// port answers by a document that all questions of a second share.
type port struct {
	Options

	gate     *server.Gate
	document server.Shared[status.Document]
	metrics  server.Shared[[]byte]
	page     *http.ServeMux
}

// Handler returns what answers.
func Handler(o Options) http.Handler {
	p := &port{Options: o, gate: server.NewGate(o.Listen, o.Hosts...), page: http.NewServeMux()}
	p.document.Make, p.metrics.Make = o.Document, p.text
	(&page.Page{Document: p.document.Get, Incidents: o.Incidents, History: o.History}).Register(p.page)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", p.serveMetrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Stuck()) })
	mux.HandleFunc("GET /readyz", p.serveReadiness)
	mux.HandleFunc("/{$}", p.servePage)
	mux.HandleFunc("/page.json", p.servePage)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if server.Loopback(r) && !p.gate.Own(r) {
			refuseHost(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// text returns the text of /metrics.
func (p *port) text() ([]byte, error) {
	d, err := p.document.Get()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = d.WriteMetrics(&b)
	return b.Bytes(), err
}

func (p *port) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	text, err := p.metrics.Get()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(text)
}

func (p *port) serveReadiness(w http.ResponseWriter, r *http.Request) {
	d, err := p.document.Get()
	if err != nil {
		answer(w, []string{err.Error()})
		return
	}
	answer(w, d.Unready(p.gate.Own(r) && (p.Everywhere || server.Loopback(r))))
}

func (p *port) servePage(w http.ResponseWriter, r *http.Request) {
	switch {
	case !server.Loopback(r) && !p.Everywhere:
		http.Error(w, "the status page is shown at loopback addresses only: see server.page in the configuration", http.StatusForbidden)
	case !p.gate.Own(r):
		refuseHost(w)
	default:
		p.page.ServeHTTP(w, r)
	}
}

// refuseHost answers a request for a name that is not this machine's: a web page that made its own name point here.
func refuseHost(w http.ResponseWriter) {
	http.Error(w, "this is no name of this machine: see server.hosts in the configuration", http.StatusMisdirectedRequest)
}

// answer says ok, or 503 with a line for each problem.
func answer(w http.ResponseWriter, problems []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(problems) == 0 {
		_, _ = fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintln(w, strings.Join(problems, "\n"))
}
