package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify"
)

// ask returns what the port answers to the machine itself.
func ask(t *testing.T, a *Agent, method, path string) (code int, body string) {
	t.Helper()
	return askAt(t, a, "127.0.0.1", "localhost:8080", method, path)
}

// askAt asks at a local address, under a name.
func askAt(t *testing.T, a *Agent, at, host, method, path string) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(at), Port: 8080})
	r := httptest.NewRequestWithContext(ctx, method, path, nil)
	r.Host = host
	a.handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestTextsOfEventsAndReceiversStayOnTheLoopback asks as a pod does, by the address and by the name of a Service.
func TestTextsOfEventsAndReceiversStayOnTheLoopback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		r.receiver("ops").Answer = func(context.Context, *notify.Message, notify.Form) error {
			return &notify.Error{Outcome: notify.BadTarget, Reason: "the bot said Back-off"}
		}
		r.agent.signedIn(nil, errors.New("the token said Back-off"))
		e := agenttest.Warning("web", 1, 1, time.Now())
		e.Message, e.Reason = "Back-off", "Back-off"
		r.show(e)
		agenttest.Pass(time.Minute)
		for path, want := range map[string]int{"/": 403, "/page.json": 403, "/metrics": 200, "/readyz": 503, "/healthz": 200} {
			for _, host := range []string{"10.42.0.7:8080", "edge-eventer.edge-eventer.svc:8080"} {
				code, body := askAt(t, r.agent, "10.42.0.7", host, "GET", path)
				if code != want || strings.Contains(body, "Back-off") {
					t.Errorf("%s of %s answers %d, want %d: %s", path, host, code, want, body)
				}
			}
		}
		if _, body := askAt(t, r.agent, "10.42.0.7", "10.42.0.7", "GET", "/readyz"); !strings.Contains(body, "receiver ops refuses every message since ") {
			t.Errorf("/readyz says %s", body)
		}
		if _, body := ask(t, r.agent, "GET", "/page.json"); strings.Count(body, "Back-off") < 3 {
			t.Errorf("the page on the loopback shows %s", body)
		}

		r.agent.config.Server.Page = "everywhere"
		for host, want := range map[string]int{"10.42.0.7:8080": 200, "192.168.1.7": 200, "attacker.example": 421, "edge-eventer.edge-eventer.svc": 421, "Status.example": 200} {
			r.agent.config.Server.Hosts = []string{"status.example"}
			if code, body := askAt(t, r.agent, "10.42.0.7", host, "GET", "/page.json"); code != want || (code != 200) == strings.Contains(body, "Back-off") {
				t.Errorf("with page everywhere, %s answers %d, want %d: %s", host, code, want, body)
			}
		}
	})
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

		r.receiver("ops").Answer = func(context.Context, *notify.Message, notify.Form) error {
			return &notify.Error{Outcome: notify.BadTarget, Reason: "the bot was removed"}
		}
		r.show(agenttest.Warning("web", 1, 1, time.Now()))
		agenttest.Pass(time.Minute)
		want("/readyz", http.StatusServiceUnavailable, "\nreceiver ops refuses every message since ")
		want("/readyz", http.StatusServiceUnavailable, "the bot was removed")
		// None of it is a reason to restart the agent.
		want("/healthz", http.StatusOK, "ok\n")
		want("/metrics", http.StatusOK, `edge_eventer_receiver_refused{receiver="ops"} 1`)
	})
}

// TestHealthIsLostWhenADeliveryHangs has a receiver whose Send ignores its time limit, which no configuration can cause.
func TestHealthIsLostWhenADeliveryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		release := make(chan struct{})
		r.receiver("ops").Answer = func(context.Context, *notify.Message, notify.Form) error { <-release; return nil }
		r.show(agenttest.Warning("web", 1, 1, time.Now()))
		agenttest.Pass(time.Minute)
		if code, body := ask(t, r.agent, "GET", "/healthz"); code != http.StatusOK {
			t.Errorf("after a minute it answers %d: %s", code, body)
		}
		agenttest.Pass(5 * time.Minute)
		if code, body := ask(t, r.agent, "GET", "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "the delivery to ops stands still") {
			t.Errorf("after six minutes it answers %d: %s", code, body)
		}
		close(release)
		agenttest.Pass(time.Second)
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
	defer a.receivers.Close()
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

// TestStatusTellsRepeatsThatAreHeldBackFromWhatIsDue tells an incident, shows it again, and has another wait for a receiver that is away.
func TestStatusTellsRepeatsThatAreHeldBackFromWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		r.show(agenttest.Warning("web", 1, 1, time.Now()))
		agenttest.Pass(time.Minute)
		r.show(agenttest.Warning("web", 2, 3, time.Now()))
		agenttest.Pass(90 * time.Second) // Repeats are committed once a minute.
		s, err := r.agent.Status()
		if err != nil {
			t.Fatal(err)
		}
		if q := s.Receivers[0]; q.Untold != 2 || q.Held != 2 || !q.NextDue.After(s.Now) {
			t.Errorf("a repeat: %d untold, %d held until %s", q.Untold, q.Held, q.NextDue)
		}
		r.receiver("ops").Answer = func(context.Context, *notify.Message, notify.Form) error {
			return &notify.Error{Outcome: notify.Retry, Reason: "away"}
		}
		r.show(agenttest.Warning("db", 3, 5, time.Now()))
		agenttest.Pass(30 * time.Second)
		if s, err = r.agent.Status(); err != nil {
			t.Fatal(err)
		}
		if q := s.Receivers[0]; q.Untold != 7 || q.Held != 2 {
			t.Errorf("a repeat, and five that are due: %d untold, %d held", q.Untold, q.Held)
		}
		s.Watch, s.SignInError = []status.Watch{{State: "watching", LastAnswer: s.Now}}, ""
		if s.Judge(); s.Verdict.Headline != "WORKING, not delivering: ops" || !strings.HasPrefix(s.Verdict.Waiting, "7 events wait: 5 due, 2 held back, the next in ") {
			t.Errorf("the verdict is %+v", s.Verdict)
		}
	})
}
