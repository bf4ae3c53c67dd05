package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// subject is a receiver under the contract.
type subject struct {
	name string
	// platform is its far end, configured so that it takes what config sends.
	platform func() notifytest.Platform
	// config is for a far end at base.
	config func(base string) configtest.Keys
	// settings are those of a type with a package of its own, made of what it has in common with others; nil for the others.
	settings func(c *configtest.Keys) notify.Settings
	// wellFormed reports whether a body is of the format that the receiver posts. Nil: JSON.
	wellFormed func(body []byte) bool
	// secrets must appear nowhere.
	secrets []string
	// taken are the answers that mean yes.
	taken []notifytest.Answer
	// answers are the documented ones that do not.
	answers []documented
	// statusDecides says that any 2xx is a yes, whatever the body.
	statusDecides bool
	// lenient says that any 2xx is a yes unless the body is HTML.
	lenient bool
	// size is the size of a request in the platform's unit, at most limit.
	size  func(r *notify.Request) int
	limit int
	// live are what would notify somebody if it stood in the body, after config's mentions were removed.
	live []string
	// shown returns the text that the platform would show.
	shown func(body []byte) string
	// structure says that the body is for machines: hostile text stands in it as it is.
	structure bool
}

// documented is an answer and what it must be taken for.
type documented struct {
	name    string
	answer  notifytest.Answer
	outcome notify.Outcome
	// code is what Error.Code must be.
	code string
	// says is a part of the reason.
	says string
	// wait is the RetryAfter.
	wait time.Duration
}

func body(text string) notifytest.Answer { return notifytest.Answer{Body: text} }

func status(code int, text string) notifytest.Answer {
	return notifytest.Answer{Status: code, Body: text}
}

const portalPage = "<!DOCTYPE html><html><body>Please sign in</body></html>"

// anybody's answers are what every receiver must take for the same.
func commonAnswers(statusDecides bool) []documented {
	all := []documented{
		{name: "http-500", answer: status(500, "oops"), outcome: notify.Retry},
		{name: "http-502-html", answer: status(502, "<html>bad gateway</html>"), outcome: notify.Retry},
		{name: "http-503-retry-after", answer: notifytest.Answer{Status: 503, Header: map[string]string{"Retry-After": "120"}}, outcome: notify.Retry, wait: 2 * time.Minute},
		{name: "http-429", answer: notifytest.Answer{Status: 429, Header: map[string]string{"Retry-After": "9"}}, outcome: notify.Retry, wait: 9 * time.Second},
		{name: "http-429-too-long", answer: notifytest.Answer{Status: 429, Header: map[string]string{"Retry-After": "999999999999"}}, outcome: notify.Retry, wait: time.Hour},
		{name: "http-429-nonsense", answer: notifytest.Answer{Status: 429, Header: map[string]string{"Retry-After": "-5"}}, outcome: notify.Retry},
		{name: "http-408", answer: status(408, ""), outcome: notify.Retry},
		{name: "redirect", answer: notifytest.Answer{Status: 302, Header: map[string]string{"Location": "http://login.example/"}}, outcome: notify.Retry, says: "redirect"},
		{name: "portal-200", answer: body(portalPage), outcome: notify.Retry, says: "captive portal"},
		{name: "portal-200-bom", answer: body("\uFEFF\n " + portalPage), outcome: notify.Retry, says: "captive portal"},
		{name: "portal-200-xhtml", answer: body(`<?xml version="1.0"?>` + portalPage), outcome: notify.Retry, says: "captive portal"},
		{
			name: "portal-200-gzip", answer: notifytest.Answer{Header: map[string]string{"Content-Type": "text/html", "Content-Encoding": "gzip"}, Body: "\x1f\x8b\x08"},
			outcome: notify.Retry, says: "captive portal",
		},
		{name: "portal-400", answer: status(400, portalPage), outcome: notify.Retry, says: "captive portal"},
		{name: "portal-422", answer: status(422, portalPage), outcome: notify.Retry, says: "captive portal"},
		{name: "portal-413", answer: status(413, portalPage), outcome: notify.Retry, says: "captive portal"},
		{name: "portal-451", answer: status(451, portalPage), outcome: notify.Retry, says: "captive portal"},
		{name: "portal-451-text", answer: status(451, "blocked"), outcome: notify.Retry, says: "captive portal"},
		{name: "portal-402", answer: status(402, "top up"), outcome: notify.Retry, says: "captive portal"},
		{name: "portal-511", answer: status(511, portalPage), outcome: notify.Retry, says: "captive portal"},
		{name: "407-without-a-proxy", answer: status(407, ""), outcome: notify.Retry, says: "captive portal"},
		{name: "101", answer: status(101, ""), outcome: notify.Retry, says: "captive portal"},
		{name: "redirect-307", answer: notifytest.Answer{Status: 307, Header: map[string]string{"Location": "/elsewhere"}}, outcome: notify.Retry, says: "redirect"},
	}
	if !statusDecides {
		all = append(all,
			documented{name: "junk", answer: body("<html>captive portal</html>"), outcome: notify.Retry, says: "captive portal"},
			documented{name: "empty-object", answer: body("{}"), outcome: notify.Retry},
			documented{name: "empty-body", answer: body(""), outcome: notify.Retry},
			documented{name: "null", answer: body("null"), outcome: notify.Retry},
			documented{name: "array", answer: body("[]"), outcome: notify.Retry},
			documented{name: "half", answer: body(`{"code":0`), outcome: notify.Retry},
			documented{name: "foreign-400", answer: status(400, "bad"), outcome: notify.Retry, says: "captive portal"},
			documented{name: "foreign-401", answer: status(401, "who are you"), outcome: notify.Retry, says: "captive portal"},
			documented{name: "foreign-403", answer: status(403, portalPage), outcome: notify.Retry, says: "captive portal"},
			documented{name: "foreign-404", answer: status(404, portalPage), outcome: notify.Retry, says: "captive portal"},
		)
	}
	return all
}

