package main

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// eventServer answers as an API server does that has the same number of events in each namespace, and holds each watch open until it
// forgets all positions.
type eventServer struct {
	*httptest.Server

	perNamespace int
	message      string

	mu      sync.Mutex
	version int
	// watches are open, opened counts all that were.
	watches, opened int
	// forget is closed when all watches end.
	forget chan struct{}
}

func newEventServer(t *testing.T, perNamespace, messageBytes int) *eventServer {
	t.Helper()
	s := &eventServer{perNamespace: perNamespace, message: strings.Repeat("m", messageBytes), version: 100_000, forget: make(chan struct{})}
	s.Server = httptest.NewUnstartedServer(s)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() {
		s.compact()
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *eventServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	namespace, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	w.Header().Set("Content-Type", "application/json")
	s.mu.Lock()
	version, forget := s.version, s.forget
	s.mu.Unlock()
	if r.URL.Query().Has("watch") {
		if from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion")); err != nil || from < version {
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, `{"kind":"Status","code":410,"reason":"Expired"}`)
			return
		}
		_ = http.NewResponseController(w).Flush()
		s.count(1)
		defer s.count(-1)
		select {
		case <-forget:
		case <-r.Context().Done():
		}
		return
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	begin, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	end, token := min(begin+limit, s.perNamespace), ""
	if end < s.perNamespace {
		token = strconv.Itoa(end)
	}
	fmt.Fprintf(w, `{"kind":"EventList","apiVersion":"v1","metadata":{"resourceVersion":"%d","continue":%q},"items":[`, version, token)
	for i := begin; i < end; i++ {
		if i > begin {
			fmt.Fprint(w, ",")
		}
		now := time.Now().UTC().Format(time.RFC3339)
		fmt.Fprintf(w, `{"kind":"Event","apiVersion":"v1","metadata":{"name":"web.%[1]d","namespace":%[2]q,"uid":"%[2]s-%[1]d","resourceVersion":"%[3]d",`+
			`"creationTimestamp":%[4]q},"involvedObject":{"kind":"Pod","namespace":%[2]q,"name":"web-7d9f8c6b5d-x2x4z"},"reason":"BackOff","message":%[5]q,`+
			`"source":{"component":"kubelet"},"firstTimestamp":%[4]q,"lastTimestamp":%[4]q,"count":1,"type":"Warning"}`, i, namespace, 1+i, now, s.message)
	}
	fmt.Fprint(w, "]}")
}

func (s *eventServer) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches += n
	s.opened += max(0, n)
}

// watched reports whether n watches are open, each of which was opened anew after each compaction.
func (s *eventServer) watched(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches == n && s.opened >= n*(s.version-99_999)
}

// compact ends all watches and makes each position too old: everything is listed at once, as after a restart of an API server.
func (s *eventServer) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	close(s.forget)
	s.forget = make(chan struct{})
}

func (s *eventServer) kubeconfig(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ca, path := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}],
users: [{name: u, user: {token: none}}], contexts: [{name: c, context: {cluster: c, user: u}}]}`, s.URL, ca)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFiftyNamespacesThatAreAllListedStayBelow32MiB: at the start and at each restart of the API server all of them are listed. The
// messages are as long as those of probes and of mounts that fail.
func TestFiftyNamespacesThatAreAllListedStayBelow32MiB(t *testing.T) {
	rest := make(map[int]int64)
	for _, n := range []int{1, 50} {
		server := newEventServer(t, 500, 1536)
		var namespaces []string
		for i := range n {
			namespaces = append(namespaces, fmt.Sprintf("ns-%02d", i))
		}
		d := newDesk(t, "{name: hook, type: webhook, fold: incident, url: 'http://127.0.0.1:1/'}")
		appendTo(t, d.config, fmt.Sprintf("kubernetes: {kubeconfig: %q, namespaces: [%s]}\n", server.kubeconfig(t), strings.Join(namespaces, ", ")))
		p := startAgent(t, d.config)
		for round := range 3 {
			if round > 0 {
				server.compact()
			}
			until(t, "each namespace is watched again", func() bool { return server.watched(n) })
		}
		rest[n] = p.memory("RssAnon")
		peak := p.memory("VmHWM")
		t.Logf("%d namespaces of 500 events of 1.5 KiB, listed three times: VmHWM %s, RssAnon %s", n, mib(peak), mib(rest[n]))
		if peak > 32<<20 {
			t.Errorf("%d namespaces: the peak is %s, the budget 32 MiB", n, mib(peak))
		}
		p.kill()
	}
	t.Logf("a namespace more costs %.0f KiB of RssAnon", float64(rest[50]-rest[1])/49/1024)
}
