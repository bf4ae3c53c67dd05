package port

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/page"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

// TestStatusIsReadOnceForAllQuestionsOfASecond floods every path that is made of it.
func TestStatusIsReadOnceForAllQuestionsOfASecond(t *testing.T) {
	var read atomic.Int64
	handler := Handler(Options{
		Document:  func() (status.Document, error) { read.Add(1); return status.Document{}, nil },
		Stuck:     func() []string { return nil },
		Incidents: func(func(page.Incident) bool) error { return nil },
		History:   new(page.History),
	})
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})
	for range 100 {
		for path, want := range map[string]int{"/metrics": 200, "/readyz": 503, "/page.json": 200, "/": 200, "/healthz": 200} {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
			r.Host = "localhost:8080"
			w := httptest.NewRecorder()
			if handler.ServeHTTP(w, r); w.Code != want {
				t.Fatalf("%s answers %d: %s", path, w.Code, w.Body)
			}
		}
	}
	// A slow machine may take some seconds for it.
	if n := read.Load(); n > 20 {
		t.Errorf("500 requests read the status %d times", n)
	}
}