// strictAnswers are those that a platform does not give whose every answer is a verdict in its own words. Before a database there
// may be a proxy of its operator.
func strictAnswers(s *subject) []documented {
	if s.statusDecides || s.lenient || slices.Contains([]string{"elasticsearch", "influxdb"}, s.name) {
		return nil
	}
	return []documented{
		{name: "foreign-413", answer: status(413, ""), outcome: notify.Retry, says: "captive portal"},
		{name: "foreign-json", answer: status(403, `{"error":"payment required"}`), outcome: notify.Retry, says: "captive portal"},
	}
}

// start runs the far end and returns the receiver for it.
func (s *subject) start(t *testing.T, change ...func(*configtest.Keys)) (*notifytest.Server, notify.Receiver) {
	t.Helper()
	server := notifytest.Start(notifytest.New(s.platform()))
	t.Cleanup(server.Close)
	return server, s.receiver(t, server.URL(), change...)
}

func (s *subject) receiver(t testing.TB, base string, change ...func(*configtest.Keys)) notify.Receiver {
	t.Helper()
	cfg := s.config(base)
	cfg.Name, cfg.Type, cfg.Cluster = s.name, s.name, "shop-1"
	for _, c := range change {
		c(&cfg)
	}
	r, err := configtest.New(cfg)
	if s.settings != nil {
		r, err = s.settings(&cfg).New(notify.Common{
			Name: cfg.Name, Cluster: cfg.Cluster, Labels: cfg.SiteLabels, Location: cfg.Location, Language: cfg.Language, Logger: cfg.Logger,
			TLS: notify.TLS{
				CAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile, ServerName: cfg.ServerName,
				InsecureSkipVerify: cfg.InsecureSkipVerify,
			}, Proxy: cfg.Proxy, KeyExchange: cfg.KeyExchange,
			DialContext: cfg.DialContext, Doubt: cfg.Doubt, Output: cfg.Output,
		})
	}
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(r.Close)
	return r
}

func render(t testing.TB, r notify.Receiver, m *notify.Message, form notify.Form) *notify.Request {
	t.Helper()
	request, err := r.Render(m, form)
	if err != nil {
		t.Fatalf("Render: %v", err)
	}
	return request
}

func send(t *testing.T, r notify.Receiver) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return r.Send(ctx, render(t, r, message(plainIncident()), notify.Full))
}

// understand lets the far end take a message, after which nobody asks whether it reads what is compressed.
func understand(t *testing.T, r notify.Receiver) {
	t.Helper()
	if err := send(t, r); err != nil {
		t.Fatal(err)
	}
}

// failure asserts that err is an *Error and returns it.
func failure(t *testing.T, err error) *notify.Error {
	t.Helper()
	e, ok := errors.AsType[*notify.Error](err)
	if !ok {
		t.Fatalf("Send returned %v, want an *Error", err)
	}
	return e
}

func forEach(t *testing.T, test func(t *testing.T, s *subject)) {
	for _, s := range allSubjects() {
		t.Run(s.name, func(t *testing.T) { test(t, &s) })
	}
}

