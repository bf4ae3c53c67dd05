package deliver_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/deliver/gate"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestMessageThatSpoilsABatchIsFoundInFewRequests: by halves, not one by one.
func TestMessageThatSpoilsABatchIsFoundInFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, stop := poisoned(t, "webhook 500")
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		for i := range 64 {
			h.Show(agenttest.Warning(fmt.Sprintf("good%02d", i), 10+i, 1, time.Now()))
		}
		h.Show(agenttest.Warning("poison", 500, 1, time.Now()))
		agenttest.Pass(30 * time.Minute)
		s.mu.Lock()
		requests := len(s.tries) + len(s.bodies)
		s.mu.Unlock()
		if requests > 32 || h.Untold("ops") != 1 {
			t.Errorf("%d requests, %d observations untold", requests, h.Untold("ops"))
		}
	})
}

// TestNewsAndWhatIsSetAsideTakeTurns: neither waits for all of the other.
func TestNewsAndWhatIsSetAsideTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, stop := poisoned(t, "one in each 502")
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Limits = []*rate.Limiter{gate.Limiter(1, time.Minute)}
		h.Make()
		const aside = 20
		for i := range aside {
			o := agenttest.Observation(agenttest.Warning(fmt.Sprintf("poison%d", i), 10+i, 1, time.Now()), time.Now())
			in, _, _ := agenttest.Policy().Fold(nil, &o)
			if err := h.Spool.Update(func(tx *spool.Tx) error { _, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy(), &o); return err }); err != nil {
				t.Fatal(err)
			}
			e := &inbox.Entry{Incident: in}
			err := h.Spool.View(func(tx *spool.Tx) error {
				at, _, err := inbox.Pending(tx.Queue("ops"), agenttest.Policy(), &o)
				e.Key = at.Key
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			deliver.SetAside(h.Deliveries["ops"], e)
		}
		s.heal()
		h.Start()
		defer h.Close()
		// One more is due in each minute than there is room for.
		for i := range aside {
			h.Show(agenttest.Warning(fmt.Sprintf("good%02d", i), 100+i, 1, time.Now()))
			agenttest.Pass(time.Minute)
		}
		s.mu.Lock()
		news, others := len(s.bodies)-len(s.tries), len(s.tries)
		s.mu.Unlock()
		if news < aside/2-3 || others < aside/2-3 {
			t.Errorf("%d messages of news and %d of what is set aside within %d minutes, want them in turn", news, others, aside)
		}
	})
}

// TestRecordThatSpoilsItsTopicHoldsNoOtherOfIt: the topic takes others, so it is not the topic that is at fault; also where there are
// other topics, which go first.
func TestRecordThatSpoilsItsTopicHoldsNoOtherOfIt(t *testing.T) {
	for _, others := range []int{0, 5} {
		synctest.Test(t, func(t *testing.T) {
			platform := &notifytest.KafkaRest{}
			s := &spoiled{word: "poison", answer: notifytest.Answer{Status: 500, Body: `{"error_code":500,"message":"what"}`}, well: notifytest.New(platform)}
			r, stop := agenttest.ReceiverOn(t, configtest.Keys{Type: "kafka-rest", Topic: "events-{{ .Namespace }}"}, s)
			defer stop()
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			h.Start()
			defer h.Close()
			h.Show(agenttest.Warning("poison", 500, 1, time.Now()))
			for i := range 40 {
				h.Show(agenttest.Warning(fmt.Sprintf("good%02d", i), 10+i, 1, time.Now()))
			}
			for i := range others {
				e := agenttest.Warning(fmt.Sprintf("db%d", i), 200+i, 1, time.Now())
				e.Namespace, e.InvolvedObject.Namespace = "other", "other"
				h.Show(e)
			}
			agenttest.Pass(5 * time.Minute)
			if n, m := len(platform.Records("events-shop")), len(platform.Records("events-other")); n != 40 || m != others {
				t.Errorf("%d of 40 records are written beside one that spoils the request, and %d of %d of another topic", n, m, others)
			}
		})
	}
}

