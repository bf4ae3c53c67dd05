package deliver_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/deliver/gate"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/notify"
)

// TestRetryAfterIsHonouredWhateverTheLinkDoes: a modem that changes its way out each few seconds is no reason to ask again a
// receiver that wants to be left alone, and neither is news or an operator.
func TestRetryAfterIsHonouredWhateverTheLinkDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		r, stop := agenttest.ReceiverOn(t, configtest.Keys{Type: "webhook"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if at = append(at, time.Now()); len(at) == 1 {
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}))
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		way := agenttest.NewLink(link.Up)
		h.Options["ops"].Link = way
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(10 * time.Second)
		for i := range 120 {
			way.Set([]link.State{link.Up, link.Down}[i%2])
			h.Show(agenttest.Warning(fmt.Sprintf("db%d", i), 11+i, 1, time.Now()))
			h.Deliveries["ops"].TryAgain()
			agenttest.Pass(4 * time.Second)
		}
		if len(at) != 1 {
			t.Errorf("%d requests within the 600 seconds for which the receiver wants none, want 1", len(at))
		}
		way.Set(link.Up)
		agenttest.Pass(10 * time.Minute)
		if len(at) < 2 || at[1].Sub(at[0]) < 600*time.Second {
			t.Errorf("requests at %v, want the second one after 600 seconds", at)
		}
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told", n)
		}
	})
}

// TestDigestOfAnOutageHasWhatCameUntilTheLinkWasBack: the critical incident that came last is in it, and first.
func TestDigestOfAnOutageHasWhatCameUntilTheLinkWasBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := agenttest.Outage(0, 0)
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		way := agenttest.NewLink(link.Down)
		h.Options["ops"].Link = way
		h.Start()
		defer h.Close()
		for i := range 50 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			agenttest.Pass(time.Minute)
		}
		node := agenttest.Warning("pi-1", 100, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.Show(node)
		agenttest.Pass(time.Minute)
		if n := r.Tries(); n != 0 {
			t.Fatalf("%d attempts while there is no way out", n)
		}
		way.Set(link.Up)
		agenttest.Pass(10 * time.Second)
		messages := r.Messages()
		if len(messages) != 1 || messages[0].Digest == nil || messages[0].Digest.Incidents != 51 {
			t.Fatalf("%d messages, the first of them %+v: want one digest of 51 incidents", len(messages), messages)
		}
		if first := messages[0].Incidents[0].Workload; first != "pi-1" {
			t.Errorf("the digest begins with %s, want the critical incident that came last", first)
		}
	})
}

// TestDigestIsMadeAnewWhenTheLinkGoesBetweenItsParts: what the first part told is out of it, and what came since is in it.
func TestDigestIsMadeAnewWhenTheLinkGoesBetweenItsParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := agenttest.Outage(0, 10)
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		way := agenttest.NewLink(link.Up)
		h.Options["ops"].Link, h.Options["ops"].Limits = way, []*rate.Limiter{gate.Limiter(1, time.Minute)}
		h.Start()
		defer h.Close()
		for i := range 30 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		agenttest.Pass(10 * time.Second)
		way.Set(link.Down)
		agenttest.Pass(time.Hour)
		node := agenttest.Warning("pi-1", 100, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.Show(node)
		agenttest.Pass(time.Minute)
		way.Set(link.Up)
		agenttest.Pass(time.Hour)
		messages := r.Messages()
		if len(messages) < 2 || messages[0].Digest == nil || messages[0].Digest.Incidents != 30 {
			t.Fatalf("%d messages", len(messages))
		}
		second := messages[1]
		if second.Digest == nil || second.Digest.Incidents != 21 || second.Incidents[0].Workload != "pi-1" {
			t.Errorf("after the outage: %+v, first %s; want a digest of 21 incidents, the critical one first", second.Digest, second.Incidents[0].Workload)
		}
		for name, n := range r.Workloads() {
			if n != 1 {
				t.Errorf("%s was told %d times", name, n)
			}
		}
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told", n)
		}
	})
}

// TestWhatComesDuringTheWaitForTheRateLimitGoesAlong: what is sent is read when it may leave.
func TestWhatComesDuringTheWaitForTheRateLimitGoesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Limits = []*rate.Limiter{gate.Limiter(1, 10*time.Minute), gate.Limiter(1, time.Second)}
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(10 * time.Second)
		h.Show(agenttest.Warning("db", 11, 1, time.Now()))
		agenttest.Pass(5 * time.Minute)
		node := agenttest.Warning("pi-1", 12, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.Show(node)
		agenttest.Pass(6 * time.Minute)
		messages := r.Messages()
		if len(messages) != 2 || len(messages[1].Incidents) != 2 || messages[1].Incidents[0].Workload != "pi-1" {
			t.Errorf("%d messages: want two, and in the second one the critical incident first", len(messages))
		}
	})
}

// TestDigestIsMadeWhenTheRateLimitLetsItLeave is the same for a digest.
func TestDigestIsMadeWhenTheRateLimitLetsItLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := agenttest.Outage(0, 0)
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Limits = []*rate.Limiter{gate.Limiter(1, 10*time.Minute)}
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 1, 1, time.Now()))
		agenttest.Pass(10 * time.Second)
		for i := range 20 {
			h.Show(agenttest.Warning(fmt.Sprintf("db%d", i), 10+i, 1, time.Now()))
		}
		agenttest.Pass(5 * time.Minute)
		node := agenttest.Warning("pi-1", 100, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.Show(node)
		agenttest.Pass(6 * time.Minute)
		messages := r.Messages()
		if len(messages) != 2 || messages[1].Digest == nil || messages[1].Incidents[0].Workload != "pi-1" {
			t.Errorf("%d messages: want a digest as the second one, with the critical incident first", len(messages))
		}
	})
}
