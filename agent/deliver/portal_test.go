package deliver_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/dial"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/dial/namestest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// serveAt runs an HTTP server at an address of loopback, with TLS if there is a certificate.
func serveAt(t *testing.T, address string, certificate *tls.Certificate, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	_ = s.Listener.Close()
	s.Listener = l
	if certificate != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// TestPortalsNameServerIsBelievedNoLongerThanThePortalStands has a portal that answers every name with its own address, for an
// hour, and is gone before the second attempt: which reaches the receiver.
func TestPortalsNameServerIsBelievedNoLongerThanThePortalStands(t *testing.T) {
	authority, err := notifytest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	authorityFile := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(authorityFile, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			var own, portals *tls.Certificate
			if scheme == "https" {
				if own, err = authority.Issue("receiver.test"); err != nil {
					t.Fatal(err)
				}
				if portals, err = authority.Issue("portal.test"); err != nil {
					t.Fatal(err)
				}
			}
			receiver := serveAt(t, "127.0.0.1:0", own, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, notifytest.FeishuOK)
			})
			_, port, err := net.SplitHostPort(receiver.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			serveAt(t, net.JoinHostPort("127.0.0.2", port), portals, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, "<html>Please sign in</html>")
			})
			server := namestest.Start(t, 3600)
			server.Answer(netip.MustParseAddr("127.0.0.2"))
			dialer := dial.New(budget.New(budget.Options{}), server.Dial)
			r, err := configtest.New(configtest.Keys{
				Name: "ops", Type: "feishu", URL: notify.SecretValue(scheme + "://receiver.test:" + port + "/hook"),
				CAFile: authorityFile, DialContext: dialer.For("ops", nil), Doubt: dialer.Doubt,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			send := func() error {
				request, err := r.Render(&notify.Message{Now: time.Now(), Losses: []notify.Loss{{Cause: "evicted", Events: 1}}}, notify.Full)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				return r.Send(ctx, request)
			}
			if err := send(); notify.OutcomeOf(err) != notify.Retry || err == nil {
				t.Errorf("behind the portal: %v, want retry", err)
			}
			server.Answer(netip.MustParseAddr("127.0.0.1"))
			if err := send(); err != nil {
				t.Errorf("after the portal: %v", err)
			}
		})
	}
}
