package notify_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// doubts notes what a receiver says of the names it looked up.
type doubts []string

func (d *doubts) note(host string, wrong bool) { *d = append(*d, fmt.Sprint(host, " ", wrong)) }

// TestNameIsDoubtedWhenSomebodyElseAnswers has each receiver meet a portal: by TLS, by plain HTTP where TLS is due, and by its pages.
func TestNameIsDoubtedWhenSomebodyElseAnswers(t *testing.T) {
	authority := newAuthority(t)
	portal := startIdentity(t, issue(t, authority, "portal.example"))
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnavailableForLegalReasons)
		_, _ = io.WriteString(w, portalPage)
	}))
	t.Cleanup(plain.Close)
	forEach(t, func(t *testing.T, s *subject) {
		for _, c := range []struct{ name, scheme, address, want string }{
			{"certificate", "https", portal.Listener.Addr().String(), "receiver.example true"},
			{"no TLS", "https", plain.Listener.Addr().String(), "receiver.example true"},
			{"page", "http", plain.Listener.Addr().String(), "receiver.example true"},
			{"nobody", "http", "", "receiver.example false"},
		} {
			var told doubts
			r := s.receiver(t, c.scheme+"://receiver.example", func(cfg *configtest.Keys) {
				cfg.Doubt = told.note
				cfg.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					if c.address == "" {
						return nil, io.EOF
					}
					return new(net.Dialer).DialContext(ctx, network, c.address)
				}
			})
			if e := failure(t, send(t, r)); e.Outcome != notify.Retry {
				t.Errorf("%s: %v, want retry", c.name, e)
			}
			if !slices.Equal(told, []string{c.want}) {
				t.Errorf("%s: doubted %q, want %q", c.name, told, c.want)
			}
		}
	})
}

// TestAnswerOfThePlatformIsNotDoubted: an answer in the platform's own words costs no look-up, whatever it says.
func TestAnswerOfThePlatformIsNotDoubted(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		var told doubts
		server, r := s.start(t, func(c *configtest.Keys) { c.Doubt = told.note })
		for _, a := range s.taken {
			server.Fail(1, a)
			_ = send(t, r)
		}
		for _, d := range s.answers {
			// A receiver that nothing is documented of, or that judges by status, cannot tell.
			if d.code != "" {
				server.Fail(1, d.answer)
				_ = send(t, r)
			}
		}
		if len(told) > 0 {
			t.Errorf("doubted %q", told)
		}
	})
}

// TestConnectionToSomebodyElseIsNotUsedAgain has a portal that keeps its connections after it let the client through.
func TestConnectionToSomebodyElseIsNotUsedAgain(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		for range 3 {
			server.Fail(1, status(451, portalPage))
			if err := send(t, r); err == nil {
				t.Fatal("success")
			}
		}
		if got := server.Connections(); got != 3 {
			t.Errorf("%d connections for 3 answers of somebody else, want 3", got)
		}
	})
}

func TestPageIsAYesOnlyWhereItIsAskedFor(t *testing.T) {
	s := webhookSubject()
	for accept, taken := range map[string]bool{"": false, "application/json": false, "text/html": true, "*/*;q=0.1, text/HTML": true} {
		server, r := s.start(t, func(c *configtest.Keys) {
			if accept != "" {
				c.Header["accept"] = notify.SecretValue(accept)
			}
		})
		server.Fail(1, body(portalPage))
		if err := send(t, r); (err == nil) != taken {
			t.Errorf("Accept %q: %v", accept, err)
		}
	}
	// success.json is stricter anyhow; success.status says nothing of the body.
	server, r := s.start(t, func(c *configtest.Keys) { c.SuccessStatus = []int{200} })
	server.Fail(1, body(portalPage))
	if err := send(t, r); err == nil {
		t.Error("success.status: a login page is a yes")
	}
}