// TestReceiverThatCannotBeReachedIsSentTheWhole: no answer, or one that asks for fewer messages, says nothing of a message.
func TestReceiverThatCannotBeReachedIsSentTheWhole(t *testing.T) {
	for name, failure := range map[string]*notify.Error{
		"no connection": agenttest.ErrUnreachable,
		"429":           {Outcome: notify.Retry, Status: http.StatusTooManyRequests, Reason: "fewer"},
		"Retry-After":   {Outcome: notify.Retry, Status: 503, RetryAfter: time.Second, Reason: "later"},
	} {
		synctest.Test(t, func(t *testing.T) {
			least := 1000
			r := &agenttest.Receiver{}
			r.Answer = func(_ context.Context, m *notify.Message, _ notify.Form) error {
				least = min(least, len(m.Incidents))
				return failure
			}
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			h.Start()
			defer h.Close()
			for i := range 20 {
				h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			}
			agenttest.Pass(6 * time.Hour)
			if least != 20 {
				t.Errorf("%s: a message of %d incidents was tried, want all 20 each time", name, least)
			}
		})
	}
}

// TestWhatIsSetAsideMakesNoDigest: one piece of news beside twenty that are set aside is told in full.
func TestWhatIsSetAsideMakesNoDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 1, BatchBytes: 256 << 10, Digest: true}}
		r.Answer = func(_ context.Context, m *notify.Message, _ notify.Form) error {
			for _, in := range m.Incidents {
				if in.Reason == "Poison" {
					return &notify.Error{Outcome: notify.Retry, Status: 500, Reason: "what"}
				}
			}
			return nil
		}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("good", 500, 1, time.Now()))
		for i := range 20 {
			e := agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now())
			e.Reason = "Poison"
			h.Show(e)
		}
		agenttest.Pass(12 * time.Hour)
		if n := h.Deliveries["ops"].Status().AsideCount; n != 20 {
			t.Fatalf("%d are set aside, want 20", n)
		}
		h.Show(agenttest.Warning("late", 600, 1, time.Now()))
		agenttest.Pass(time.Minute)
		messages := r.Messages()
		if last := messages[len(messages)-1]; last.Digest != nil || last.Incidents[0].Workload != "late" {
			t.Errorf("the news came as %+v", last)
		}
	})
}

// TestRecordThatIsRefusedForGoodIsADeadLetterAtOnce: its own fate in the answer says so, whatever becomes of the others.
func TestRecordThatIsRefusedForGoodIsADeadLetterAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		r.Answer = func(_ context.Context, m *notify.Message, _ notify.Form) error {
			if len(m.Incidents) < 3 {
				return nil
			}
			return &notify.Error{
				Outcome: notify.BadPayload, Status: 200, Reason: "two records failed",
				Refused: []int{0, 2}, Outcomes: []notify.Outcome{notify.BadPayload, notify.Retry},
			}
		}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		begin := time.Now()
		h.Show(agenttest.Warning("a", 10, 1, begin.Add(2)), agenttest.Warning("b", 11, 1, begin.Add(1)), agenttest.Warning("c", 12, 1, begin))
		agenttest.Pass(6 * time.Second)
		if n := h.Dead("ops"); n != 1 {
			t.Errorf("%d dead letters, want the first record", n)
		}
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"c": 1})
		if r.Tries() != 2 {
			t.Errorf("%d attempts, want 2", r.Tries())
		}
	})
}

// TestEachRateLimitHolds: that of a second, and that of a minute.
func TestEachRateLimitHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		r := &agenttest.Receiver{Fits: 1}
		r.Answer = func(context.Context, *notify.Message, notify.Form) error {
			at = append(at, time.Now())
			return nil
		}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Limits = []*rate.Limiter{gate.Limiter(20, time.Minute), gate.Limiter(1, time.Second)}
		h.Start()
		defer h.Close()
		for i := range 60 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		agenttest.Pass(10 * time.Minute)
		for i := range at {
			if i > 0 && at[i].Sub(at[i-1]) < 990*time.Millisecond {
				t.Fatalf("two messages within %s", at[i].Sub(at[i-1]))
			}
			if i >= 20 && at[i].Sub(at[i-20]) < 59*time.Second {
				t.Fatalf("21 messages within %s", at[i].Sub(at[i-20]))
			}
		}
		if len(at) != 60 {
			t.Errorf("%d of 60 messages in ten minutes", len(at))
		}
	})
}