func TestMessageIsTakenByItsPlatform(t *testing.T) { forEach(t, takesEveryMessage) }

func takesEveryMessage(t *testing.T, s *subject) {
	server, r := s.start(t)
	for name, m := range messages() {
		for _, form := range []notify.Form{notify.Full, notify.Simple} {
			left := *m
			for {
				request := render(t, r, &left, form)
				if err := r.Send(t.Context(), request); err != nil {
					t.Fatalf("%s, form %d: %v\n%s", name, form, err, request.Body)
				}
				if request.Incidents != len(request.Indexes()) || request.Incidents == 0 && len(left.Incidents) > 0 {
					t.Fatalf("%s: the request has %d of %d incidents, indexes %v", name, request.Incidents, len(left.Incidents), request.Indexes())
				}
				left.Incidents, left.Losses = without(left.Incidents, request.Indexes()), nil
				if left.Digest != nil {
					part := *left.Digest
					part.Part++
					left.Digest = &part
				}
				if len(left.Incidents) == 0 {
					break
				}
			}
		}
	}
	if len(server.Received()) == 0 {
		t.Error("nothing was taken")
	}
}

func without(incidents []notify.Incident, taken []int) []notify.Incident {
	var left []notify.Incident
	for i := range incidents {
		if !slices.Contains(taken, i) {
			left = append(left, incidents[i])
		}
	}
	return left
}

func TestOnlyThePlatformsYesIsSuccess(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		for i, a := range s.taken {
			server.Fail(1, a)
			if err := send(t, r); err != nil {
				t.Errorf("answer %d %q: %v, want success", i, a.Body, err)
			}
		}
	})
}

func TestEveryDocumentedAnswerHasItsOutcome(t *testing.T) { forEach(t, judgesEveryAnswer) }

func judgesEveryAnswer(t *testing.T, s *subject) {
	server, r := s.start(t)
	understand(t, r)
	for _, d := range slices.Concat(s.answers, commonAnswers(s.statusDecides || s.lenient), strictAnswers(s)) {
		times := 1
		if d.answer.Status == http.StatusUnsupportedMediaType {
			// It may be about the compression: what has it is tried without.
			times = 2
		}
		server.Fail(times, d.answer)
		err := send(t, r)
		server.Heal()
		if err == nil {
			t.Errorf("%s: success, want %s", d.name, d.outcome)
			continue
		}
		e := failure(t, err)
		if e.Outcome != d.outcome || e.RetryAfter != d.wait || d.code != "" && e.Code != d.code || !strings.Contains(e.Reason, d.says) {
			t.Errorf("%s: outcome %s, code %q, retry after %s, reason %q; want %s, %q, %s, …%s…",
				d.name, e.Outcome, e.Code, e.RetryAfter, e.Reason, d.outcome, d.code, d.wait, d.says)
		}
		if len(e.Answer) > 1024 || !utf8.Valid(e.Answer) {
			t.Errorf("%s: the answer kept has %d bytes", d.name, len(e.Answer))
		}
		if e.Reason == "" || strings.HasSuffix(e.Reason, ".") {
			t.Errorf("%s: reason %q", d.name, e.Reason)
		}
	}
}

func TestRetryAfterDateIsReadByTheServersClock(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		server.SetClock(5 * time.Hour)
		at := time.Now().Add(5*time.Hour + 10*time.Minute).UTC().Format(http.TimeFormat)
		server.Fail(1, notifytest.Answer{Status: 503, Header: map[string]string{"Retry-After": at}})
		e := failure(t, send(t, r))
		if e.RetryAfter < 5*time.Minute || e.RetryAfter > 10*time.Minute {
			t.Errorf("retry after %s, want up to 10 minutes", e.RetryAfter)
		}
	})
}

func TestRequestNeverExceedsThePlatformsLimit(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		r := s.receiver(t, "http://127.0.0.1:1")
		all := messages()
		for name, text := range hostile {
			for _, repeat := range []int{100, 1500} {
				in := hostileEverywhere(strings.Repeat(text, repeat))
				all[fmt.Sprintf("%s×%d", name, repeat)] = &notify.Message{Now: now, Incidents: slices.Repeat([]notify.Incident{in}, 3), Losses: losses(), Resolved: slices.Repeat([]notify.Incident{in}, 9)}
			}
		}
		for name, m := range all {
			for _, form := range []notify.Form{notify.Full, notify.Simple} {
				request := render(t, r, m, form)
				if got := s.size(request); got > s.limit {
					t.Errorf("%s: size %d, the limit is %d", name, got, s.limit)
				}
				if len(m.Incidents) > 0 && request.Incidents < 1 {
					t.Errorf("%s: no incident in the request", name)
				}
			}
		}
	})
}