// TestRefusalOfTheProxyIsSaidToBeTheProxys covers requests that the proxy forwards and tunnels that it opens.
func TestRefusalOfTheProxyIsSaidToBeTheProxys(t *testing.T) {
	code := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, portalPage)
	}))
	t.Cleanup(proxy.Close)
	forEach(t, func(t *testing.T, s *subject) {
		for _, c := range []struct {
			scheme  string
			status  int
			outcome notify.Outcome
			says    string
		}{
			{"http", 407, notify.BadTarget, "the proxy refuses: it wants a user name"},
			{"https", 407, notify.BadTarget, "the proxy refuses: it wants a user name"},
			{"https", 403, notify.BadTarget, "the proxy refuses to connect"},
			{"https", 503, notify.Retry, "the proxy cannot connect"},
			{"https", 204, notify.Retry, "the proxy cannot connect"},
		} {
			var told doubts
			r := s.receiver(t, c.scheme+"://receiver.example", func(cfg *configtest.Keys) { cfg.Proxy, cfg.Doubt = proxy.URL, told.note })
			code = c.status
			e := failure(t, send(t, r))
			if e.Outcome != c.outcome || e.Status != c.status || !strings.Contains(e.Reason, c.says) {
				t.Errorf("%s, %d: %s, %v; want %s, …%s…", c.scheme, c.status, e.Outcome, e, c.outcome, c.says)
			}
			if len(told) > 0 {
				t.Errorf("%s, %d: the receiver's name is doubted for the proxy's answer", c.scheme, c.status)
			}
		}
	})
}

func TestDestinationIsWhereTheNextRequestConnects(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		for _, c := range []struct{ url, proxy, want string }{
			{"https://receiver.example", "", "receiver.example"},
			{"http://192.168.1.5:8080", "", "192.168.1.5"},
			{"http://[fd00::5]", "", "fd00::5"},
			{"http://receiver.example", "http://10.0.0.1:3128", "10.0.0.1"},
			{"https://receiver.example", "http://user:secret@proxy.example:3128", "proxy.example"},
		} {
			r := s.receiver(t, c.url, func(cfg *configtest.Keys) { cfg.Proxy = c.proxy })
			if got := r.(interface{ Destination() string }).Destination(); got != c.want {
				t.Errorf("%s by %q: %q, want %q", c.url, c.proxy, got, c.want)
			}
		}
	})
	for want, cfg := range map[string]configtest.Keys{
		"api.telegram.org": {Type: "telegram", Token: notify.SecretValue(telegramToken), ChatID: telegramChat},
		"":                 {Type: "webhook", URL: notify.SecretFile("/missing")},
		"shop.example":     {Type: "webhook", URL: notify.SecretValue("https://shop.example/{{ .Namespace }}")},
	} {
		cfg.Name = "r"
		r, err := configtest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.(interface{ Destination() string }).Destination(); got != want {
			t.Errorf("%s: %q, want %q", cfg.Type, got, want)
		}
	}
}

// TestEndlessAnswerIsReadAndKeptWithinBounds has a far end whose page does not end, with each status: what is read, and what is
// kept in the error, a log and a dead letter.
func TestEndlessAnswerIsReadAndKeptWithinBounds(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		for _, code := range []int{200, 204, 302, 400, 401, 404, 413, 422, 429, 451, 500, 503} {
			written := make(chan int64, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(code)
				n, page := int64(0), strings.Repeat("a long page ", 1000)
				for r.Context().Err() == nil {
					wrote, err := io.WriteString(w, page)
					if n += int64(wrote); err != nil || n > 256<<20 {
						break
					}
				}
				written <- n
			}))
			r := s.receiver(t, server.URL)
			err := send(t, r)
			r.Close()
			// What was not read may lie in the buffers of both kernels.
			if n := <-written; n > 32<<20 {
				t.Errorf("%d: %d bytes of an endless answer were taken", code, n)
			}
			server.Close()
			if err == nil {
				continue
			}
			e := failure(t, err)
			if len(e.Answer) > 1024 || len(e.Error()) > 2048 {
				t.Errorf("%d: %d bytes of the answer are kept, the text has %d", code, len(e.Answer), len(e.Error()))
			}
		}
	})
}
