package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

const (
	feishuPath   = "/open-apis/bot/v2/hook/0123abcd-bench"
	feishuSecret = "bench-signing-secret"
	archivePath  = "/archive"
)

// receivers are a webhook that archives and a fake of Feishu, behind TLS on one address. They can refuse connections.
type receivers struct {
	address string
	server  *httptest.Server
	feishu  notifytest.Feishu

	mu sync.Mutex
	// events holds the names of those that were archived, lost is how many the agent told to be lost.
	events, batches map[string]bool
	lost            uint64
	// messages is how many Feishu took.
	messages int
}

func newReceivers(ctx context.Context, caFile string) (*receivers, error) {
	r := &receivers{address: "127.0.0.1:0", feishu: notifytest.Feishu{Secret: feishuSecret, PerSecond: 5, PerMinute: 100},
		events: make(map[string]bool), batches: make(map[string]bool)}
	if err := r.accept(ctx); err != nil {
		return nil, err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	return r, os.WriteFile(caFile, ca, 0o600)
}

// accept listens, at the address that it had before if it had one.
func (r *receivers) accept(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", r.address)
	if err != nil {
		return err
	}
	r.address = l.Addr().String()
	r.server = httptest.NewUnstartedServer(r)
	_ = r.server.Listener.Close()
	r.server.Listener = l
	// Connections that are cut are part of the run.
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.StartTLS()
	return nil
}

// refuse closes everything; a new connection is refused.
func (r *receivers) refuse() {
	r.server.CloseClientConnections()
	r.server.Close()
}

func (r *receivers) archived() (events int, lost uint64, messages int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events), r.lost, r.messages
}

// ServeHTTP takes a message.
func (r *receivers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	if req.URL.Path != archivePath {
		answer, ok := r.feishu.Judge(req, body, time.Now())
		r.mu.Lock()
		if ok {
			r.messages++
		}
		r.mu.Unlock()
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		if answer.Status != 0 {
			w.WriteHeader(answer.Status)
		}
		_, _ = io.WriteString(w, answer.Body)
		return
	}
	type loss struct {
		Events uint64 `json:"events"`
	}
	var document struct {
		Batch     string `json:"batch"`
		Incidents []struct {
			Event struct {
				Metadata struct {
					Name string `json:"name"`
				} `json:"metadata"`
			} `json:"event"`
			Own bool `json:"own"`
		} `json:"incidents"`
		Losses []loss `json:"losses"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, in := range document.Incidents {
		if !in.Own {
			r.events[in.Event.Metadata.Name] = true
		}
	}
	// A message whose answer was cut off comes again.
	if !r.batches[document.Batch] {
		for _, l := range document.Losses {
			r.lost += l.Events
		}
	}
	r.batches[document.Batch] = true
	w.WriteHeader(http.StatusNoContent)
}
