package agent

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/server"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

// healthLimit is how long a loop may stand still before /healthz calls it dead. The longest honest pause is a commit to a
// slow SD card.
const healthLimit = 2 * time.Minute

// serve answers /metrics, /healthz, /readyz and the status page at / on the configured address until ctx ends. Nothing on this port
// changes anything.
func (a *Agent) serve(ctx context.Context) error {
	if a.config.Server.Listen == "" {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.Server.Listen)
	if err != nil {
		return fmt.Errorf("listen on server.listen: %w", err)
	}
	return server.Serve(ctx, listener, server.Options{Handler: a.handler(), Logger: a.logger})
}

// handler returns what the port answers. Only the page shows the texts of events, and only readiness those of receivers; both look at
// where a request comes from.
func (a *Agent) handler() http.Handler {
	gate := server.NewGate(a.config.Server.Listen, a.config.Server.Hosts...)
	everywhere := a.config.Server.Page == "everywhere"
	page := http.NewServeMux()
	a.addPage(page, a.Status)

	mux := http.NewServeMux()
	metrics := server.Shared[[]byte]{Make: a.metrics}
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		text, err := metrics.Get()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(text)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, a.Stuck())
	})
	readiness := server.Shared[status.Document]{Make: a.Status}
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		d, err := readiness.Get()
		if err != nil {
			answer(w, []string{err.Error()})
			return
		}
		answer(w, d.Unready(gate.Own(r) && (everywhere || server.Loopback(r))))
	})
	shown := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !server.Loopback(r) && !everywhere:
			http.Error(w, "the status page is shown at loopback addresses only: see server.page in the configuration", http.StatusForbidden)
		case !gate.Own(r):
			refuseHost(w)
		default:
			page.ServeHTTP(w, r)
		}
	}
	mux.HandleFunc("/{$}", shown)
	mux.HandleFunc("/page.json", shown)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if server.Loopback(r) && !gate.Own(r) {
			refuseHost(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// metrics returns the text of /metrics.
func (a *Agent) metrics() ([]byte, error) {
	d, err := a.Status()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = d.WriteMetrics(&b)
	return b.Bytes(), err
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
