package page

import (
	"cmp"
	"crypto/sha256"
	_ "embed" // The page is part of the binary.
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/server"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

const (
	// maxIncidents is how many incidents the page shows.
	maxIncidents = 15
	// maxText is how many bytes of a message are shown.
	maxText = 240
	// freshFor is how long incidents that were read are shown.
	freshFor = 10 * time.Second
)

//go:embed page.html
var html string

// Incident is a problem as the page shows it.
type Incident struct {
	Severity    string    `json:"severity"`
	Namespace   string    `json:"namespace"`
	Kind        string    `json:"kind"`
	Workload    string    `json:"workload"`
	Reason      string    `json:"reason"`
	Message     string    `json:"message"`
	Occurrences uint32    `json:"occurrences"`
	Last        time.Time `json:"last"`
	Told        bool      `json:"told"`
}

// Page answers with the page at / and with what it shows at /page.json.
type Page struct {
	// Document returns how the agent stands; with an error, what is known.
	Document func() (status.Document, error)
	// Incidents yields incidents in any order until yield returns false. It is bounded by its caller's maker.
	Incidents func(yield func(Incident) bool) error
	History   *History

	mu        sync.Mutex
	incidents []Incident
	readAt    time.Time
}

// document is what the page fetches.
type document struct {
	Status    status.Document `json:"status"`
	Error     string          `json:"error,omitempty"`
	Samples   []Sample        `json:"samples"`
	Incidents []Incident      `json:"incidents"`
}

// Register adds the page to mux.
func (p *Page) Register(mux *http.ServeMux) {
	policy := "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src " +
		hashOf(html, "<style>", "</style>") + "; script-src " + hashOf(html, "<script>", "</script>")
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		header(w, policy, "text/html; charset=utf-8")
		_, _ = w.Write([]byte(html))
	})
	// The document is made for all browsers at once: a flood of requests costs one reading of the status a second.
	document := server.Shared[[]byte]{Make: func() ([]byte, error) { return json.Marshal(p.document()) }}
	mux.HandleFunc("GET /page.json", func(w http.ResponseWriter, _ *http.Request) {
		body, err := document.Get()
		if err != nil {
			http.Error(w, "the status cannot be written as JSON", http.StatusInternalServerError)
			return
		}
		header(w, "default-src 'none'", "application/json")
		_, _ = w.Write(body)
	})
}

func header(w http.ResponseWriter, policy, kind string) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// hashOf returns the source expression that allows the text between two tags.
func hashOf(text, begin, end string) string {
	_, rest, _ := strings.Cut(text, begin)
	inside, _, _ := strings.Cut(rest, end)
	sum := sha256.Sum256([]byte(inside))
	return fmt.Sprintf("'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
}

func (p *Page) document() document {
	var d document
	var err error
	if d.Status, err = p.Document(); err == nil {
		d.Incidents, err = p.current()
	}
	d.Samples = append(p.History.Samples(), SampleOf(&d.Status))
	if err != nil {
		d.Error = err.Error()
		d.Status.Fail(err)
	}
	return d
}

// current returns the newest incidents.
func (p *Page) current() ([]Incident, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.readAt.IsZero() && time.Since(p.readAt) < freshFor {
		return p.incidents, nil
	}
	newest := make([]Incident, 0, 2*maxIncidents)
	trim := func() {
		slices.SortStableFunc(newest, func(a, b Incident) int { return cmp.Compare(b.Last.UnixNano(), a.Last.UnixNano()) })
		newest = newest[:min(len(newest), maxIncidents)]
	}
	err := p.Incidents(func(in Incident) bool {
		in.Message = strings.ToValidUTF8(in.Message[:min(len(in.Message), maxText)], "")
		if newest = append(newest, in); len(newest) == cap(newest) {
			trim()
		}
		return true
	})
	trim()
	if err != nil {
		return nil, err
	}
	p.incidents, p.readAt = newest, time.Now()
	return newest, nil
}
