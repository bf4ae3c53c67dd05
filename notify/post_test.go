package notify_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// tlsServer answers 204 and notes what clients offered and whether they resumed.
type tlsServer struct {
	*httptest.Server

	mu      sync.Mutex
	curves  [][]tls.CurveID
	resumed []bool
	protos  []string
}

func startTLSServer(t *testing.T) *tlsServer {
	t.Helper()
	s := &tlsServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.resumed = append(s.resumed, r.TLS.DidResume)
		s.protos = append(s.protos, r.Proto)
		// Each message gets a connection of its own.
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNoContent)
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.curves = append(s.curves, slices.Clone(hello.SupportedCurves))
		return nil, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestHandshakesAreAsSmallAsTheConfigurationAllows(t *testing.T) {
	for exchange, hybrid := range map[string]bool{"": false, "x25519": false, "hybrid": true} {
		server := startTLSServer(t)
		var read atomic.Int64
		r, err := configtest.New(configtest.Keys{
			Name: "w", Type: "webhook", URL: notify.SecretValue(server.URL), InsecureSkipVerify: true, KeyExchange: exchange,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return countingConn{conn, &read}, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		var bytes []int64
		for range 2 {
			before := read.Load()
			if err := send(t, r); err != nil {
				t.Fatal(err)
			}
			bytes = append(bytes, read.Load()-before)
		}
		server.mu.Lock()
		defer server.mu.Unlock()
		if got := slices.Contains(server.curves[0], tls.X25519MLKEM768); got != hybrid || !slices.Contains(server.curves[0], tls.X25519) {
			t.Errorf("keyExchange %q offers %v", exchange, server.curves[0])
		}
		if !slices.Equal(server.resumed, []bool{false, true}) || bytes[1] >= bytes[0] {
			t.Errorf("keyExchange %q: resumed %v, bytes read %v", exchange, server.resumed, bytes)
		}
		if !slices.Equal(server.protos, []string{"HTTP/1.1", "HTTP/1.1"}) {
			t.Errorf("protocols %v", server.protos)
		}
	}
}

func TestProxyIsUsedAndItsPasswordKept(t *testing.T) {
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.RequestURI + " " + r.Header.Get("Proxy-Authorization"))
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(proxy.Close)
	address := strings.TrimPrefix(proxy.URL, "http://")
	for url, want := range map[string]string{
		"http://receiver.example/secret-path":  "POST http://receiver.example/secret-path Basic dXNlcjpwcm94eS1wYXNzd29yZA==",
		"https://receiver.example/secret-path": "CONNECT receiver.example:443 Basic dXNlcjpwcm94eS1wYXNzd29yZA==",
	} {
		r, err := configtest.New(configtest.Keys{
			Name: "w", Type: "webhook", URL: notify.SecretValue(url), Proxy: "http://user:proxy-password@" + address,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		err = send(t, r)
		if e := failure(t, err); e.Outcome == notify.BadPayload {
			t.Errorf("%v", e)
		}
		noSecret(t, url, []string{"proxy-password", "secret-path"}, err.Error())
		if asked.Load() != want {
			t.Errorf("the proxy was asked %q, want %q", asked.Load(), want)
		}
	}
}

func TestUserInURLIsSentAsBasicAuthentication(t *testing.T) {
	var got atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got.Store(user + " " + password)
	}))
	t.Cleanup(server.Close)
	s := webhookSubject()
	r := s.receiver(t, "", func(c *configtest.Keys) {
		c.URL, c.Header = notify.SecretValue(strings.Replace(server.URL, "http://", "http://me:url-password@", 1)), nil
	})
	if err := send(t, r); err != nil || got.Load() != "me url-password" {
		t.Errorf("%v, the server got %q", err, got.Load())
	}
	server.Close()
	noSecret(t, "error", []string{"url-password"}, failure(t, send(t, r)).Error())
}

func TestRequestHasFewHeaders(t *testing.T) {
	s := feishuSubject()
	server, r := s.start(t)
	if err := send(t, r); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range server.Received()[0].Header {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"Content-Length", "Content-Type", "User-Agent"}; !slices.Equal(names, want) {
		t.Errorf("headers %v, want %v", names, want)
	}
}

func TestOutcomeOfUnknownErrorIsRetry(t *testing.T) {
	if got := notify.OutcomeOf(context.Canceled); got != notify.Retry {
		t.Errorf("outcome %s", got)
	}
	for outcome, want := range map[notify.Outcome]string{notify.Retry: "retry", notify.BadPayload: "bad_payload", notify.BadTarget: "bad_target", 7: "outcome(7)"} {
		if outcome.String() != want {
			t.Errorf("%d is called %s", outcome, outcome)
		}
	}
}