func TestCutMessageSaysHowMuchIsMissing(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) {
			if s.structure {
				c.BatchBytes = 16 << 10
			}
		})
		request := render(t, r, messages()["64KiB"], notify.Full)
		if !regexp.MustCompile(`… [\[［]cut \d\d KiB[\]］]`).MatchString(allStrings(request.Body)) {
			t.Errorf("no mark in %s", request.Body)
		}
	})
}

func TestHostileTextNeitherNotifiesNorBreaks(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		r := s.receiver(t, "http://127.0.0.1:1")
		for name, text := range hostile {
			in := hostileEverywhere(text)
			for _, form := range []notify.Form{notify.Full, notify.Simple} {
				checkBody(t, s, name, render(t, r, message(in, in), form))
				checkBody(t, s, name+" in a digest", render(t, r, digest([]notify.Incident{in, in}, nil), form))
			}
		}
	})
}

// checkBody is what every rendered request must keep, whatever the text: see the fuzz tests.
func checkBody(t testing.TB, s *subject, name string, request *notify.Request) {
	t.Helper()
	switch {
	case s.wellFormed != nil:
		if !s.wellFormed(request.Body) {
			t.Errorf("%s: not well formed: %q", name, request.Body)
		}
	case !utf8.Valid(request.Body):
		t.Errorf("%s: not valid UTF-8: %q", name, request.Body)
	case s.name != "stdout" && !json.Valid(request.Body):
		t.Errorf("%s: not valid JSON: %s", name, request.Body)
	}
	if got := s.size(request); got > s.limit {
		t.Errorf("%s: size %d, the limit is %d", name, got, s.limit)
	}
	if s.structure {
		return
	}
	shown := s.shown(request.Body)
	for _, live := range s.live {
		if strings.Contains(strings.ToLower(shown), live) {
			t.Errorf("%s: live mention %q in %s", name, live, shown)
		}
	}
	for _, r := range shown {
		if r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xA0 || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 || r == 0x200B {
			t.Errorf("%s: control character %U in %q", name, r, shown)
			break
		}
	}
}

func TestMentionsOnlyWhenCritical(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		cfg := s.config("http://127.0.0.1:1")
		if len(cfg.Mention) == 0 {
			return
		}
		r := s.receiver(t, "http://127.0.0.1:1")
		critical := plainIncident()
		critical.Severity = notify.Critical
		for _, form := range []notify.Form{notify.Full, notify.Simple} {
			if request := render(t, r, message(plainIncident()), form); bytes.Contains(request.Body, []byte(cfg.Mention[0])) {
				t.Errorf("a warning mentions: %s", request.Body)
			}
			if request := render(t, r, message(plainIncident(), critical), form); !bytes.Contains(request.Body, []byte(cfg.Mention[0])) {
				t.Errorf("a critical incident does not mention: %s", request.Body)
			}
		}
	})
}

func TestNoSecretInErrorsLogsOrFormattedValues(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		var logged bytes.Buffer
		server, r := s.start(t, func(c *configtest.Keys) {
			c.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		understand(t, r)
		echo := strings.Join(s.secrets, " ")
		for _, fail := range []struct {
			name  string
			start func()
		}{
			{"echo", func() { server.Fail(1, status(400, "you sent "+echo)) }},
			{"echo-json", func() {
				server.Fail(1, status(400, fmt.Sprintf(`{"code":19024,"errcode":310000,"error_code":400,"msg":%[1]q,"errmsg":%[1]q,"description":%[1]q,"message":%[1]q}`, echo)))
			}},
			{"redirect", func() {
				server.Fail(1, notifytest.Answer{Status: 302, Header: map[string]string{"Location": "/" + s.secrets[0]}})
			}},
			{"reset", server.Reset},
			{"down", server.Down},
			{"gone", server.Close},
		} {
			fail.start()
			err := send(t, r)
			if err == nil && fail.name == "reset" && s.statusDecides {
				server.Heal()
				continue
			}
			if err == nil {
				t.Fatalf("%s: success", fail.name)
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				noSecret(t, fail.name, s.secrets, fmt.Sprintf("%s %v %+v %#v %q", e, e, e, e, e))
			}
			noSecret(t, fail.name, s.secrets, string(failure(t, err).Answer))
			if fail.name == "reset" || fail.name == "down" {
				server.Heal()
			}
		}
		noSecret(t, "log", s.secrets, logged.String())
		cfg := s.config("http://127.0.0.1:1")
		cfg.Type = s.name
		noSecret(t, "config", s.secrets, fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg))
		request := render(t, r, message(plainIncident()), notify.Full)
		noSecret(t, "request", s.secrets, fmt.Sprintf("%+v %#v %s", request, request, request.Body))
		for _, mistake := range configtest.Check(cfg) {
			noSecret(t, "check", s.secrets, mistake)
		}
	})
}

