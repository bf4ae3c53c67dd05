package watch_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
	"github.com/edge-eventer/edge-eventer/agent/watch/health"
	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
)

// serve runs the fake server behind real TLS and HTTP/2.
func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// handle lets the fake server answer real requests.
func (f *fakeServer) handle(w http.ResponseWriter, r *http.Request) {
	response, err := f.RoundTrip(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = response.Body.Close() }()
	maps.Copy(w.Header(), response.Header)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(response.StatusCode)
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	buffer := make([]byte, 4096)
	for {
		n, err := response.Body.Read(buffer)
		if _, writeErr := w.Write(buffer[:n]); writeErr != nil {
			return
		}
		_ = flusher.Flush()
		if err != nil {
			return
		}
	}
}

// kubeconfig writes one with the server's certificate as authority and the user's lines.
func kubeconfig(t *testing.T, file, url string, server *httptest.Server, user string) {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: default
clusters:
- name: default
  cluster: {server: %q, certificate-authority: %q}
users:
- name: agent
  user: %s
contexts:
- name: default
  context: {cluster: default, user: agent}
`, url, ca, user)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts a watcher with a kubeconfig.
func run(t *testing.T, o Options, sink Sink) *Watcher {
	t.Helper()
	w, err := New(o, sink)
	if err != nil {
		t.Fatal(err)
	}
	runUntil(t, w)
	return w
}

// runUntil runs the watcher until stop is called or the test ends.
func runUntil(t *testing.T, w *Watcher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// fast has short pauses, for tests with a real network.
func fast(o Options) Options { return WithPauses(o, 10*time.Millisecond, 200*time.Millisecond) }

// eventually polls what only the watcher's status shows.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-limit.C:
			t.Fatalf("%s did not happen within 3 minutes", what)
		}
	}
}

func TestRequestsAreOverHTTP2AndSayWhoAsks(t *testing.T) {
	fake, sink := newFakeServer(), newTap(t)
	fake.put("a")
	var problems atomic.Pointer[string]
	var connections sync.Map
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		connections.Store(r.RemoteAddr, true)
		got := fmt.Sprintf("%s %s %s %s %s", r.Proto, r.Method, r.Header.Get("User-Agent"), r.Header.Get("Authorization"), r.Header.Get("Accept"))
		if got != "HTTP/2.0 GET edge-eventer/1.2.3 Bearer secret application/json" || r.Header.Get("Accept-Encoding") != "" {
			problems.Store(&got)
		}
		fake.handle(w, r)
	})
	config := filepath.Join(t.TempDir(), "config")
	kubeconfig(t, config, server.URL, server, "{token: secret}")
	run(t, fast(Options{Kubeconfig: config, Version: "1.2.3"}), sink)
	sink.wait(t, "the list", func(s *tap) bool { return s.taken["a"] == 1 })
	fake.put("b")
	sink.wait(t, "the change", func(s *tap) bool { return s.taken["b"] == 1 })
	if p := problems.Load(); p != nil {
		t.Errorf("request was %s", *p)
	}
	n := 0
	connections.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestRotatedTokenFileIsReadAgainWhenTheOldOneIsRefused(t *testing.T) {
	fake, sink := newFakeServer(), newTap(t)
	fake.put("a")
	var token atomic.Value
	token.Store("one")
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token.Load().(string) {
			response := answerStatus(401, "Unauthorized", "Unauthorized", "")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.Copy(w, response.Body)
			return
		}
		fake.handle(w, r)
	})
	dir := t.TempDir()
	config, tokenFile := filepath.Join(dir, "config"), filepath.Join(dir, "token")
	write := func(s string) {
		if err := os.WriteFile(tokenFile, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	kubeconfig(t, config, server.URL, server, fmt.Sprintf("{tokenFile: %q}", tokenFile))
	var log logBuffer
	w := run(t, fast(Options{Kubeconfig: config, Logger: log.logger()}), sink)
	sink.wait(t, "the list", func(s *tap) bool { return s.taken["a"] == 1 })

	// The old token is refused before the file has the new one.
	token.Store("two")
	fake.put("b")
	server.CloseClientConnections()
	eventually(t, "the refusal", func() bool {
		f := w.Status().Namespaces[0].Failing
		return f != nil && f.Reason == "unauthorized"
	})
	write("two")
	sink.wait(t, "the change", func(s *tap) bool { return s.taken["b"] == 1 })
	wantOnce(t, fake, sink)
	if strings.Contains(log.String(), "one\"") || strings.Contains(log.String(), "Bearer") {
		t.Errorf("the log shows a token:\n%s", &log)
	}
}

func TestRewrittenKubeconfigIsReadAgain(t *testing.T) {
	fake, sink := newFakeServer(), newTap(t)
	fake.put("a")
	old := serve(t, fake.handle)
	fresh := serve(t, fake.handle)
	config := filepath.Join(t.TempDir(), "config")
	kubeconfig(t, config, old.URL, old, "{token: secret}")
	run(t, fast(Options{Kubeconfig: config}), sink)
	sink.wait(t, "the list", func(s *tap) bool { return s.taken["a"] == 1 })
	kubeconfig(t, config, fresh.URL, fresh, "{token: other}")
	old.CloseClientConnections()
	old.Close()
	fake.put("b")
	sink.wait(t, "the change", func(s *tap) bool { return s.taken["b"] == 1 })
	wantOnce(t, fake, sink)
}

// freezer is a TCP proxy that can stop to carry bytes without closing anything, as a link does.
type freezer struct {
	net.Listener
	target string

	mu     sync.Mutex
	thaw   chan struct{}
	frozen chan struct{}
}

func newFreezer(t *testing.T, target string) *freezer {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &freezer{Listener: listener, target: target, frozen: make(chan struct{}), thaw: make(chan struct{})}
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			var d net.Dialer
			server, err := d.DialContext(t.Context(), "tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			f.mu.Lock()
			frozen := f.frozen
			f.mu.Unlock()
			carrying.Go(func() { f.carry(client, server, frozen) })
			carrying.Go(func() { f.carry(server, client, frozen) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); close(f.thaw); carrying.Wait() })
	return f
}

// carry copies until its connection was frozen.
func (f *freezer) carry(from, to net.Conn, frozen chan struct{}) {
	defer func() { _ = from.Close(); _ = to.Close() }()
	stop := context.AfterFunc(contextOf(f.thaw), func() { _ = from.Close() })
	defer stop()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		select {
		case <-frozen:
			<-f.thaw
			return
		default:
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// contextOf returns a context that ends with the channel.
func contextOf(done <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-done; cancel() }()
	return ctx
}

// freeze stops all connections there are; new ones work.
func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.frozen)
	f.frozen = make(chan struct{})
}

func TestHalfOpenWatchIsNoticed(t *testing.T) {
	fake, sink := newFakeServer(), newTap(t)
	fake.put("a")
	server := serve(t, fake.handle)
	link := newFreezer(t, server.Listener.Addr().String())
	config := filepath.Join(t.TempDir(), "config")
	kubeconfig(t, config, "https://"+link.Addr().String(), server, "{token: secret}")
	w := run(t, WithPings(fast(Options{Kubeconfig: config}), 300*time.Millisecond, 200*time.Millisecond), sink)
	sink.wait(t, "the list", func(s *tap) bool { return s.taken["a"] == 1 })
	eventually(t, "a watch", func() bool { return w.Status().Namespaces[0].State == health.Watching })
	before := w.Status().Namespaces[0].Watches

	link.freeze()
	fake.put("b")
	// Only a new connection can bring it: the frozen one carries nothing and is not closed by anybody else.
	sink.wait(t, "the change", func(s *tap) bool { return s.taken["b"] == 1 })
	wantOnce(t, fake, sink)
	if s := w.Status().Namespaces[0]; s.Watches <= before || s.Failures == 0 {
		t.Errorf("%d watches, %d failures", s.Watches, s.Failures)
	}
}

func TestHalfOpenWatchIsNoticedInLessThanNinetySeconds(t *testing.T) {
	server := serve(t, newFakeServer().handle)
	config := filepath.Join(t.TempDir(), "config")
	kubeconfig(t, config, server.URL, server, "{token: secret}")
	c, err := apiclient.Connect(apiclient.Options{Kubeconfig: config})
	if err != nil {
		t.Fatal(err)
	}
	rt := c.Client.Transport
	for {
		wrapper, ok := rt.(interface{ WrappedRoundTripper() http.RoundTripper })
		if !ok {
			break
		}
		rt = wrapper.WrappedRoundTripper()
	}
	transport, ok := rt.(*http.Transport)
	if !ok {
		t.Fatalf("transport is a %T", rt)
	}
	if h := transport.HTTP2; h.SendPingTimeout != 30*time.Second || h.PingTimeout != 15*time.Second || !transport.ForceAttemptHTTP2 {
		t.Errorf("HTTP/2: %+v", h)
	}
}

func TestKubeconfigIsFoundInOrder(t *testing.T) {
	server := serve(t, newFakeServer().handle)
	dir := t.TempDir()
	named, env := filepath.Join(dir, "named"), filepath.Join(dir, "env")
	kubeconfig(t, named, "https://named:1", server, "{token: t}")
	kubeconfig(t, env, "https://env:1", server, "{token: t}")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
	t.Setenv("KUBECONFIG", filepath.Join(dir, "missing")+string(filepath.ListSeparator)+env)
	for path, want := range map[string]string{named: "https://named:1/api/v1", "": "https://env:1/api/v1"} {
		c, err := apiclient.Connect(apiclient.Options{Kubeconfig: path})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Base.String(); got != want {
			t.Errorf("kubeconfig %q leads to %s, want %s", path, got, want)
		}
	}
}

func TestWrongKubeconfigIsSaid(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBECONFIG", "")
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	noCA := filepath.Join(dir, "no-ca")
	if err := os.WriteFile(noCA, []byte(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
		clusters: [{name: k, cluster: {server: "https://x", certificate-authority: /nowhere/ca.crt}}], users: [{name: u, user: {token: t}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"): "missing",
		broken:                        "broken",
		noCA:                          "/nowhere/ca.crt",
	} {
		if _, err := New(Options{Kubeconfig: path}, newTap(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %s", err, want)
		}
	}
	if _, err := os.Stat(apiclient.K3sKubeconfig); errors.Is(err, os.ErrNotExist) {
		want := "no way to the API server: not in a pod, $KUBECONFIG is empty, and there is no /etc/rancher/k3s/k3s.yaml"
		if _, err := New(Options{}, newTap(t)); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	for _, o := range []Options{{PageSize: -1}, {Namespaces: []string{"shop", ""}}} {
		if _, err := New(o, newTap(t)); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestErrorAnswerIsReadToItsLimitAndTokensDoNotFollowRedirects(t *testing.T) {
	var asked atomic.Int32
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	sink := newTap(t)
	endless := true
	var mu sync.Mutex
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if endless = !endless; endless {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.CopyN(w, new(zeros), 8<<20)
			return
		}
		http.Redirect(w, r, elsewhere.URL, http.StatusFound)
	})
	config := filepath.Join(t.TempDir(), "config")
	kubeconfig(t, config, server.URL, server, "{token: secret}")
	w := run(t, fast(Options{Kubeconfig: config}), sink)
	eventually(t, "six failures", func() bool { return w.Status().Namespaces[0].Failures >= 6 })
	f := w.Status().Namespaces[0].Failing
	if f.Reason != "refused" || len(f.Err.Error()) > 2*stream.MaxField {
		t.Errorf("failing with %s: %d bytes", f.Reason, len(f.Err.Error()))
	}
	if asked.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestUnknownAuthorityIsSaid(t *testing.T) {
	server, other := serve(t, newFakeServer().handle), httptest.NewUnstartedServer(nil)
	other.StartTLS()
	defer other.Close()
	config := filepath.Join(t.TempDir(), "config")
	kubeconfig(t, config, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), other, "{token: secret}")
	w := run(t, fast(Options{Kubeconfig: config}), newTap(t))
	eventually(t, "a failure", func() bool { return w.Status().Namespaces[0].Failing != nil })
	if err := w.Status().Namespaces[0].Failing.Err; !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
}

// TestASinkThatWaitsHoldsBackTheStream: while the disk is full the API server may send ahead what a small window holds, for each watch,
// and not the 4 MiB that Go allows.
func TestASinkThatWaitsHoldsBackTheStream(t *testing.T) {
	fake, sink := newFakeServer(), newTap(t)
	fake.put("a")
	var sent atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("watch") {
			fake.handle(w, r)
			return
		}
		for version := 200; ; version++ {
			n, err := fmt.Fprintf(w, `{"type":"ADDED","object":{"metadata":{"name":"web","uid":"u-%d","resourceVersion":"%d"},"message":%q}}`+"\n",
				version, version, strings.Repeat("m", 1000))
			if err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			sent.Add(int64(n))
		}
	})
	config := filepath.Join(t.TempDir(), "config")
	kubeconfig(t, config, server.URL, server, "{token: secret}")
	release := make(chan struct{})
	sink.onWatched = func(Change) error { <-release; return nil }
	stop := runUntil(t, func() *Watcher {
		w, err := New(fast(Options{Kubeconfig: config}), sink)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}())
	eventually(t, "a full window", func() bool { return sent.Load() > apiclient.MaxStreamWindow/2 })
	// However long it takes, no more may come. A machine that is slow sees less of it.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 50 {
		<-tick.C
		if n := sent.Load(); n > 4*apiclient.MaxStreamWindow {
			t.Errorf("the API server sent %d bytes ahead", n)
			break
		}
	}
	close(release)
	stop()
}
