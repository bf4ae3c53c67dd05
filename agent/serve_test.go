package agent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
)

// ask returns what the port answers.
func ask(t *testing.T, a *Agent, method, path string) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	a.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w.Code, w.Body.String()
}

func TestReadinessSaysWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"), receiver("other"))
		defer r.close()
		want := func(path string, code int, text string) {
			t.Helper()
			if got, body := ask(t, r.agent, "GET", path); got != code || !strings.Contains(body, text) {
				t.Errorf("%s answers %d: %s", path, got, body)
			}
		}
		want("/readyz", http.StatusServiceUnavailable, "has not signed in to the cluster yet")
		r.agent.signedIn(nil, errors.New("the token is refused"))
		want("/readyz", http.StatusServiceUnavailable, "cannot sign in to the cluster: the token is refused")

		r.receiver("ops").answer = func(context.Context, *notify.Message, notify.Form) error {
			return &notify.Error{Outcome: notify.BadTarget, Reason: "the bot was removed"}
		}
		r.show(warning("web", 1, 1, time.Now()))
		pass(time.Minute)
		want("/readyz", http.StatusServiceUnavailable, "\nreceiver ops refuses every message since ")
		want("/readyz", http.StatusServiceUnavailable, "the bot was removed")
		// None of it is a reason to restart the agent.
		want("/healthz", http.StatusOK, "ok\n")
		want("/metrics", http.StatusOK, `edge_eventer_receiver_refused{receiver="ops"} 1`)
	})
}

func TestReadinessTellsWhatKeepsEventsFromTheSpool(t *testing.T) {
	now := time.Now()
	s := Status{Now: now, Watch: []watch.NamespaceStatus{{Namespace: "shop", LastAnswer: now}}}
	if problems := s.Problems(); len(problems) != 0 {
		t.Errorf("a sound agent has problems: %q", problems)
	}
	s.Link.State++ // whatever the link does
	s.Watch[0].LastAnswer = time.Time{}
	s.Intake.BlockedSince, s.Intake.BlockedBy = now, "the disk of the spool is full"
	problems := strings.Join(s.Problems(), "\n")
	for _, want := range []string{"has not answered yet for namespace shop", "the disk of the spool is full (since "} {
		if !strings.Contains(problems, want) {
			t.Errorf("the problems are %s", problems)
		}
	}
}

// TestHealthIsLostWhenADeliveryHangs has a receiver whose Send ignores its time limit, which no configuration can cause.
func TestHealthIsLostWhenADeliveryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		release := make(chan struct{})
		r.receiver("ops").answer = func(context.Context, *notify.Message, notify.Form) error { <-release; return nil }
		r.show(warning("web", 1, 1, time.Now()))
		pass(time.Minute)
		if code, body := ask(t, r.agent, "GET", "/healthz"); code != http.StatusOK {
			t.Errorf("after a minute it answers %d: %s", code, body)
		}
		pass(5 * time.Minute)
		if code, body := ask(t, r.agent, "GET", "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "the delivery to ops stands still") {
			t.Errorf("after six minutes it answers %d: %s", code, body)
		}
		close(release)
		pass(time.Second)
		if code, body := ask(t, r.agent, "GET", "/healthz"); code != http.StatusOK {
			t.Errorf("when it goes on it answers %d: %s", code, body)
		}
	})
}

func TestPortChangesNothing(t *testing.T) {
	c, err := config.Parse([]byte("receivers: [{name: ops, type: stdout}]"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for _, path := range []string{"/", "/page.json", "/metrics", "/healthz", "/readyz"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			if code, _ := ask(t, a, method, path); code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: status %d, want 405", method, path, code)
			}
		}
	}
	for path, code := range map[string]int{"/metrics": 503, "/readyz": 503, "/healthz": 200, "/": 200, "/page.json": 200, "/debug/pprof/": 404, "/status": 404} {
		if got, body := ask(t, a, "GET", path); got != code {
			t.Errorf("%s of an agent without a spool: status %d, want %d: %s", path, got, code, body)
		}
	}
}