func noSecret(t *testing.T, where string, secrets []string, text string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s: secret %q in %s", where, secret, text)
		}
	}
}

func TestSendEndsWithItsDeadline(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		for name, start := range map[string]func(){"hang": server.Hang, "slow body": server.SlowBody} {
			start()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			err := r.Send(ctx, render(t, r, message(plainIncident()), notify.Full))
			cancel()
			server.Heal()
			if err == nil && s.statusDecides && name == "slow body" {
				continue
			}
			e := failure(t, err)
			if e.Outcome != notify.Retry || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, want a retry because of the deadline", name, err)
			}
		}
	})
}

func TestCancelledSendReturns(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		server.Hang()
		stopping := errors.New("the agent stops")
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		request := render(t, r, message(plainIncident()), notify.Full)
		go func() { result <- r.Send(ctx, request) }()
		for tick := time.NewTicker(time.Millisecond); server.Requests() == 0; <-tick.C {
		}
		cancel(stopping)
		err := <-result
		if e := failure(t, err); e.Outcome != notify.Retry || !errors.Is(err, stopping) {
			t.Errorf("%v, want a retry because %v", err, stopping)
		}
	})
}

func TestFaultsOfTheWayAreRetried(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		faults := map[string]func(){"reset": server.Reset, "down": server.Down, "redirect": server.Redirect}
		if !s.statusDecides {
			faults["portal"] = server.CaptivePortal
		}
		if !s.statusDecides && !s.lenient {
			faults["endless"] = server.EndlessBody
		}
		for name, start := range faults {
			start()
			err := send(t, r)
			if err == nil && name == "reset" && s.statusDecides {
				server.Heal()
				continue
			}
			if e := failure(t, err); e.Outcome != notify.Retry {
				t.Errorf("%s: %v, want retry", name, err)
			}
			server.Heal()
			if err := send(t, r); err != nil {
				t.Errorf("after %s: %v", name, err)
			}
		}
		if server.Strayed() != 0 {
			t.Error("a redirect was followed")
		}
	})
}

func TestConnectionIsKeptForTheNextMessage(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server, r := s.start(t)
		long := status(500, strings.Repeat("a long page ", 4000))
		for i := range 6 {
			if i%2 == 1 {
				server.Fail(1, long)
			}
			if err := send(t, r); (err != nil) != (i%2 == 1) {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		if got := server.Connections(); got != 1 {
			t.Errorf("%d connections for 6 messages, want 1", got)
		}
	})
}

// countingConn counts what is read from a socket.
type countingConn struct {
	net.Conn

	read *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func TestAnswerIsReadTo64KiB(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		var read atomic.Int64
		server, r := s.start(t, func(c *configtest.Keys) {
			c.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				return countingConn{conn, &read}, err
			}
		})
		server.EndlessBody()
		if err := send(t, r); err == nil && !s.statusDecides && !s.lenient {
			t.Error("success, want a failure")
		}
		r.Close()
		// 64 KiB of body, chunk headers, the header and the transport's buffer.
		if got := read.Load(); got < 60<<10 || got > 80<<10 {
			t.Errorf("%d bytes were read of an endless answer", got)
		}
	})
}

func TestEachPhaseHasATimeLimit(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		for name, c := range map[string]struct {
			scheme string
			dial   func(ctx context.Context) (net.Conn, error)
			within time.Duration
		}{
			"dial": {"http", func(ctx context.Context) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}, 15 * time.Second},
			"handshake": {"https", silentPeer, 15 * time.Second},
			"answer":    {"http", silentPeer, 2 * time.Minute},
		} {
			synctest.Test(t, func(t *testing.T) {
				r := s.receiver(t, c.scheme+"://receiver.example", func(cfg *configtest.Keys) {
					cfg.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }
				})
				start := time.Now()
				err := r.Send(context.Background(), render(t, r, message(plainIncident()), notify.Full))
				if e := failure(t, err); e.Outcome != notify.Retry {
					t.Errorf("%s: %v, want retry", name, err)
				}
				if took := time.Since(start); took != c.within {
					t.Errorf("%s: gave up after %s, want %s", name, took, c.within)
				}
				r.Close()
			})
		}
	})
}

