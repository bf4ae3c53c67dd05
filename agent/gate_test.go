package agent

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/notify"
)

// switched is a link that a test takes down and up.
type switched struct {
	mu      sync.Mutex
	status  link.Status
	changed chan struct{}
	ways    uint64
}

func newSwitched(state link.State) *switched {
	return &switched{status: link.Status{State: state}, changed: make(chan struct{})}
}

// set changes the state; the same state again is another way out.
func (s *switched) set(state link.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.State == link.Down && state != link.Down {
		s.status.OutageFrom, s.status.OutageTo = s.status.Since, time.Now()
	}
	s.status.State, s.status.Since = state, time.Now()
	if state == link.Up {
		s.ways++
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *switched) Up() link.State { return s.Status().State }

func (s *switched) Status() link.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *switched) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *switched) Ways() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ways
}

func (s *switched) Wait(ctx context.Context, near func() bool) error {
	for {
		changed := s.Changed()
		if s.Up() != link.Down || near() {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-time.After(15 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestRetryAfterIsHonouredWhateverTheLinkDoes: a modem that changes its way out each few seconds is no reason to ask again a
// receiver that wants to be left alone, and neither is news or an operator.
func TestRetryAfterIsHonouredWhateverTheLinkDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		r, stop := receiverOn(t, configtest.Keys{Type: "webhook"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if at = append(at, time.Now()); len(at) == 1 {
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}))
		defer stop()
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		d := h.deliveries["ops"]
		way := newSwitched(link.Up)
		d.link, d.again = way, make(chan struct{}, 1)
		h.start()
		defer h.close()
		h.show(warning("web", 10, 1, time.Now()))
		pass(10 * time.Second)
		for i := range 120 {
			way.set([]link.State{link.Up, link.Down}[i%2])
			h.show(warning(fmt.Sprintf("db%d", i), 11+i, 1, time.Now()))
			select {
			case d.again <- struct{}{}:
			default:
			}
			pass(4 * time.Second)
		}
		if len(at) != 1 {
			t.Errorf("%d requests within the 600 seconds for which the receiver wants none, want 1", len(at))
		}
		way.set(link.Up)
		pass(10 * time.Minute)
		if len(at) < 2 || at[1].Sub(at[0]) < 600*time.Second {
			t.Errorf("requests at %v, want the second one after 600 seconds", at)
		}
		if n := h.untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told", n)
		}
	})
}

// TestDigestOfAnOutageHasWhatCameUntilTheLinkWasBack: the critical incident that came last is in it, and first.
func TestDigestOfAnOutageHasWhatCameUntilTheLinkWasBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := outage(0, 0)
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		way := newSwitched(link.Down)
		h.deliveries["ops"].link = way
		h.start()
		defer h.close()
		for i := range 50 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			pass(time.Minute)
		}
		node := warning("pi-1", 100, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.show(node)
		pass(time.Minute)
		if n := r.tries(); n != 0 {
			t.Fatalf("%d attempts while there is no way out", n)
		}
		way.set(link.Up)
		pass(10 * time.Second)
		messages := r.messages()
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
		r := outage(0, 10)
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		way := newSwitched(link.Up)
		d := h.deliveries["ops"]
		d.link, d.limits = way, []*rate.Limiter{limiter(1, time.Minute)}
		h.start()
		defer h.close()
		for i := range 30 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		pass(10 * time.Second)
		way.set(link.Down)
		pass(time.Hour)
		node := warning("pi-1", 100, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.show(node)
		pass(time.Minute)
		way.set(link.Up)
		pass(time.Hour)
		messages := r.messages()
		if len(messages) < 2 || messages[0].Digest == nil || messages[0].Digest.Incidents != 30 {
			t.Fatalf("%d messages", len(messages))
		}
		second := messages[1]
		if second.Digest == nil || second.Digest.Incidents != 21 || second.Incidents[0].Workload != "pi-1" {
			t.Errorf("after the outage: %+v, first %s; want a digest of 21 incidents, the critical one first", second.Digest, second.Incidents[0].Workload)
		}
		for name, n := range r.workloads() {
			if n != 1 {
				t.Errorf("%s was told %d times", name, n)
			}
		}
		if n := h.untold("ops"); n != 0 {
			t.Errorf("%d observations are still to be told", n)
		}
	})
}

// TestWhatComesDuringTheWaitForTheRateLimitGoesAlong: what is sent is read when it may leave.
func TestWhatComesDuringTheWaitForTheRateLimitGoesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.deliveries["ops"].limits = []*rate.Limiter{limiter(1, 10*time.Minute), limiter(1, time.Second)}
		h.start()
		defer h.close()
		h.show(warning("web", 10, 1, time.Now()))
		pass(10 * time.Second)
		h.show(warning("db", 11, 1, time.Now()))
		pass(5 * time.Minute)
		node := warning("pi-1", 12, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.show(node)
		pass(6 * time.Minute)
		messages := r.messages()
		if len(messages) != 2 || len(messages[1].Incidents) != 2 || messages[1].Incidents[0].Workload != "pi-1" {
			t.Errorf("%d messages: want two, and in the second one the critical incident first", len(messages))
		}
	})
}

// TestDigestIsMadeWhenTheRateLimitLetsItLeave is the same for a digest.
func TestDigestIsMadeWhenTheRateLimitLetsItLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := outage(0, 0)
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.deliveries["ops"].limits = []*rate.Limiter{limiter(1, 10*time.Minute)}
		h.start()
		defer h.close()
		h.show(warning("web", 1, 1, time.Now()))
		pass(10 * time.Second)
		for i := range 20 {
			h.show(warning(fmt.Sprintf("db%d", i), 10+i, 1, time.Now()))
		}
		pass(5 * time.Minute)
		node := warning("pi-1", 100, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.show(node)
		pass(6 * time.Minute)
		messages := r.messages()
		if len(messages) != 2 || messages[1].Digest == nil || messages[1].Incidents[0].Workload != "pi-1" {
			t.Errorf("%d messages: want a digest as the second one, with the critical incident first", len(messages))
		}
	})
}
