package notify_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// identity is a real TLS server that notes what reached it.
type identity struct {
	*httptest.Server

	mu       sync.Mutex
	asked    []string
	requests []string
	clients  []string
}

// startIdentity runs a server that shows certificate.
func startIdentity(t *testing.T, certificate *tls.Certificate, change ...func(*tls.Config)) *identity {
	t.Helper()
	s := &identity{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, r.Header.Get("Authorization"))
		for _, c := range r.TLS.PeerCertificates {
			s.clients = append(s.clients, c.Subject.CommonName)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	s.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, hello.ServerName)
		return nil, nil
	}
	for _, c := range change {
		c(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// startTunnel runs a proxy that answers CONNECT and leads every tunnel to address.
func startTunnel(t *testing.T, address string) *httptest.Server {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		far, err := net.Dial("tcp", address)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		near, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = far.Close()
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func(r *bufio.Reader) {
			_, _ = io.Copy(far, r)
			_ = far.Close()
		}(both.Reader)
		_, _ = io.Copy(near, far)
		_ = near.Close()
	}))
	t.Cleanup(proxy.Close)
	return proxy
}

func newAuthority(t *testing.T) *notifytest.Authority {
	t.Helper()
	authority, err := notifytest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func issue(t *testing.T, authority *notifytest.Authority, names ...string) *tls.Certificate {
	t.Helper()
	certificate, err := authority.Issue(names...)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNameOrAddressThatWasDialledIsVerified shows a certificate of the trusted authority that is for somebody else: neither the alert
// nor the token may reach who holds it.
func TestNameOrAddressThatWasDialledIsVerified(t *testing.T) {
	authority := newAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, file, authority.PEM())
	for _, c := range []struct {
		host, serverName, certificate string
		sni                           string
		trusted                       bool
	}{
		{host: "receiver.example", certificate: "receiver.example", sni: "receiver.example", trusted: true},
		{host: "receiver.example", certificate: "other.example", sni: "receiver.example"},
		{host: "receiver.example", certificate: "127.0.0.1", sni: "receiver.example"},
		{host: "127.0.0.1", certificate: "127.0.0.1", trusted: true},
		{host: "127.0.0.1", certificate: "127.0.0.2"},
		{host: "127.0.0.1", certificate: "other.example"},
		{host: "[::1]", certificate: "::1", trusted: true},
		{host: "[::1]", certificate: "::2"},
		{host: "[::1]", certificate: "other.example"},
		{host: "127.0.0.1", serverName: "receiver.example", certificate: "receiver.example", sni: "receiver.example", trusted: true},
		{host: "127.0.0.1", serverName: "receiver.example", certificate: "127.0.0.1", sni: "receiver.example"},
		{host: "receiver.example", serverName: "127.0.0.1", certificate: "127.0.0.1", trusted: true},
		{host: "receiver.example", serverName: "127.0.0.1", certificate: "receiver.example"},
	} {
		for _, proxied := range []bool{false, true} {
			name := strings.Join([]string{c.host, c.serverName, c.certificate}, ",")
			if proxied {
				name += ",proxy"
			}
			t.Run(name, func(t *testing.T) {
				server := startIdentity(t, issue(t, authority, c.certificate))
				address := server.Listener.Addr().String()
				cfg := configtest.Keys{
					Name: "w", Type: "webhook", URL: notify.SecretValue("https://" + c.host), CAFile: file, ServerName: c.serverName,
					Header: map[string]notify.Secret{"Authorization": notify.SecretValue("Bearer token-of-the-receiver")},
				}
				if proxied {
					cfg.Proxy = startTunnel(t, address).URL
				} else {
					cfg.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
						return new(net.Dialer).DialContext(ctx, network, address)
					}
				}
				r, err := configtest.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(r.Close)
				// The second connection resumes the session of the first.
				for range 2 {
					err := send(t, r)
					if c.trusted {
						if err != nil {
							t.Fatal(err)
						}
					} else if e := failure(t, err); e.Outcome != notify.Retry || !strings.Contains(e.Reason, "not trusted") {
						t.Errorf("%v, want a retry because the certificate is not trusted", err)
					}
					r.Close()
				}
				server.mu.Lock()
				defer server.mu.Unlock()
				if !c.trusted && len(server.requests) > 0 {
					t.Errorf("the wrong server got %q", server.requests)
				}
				if want := []string{c.sni, c.sni}; !slices.Equal(server.asked, want) {
					t.Errorf("the server was asked as %q, want %q", server.asked, want)
				}
			})
		}
	}
}

func TestServerNameIsNotLookedForInTheProxysCertificate(t *testing.T) {
	cfg := configtest.Keys{Name: "w", Type: "webhook", URL: notify.SecretValue("https://receiver.example"), ServerName: "receiver.example"}
	for proxy, mistake := range map[string]bool{"https://proxy.example": true, "http://proxy.example": false} {
		cfg.Proxy = proxy
		if mistakes := configtest.Check(cfg); (len(mistakes) > 0) != mistake {
			t.Errorf("proxy %s: %q", proxy, mistakes)
		}
	}
	cfg.Proxy = ""
	t.Setenv("HTTPS_PROXY", "https://proxy.example")
	r, err := configtest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := send(t, r); err == nil {
		t.Error("success")
	}
}

// TestChangedTLSFilesAreUsedForTheNextMessage changes the authority and the client's certificate under a kept connection.
func TestChangedTLSFilesAreUsedForTheNextMessage(t *testing.T) {
	authority, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	ca, certificate, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	client := func(name string) {
		c, k, err := notifytest.Files(issue(t, authority, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, certificate, c)
		writeFile(t, key, k)
	}
	server := startIdentity(t, issue(t, authority, "127.0.0.1"), func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, authority.Pool()
	})
	r, err := configtest.New(configtest.Keys{
		Name: "w", Type: "webhook", URL: notify.SecretValue(server.URL), CAFile: ca, CertFile: certificate, KeyFile: key,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	writeFile(t, ca, authority.PEM())
	if e := failure(t, send(t, r)); e.Outcome != notify.Retry || !strings.Contains(e.Error(), "tls.certFile") {
		t.Errorf("without the files: %v", e)
	}
	client("site-1")
	for range 2 {
		if err := send(t, r); err != nil {
			t.Fatal(err)
		}
	}
	client("site-2")
	if err := send(t, r); err != nil {
		t.Fatal(err)
	}
	server.mu.Lock()
	if want := []string{"site-1", "site-1", "site-2"}; !slices.Equal(server.clients, want) {
		t.Errorf("the server saw the certificates of %q, want %q", server.clients, want)
	}
	if len(server.asked) != 2 {
		t.Errorf("%d connections, want one for each certificate", len(server.asked))
	}
	server.mu.Unlock()
	writeFile(t, key, []byte("half"))
	if e := failure(t, send(t, r)); e.Outcome != notify.Retry || !strings.Contains(e.Error(), "tls.keyFile") {
		t.Errorf("with half a key: %v", e)
	}
	client("site-3")
	writeFile(t, ca, other.PEM())
	if e := failure(t, send(t, r)); !strings.Contains(e.Reason, "not trusted") {
		t.Errorf("with another authority: %v", e)
	}
}