// silentPeer is a connection whose other end takes everything and says nothing.
func silentPeer(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	return near, nil
}

func TestCertificateIsCheckedByTheConfiguredFile(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		server := notifytest.StartTLS(notifytest.New(s.platform()))
		t.Cleanup(server.Close)
		err := send(t, s.receiver(t, server.URL()))
		if e := failure(t, err); e.Outcome != notify.Retry || !strings.Contains(e.Reason, "not trusted") {
			t.Errorf("unknown authority: %v, want a retry that says so", err)
		}
		path := filepath.Join(t.TempDir(), "ca.pem")
		pinned := s.receiver(t, server.URL(), func(c *configtest.Keys) { c.CAFile = path })
		if e := failure(t, send(t, pinned)); e.Outcome != notify.Retry {
			t.Errorf("missing file: %v, want retry", e)
		}
		certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.CertificateDER()})
		if err := os.WriteFile(path, certificate, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := send(t, pinned); err != nil {
			t.Errorf("with caFile: %v", err)
		}
		careless := s.receiver(t, server.URL(), func(c *configtest.Keys) { c.InsecureSkipVerify = true })
		if err := send(t, careless); err != nil {
			t.Errorf("with insecureSkipVerify: %v", err)
		}
	})
}

func TestUnreadableSecretKeepsTheQueue(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		missing := notify.SecretFile(filepath.Join(t.TempDir(), "missing"))
		r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) {
			if s.name != "telegram" {
				c.URL = missing
			} else {
				c.Token = missing
			}
		})
		if e := failure(t, send(t, r)); e.Outcome != notify.BadTarget {
			t.Errorf("%v, want bad target", e)
		}
	})
}

func TestLimitsAreThePlatforms(t *testing.T) {
	want := map[string][2]int{
		"feishu": {5, 100}, "dingtalk": {0, 20}, "wecom": {0, 20}, "slack": {1, 0}, "telegram": {1, 20}, "worktile": {1, 0}, "teams": {1, 0},
	}
	forEach(t, func(t *testing.T, s *subject) {
		l := s.receiver(t, "http://127.0.0.1:1").Limits()
		if w := want[s.name]; l.PerSecond != w[0] || l.PerMinute != w[1] {
			t.Errorf("limits %+v, want %v", l, w)
		}
		if l.Batch < 1 || l.BatchBytes < 16<<10 {
			t.Errorf("limits %+v bound the batch to nothing", l)
		}
	})
}

func TestEveryTypeIsUnderTheContract(t *testing.T) {
	// Those that speak no HTTP have tests of their own.
	covered := map[string]bool{"stdout": true, "kafka": true, "mqtt": true, "email": true}
	for _, s := range allSubjects() {
		covered[s.name] = true
	}
	if got, want := slices.Sorted(maps.Keys(covered)), config.Types(); !slices.Equal(got, want) {
		t.Errorf("under the contract: %v; types: %v", got, want)
	}
}

// TestRequestSaysWhichPartTellsLosses: what no part tells must not be taken for told.
func TestRequestSaysWhichPartTellsLosses(t *testing.T) {
	forEach(t, func(t *testing.T, s *subject) {
		r := s.receiver(t, "http://127.0.0.1:1")
		want := notify.LossesWhole
		if s.name == "kafka-rest" {
			want = notify.LossesFirst
		}
		for _, form := range []notify.Form{notify.Full, notify.Simple} {
			request := render(t, r, messages()["losses"], form)
			if request.Losses != want {
				t.Errorf("losses in part %d, want %d", request.Losses, want)
			}
			if got := render(t, r, messages()["plain"], form).Losses; got != notify.LossesNowhere {
				t.Errorf("a message without losses tells them in part %d", got)
			}
			for _, c := range []struct {
				err  error
				told bool
			}{
				{nil, true},
				{&notify.Error{}, false},
				{&notify.Error{Refused: []int{0}}, false},
				{&notify.Error{Refused: []int{1}}, want == notify.LossesFirst},
			} {
				if got := request.LossesTold(c.err); got != c.told {
					t.Errorf("told after %+v: %v, want %v", c.err, got, c.told)
				}
			}
		}
	})
}
