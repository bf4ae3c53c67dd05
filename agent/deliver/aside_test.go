package deliver_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/deliver/suspect"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// spoiled answers requests that hold the word with one answer, and lets another handler answer the rest.
type spoiled struct {
	word   string
	answer notifytest.Answer
	well   http.Handler

	mu     sync.Mutex
	healed bool
	// tries are when requests with the word came, bodies are the requests that were let through.
	tries  []time.Time
	bodies []string
}

func (s *spoiled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		// What stands in a message spoils it however it travels.
		z, err := gzip.NewReader(from)
		if err != nil {
			return
		}
		from = z
		r.Header.Del("Content-Encoding")
	}
	body, err := io.ReadAll(from)
	if err != nil {
		return
	}
	s.mu.Lock()
	bad := strings.Contains(string(body), s.word) || strings.Contains(r.URL.Path, s.word)
	if bad {
		s.tries = append(s.tries, time.Now())
	}
	bad = bad && !s.healed
	if !bad {
		s.bodies = append(s.bodies, string(body))
	}
	s.mu.Unlock()
	if !bad {
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		s.well.ServeHTTP(w, r)
		return
	}
	if s.answer.Status != 0 {
		w.WriteHeader(s.answer.Status)
	}
	_, _ = w.Write([]byte(s.answer.Body))
}

func (s *spoiled) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.healed = true
}

// told reports whether a request with the word was let through.
func (s *spoiled) told(word string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.Join(s.bodies, "\n"), word)
}

func (s *spoiled) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tries)
}

func accept(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

// poisons are answers that mean nothing for other messages, though none of them says so.
var poisons = map[string]struct {
	cfg    configtest.Keys
	answer notifytest.Answer
	well   http.Handler
}{
	"feishu 230001": {
		configtest.Keys{Type: "feishu", Cluster: "shop-1"}, notifytest.Answer{Body: `{"code":230001,"msg":"param is invalid"}`},
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, notifytest.FeishuOK) }),
	},
	"wecom 45002": {
		configtest.Keys{Type: "wecom"}, notifytest.Answer{Body: `{"errcode":45002,"errmsg":"content size out of limit"}`},
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"errcode":0,"errmsg":"ok"}`) }),
	},
	"webhook 500":          {configtest.Keys{Type: "webhook"}, notifytest.Answer{Status: 500}, http.HandlerFunc(accept)},
	"firewall 403":         {configtest.Keys{Type: "webhook"}, notifytest.Answer{Status: 403, Body: "blocked"}, http.HandlerFunc(accept)},
	"one in each 502":      {configtest.Keys{Type: "webhook", Body: map[string]any{"text": "{{ .Workload }}"}}, notifytest.Answer{Status: 502}, http.HandlerFunc(accept)},
	"success.json missing": {configtest.Keys{Type: "webhook", SuccessJSON: map[string]any{"errcode": 0}}, notifytest.Answer{Body: `{"errcode":7}`}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"errcode":0}`) })},
}

func poisoned(t *testing.T, name string) (s *spoiled, r notify.Receiver, stop func()) {
	t.Helper()
	p := poisons[name]
	if p.cfg.Type == "feishu" {
		p.cfg.URL = notify.SecretValue("http://receiver.test/open-apis/bot/v2/hook/0f3d1b2a-9c8e-4f57-a1b2-c3d4e5f60718")
	}
	if p.cfg.Type == "wecom" {
		p.cfg.URL = notify.SecretValue("http://receiver.test/cgi-bin/webhook/send?key=0f3d1b2a-9c8e-4f57-a1b2-c3d4e5f60718")
	}
	s = &spoiled{word: "poison", answer: p.answer, well: p.well}
	r, stop = agenttest.ReceiverOn(t, p.cfg, s)
	return s, r, stop
}

// TestOneMessageThatFailsHoldsNoOther: five good incidents come after one that the receiver neither takes nor refuses for good.
func TestOneMessageThatFailsHoldsNoOther(t *testing.T) {
	for name := range poisons {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r, stop := poisoned(t, name)
				defer stop()
				h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
				h.Start()
				defer h.Close()
				h.Show(agenttest.Warning("poison", 10, 1, time.Now()))
				agenttest.Pass(time.Hour)
				for i := range 5 {
					h.Show(agenttest.Warning(fmt.Sprintf("good%d", i), 20+i, 1, time.Now()))
				}
				agenttest.Pass(10 * time.Minute)
				for i := range 5 {
					if name := fmt.Sprintf("good%d", i); !s.told(name) {
						t.Errorf("%s is not told ten minutes after it came", name)
					}
				}
				if n := h.Untold("ops"); n != 1 {
					t.Errorf("%d observations are untold, want that of the one message", n)
				}
				tries := s.count()
				agenttest.Pass(77 * time.Hour)
				if n := s.count() - tries; n < 10 || n > 40 {
					t.Errorf("%d tries in 77 hours, want a few, hours apart", n)
				}
				aside := h.Deliveries["ops"].Status().Aside
				if len(aside) != 1 || aside[0].Workload != "poison" || aside[0].Reason != "BackOff" || aside[0].Failure == "" || aside[0].Since.IsZero() {
					t.Errorf("the status names %+v", aside)
				}
				if n := h.Dead("ops"); n != 0 {
					t.Errorf("%d dead letters, want none", n)
				}
				h.Show(agenttest.Warning("late", 50, 1, time.Now()))
				agenttest.Pass(time.Minute)
				if !s.told("late") {
					t.Error("news is not told within a minute while one message is set aside")
				}
				s.heal()
				agenttest.Pass(6 * time.Hour)
				if n := h.Untold("ops"); n != 0 || h.Deliveries["ops"].Status().AsideCount != 0 {
					t.Errorf("%d observations are untold after the receiver takes all, status %+v", n, h.Deliveries["ops"].Status().Aside)
				}
			})
		})
	}
}

// TestOneOfManyThatFailsHoldsNoOther: it is found among a hundred others in a digest or in a batch.
func TestOneOfManyThatFailsHoldsNoOther(t *testing.T) {
	for name := range poisons {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r, stop := poisoned(t, name)
				defer stop()
				h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
				h.Start()
				defer h.Close()
				for i := range 100 {
					h.Show(agenttest.Warning(fmt.Sprintf("good%02d", i), 10+i, 1, time.Now()))
					if i == 60 {
						h.Show(agenttest.Warning("poison", 500, 1, time.Now()))
					}
				}
				agenttest.Pass(30 * time.Minute)
				if n := h.Untold("ops"); n != 1 {
					t.Errorf("%d observations are untold, want that of the one message", n)
				}
				if n := s.count(); n > 30 {
					t.Errorf("%d tries of the one message in half an hour", n)
				}
			})
		})
	}
}

// TestManyMessagesThatFailHoldNoOther: more than are suspected at once, at the front of a queue that is sent one by one.
func TestManyMessagesThatFailHoldNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, stop := poisoned(t, "one in each 502")
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		for i := range 3 * suspect.MaxAccused {
			h.Show(agenttest.Warning(fmt.Sprintf("poison%d", i), 10+i, 1, time.Now()))
		}
		agenttest.Pass(time.Minute)
		for i := range 20 {
			h.Show(agenttest.Warning(fmt.Sprintf("good%02d", i), 100+i, 1, time.Now()))
		}
		agenttest.Pass(6 * time.Hour)
		if n := h.Untold("ops"); n != 3*suspect.MaxAccused {
			t.Errorf("%d observations are untold, want %d", n, 3*suspect.MaxAccused)
		}
		if !s.told("good19") {
			t.Error("what came behind nine messages that fail is not told")
		}
	})
}

// TestWhatIsSetAsideIsBounded: beyond suspect.MaxAside it is the receiver that is at fault, and the rest is found nevertheless.
func TestWhatIsSetAsideIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r, stop := poisoned(t, "webhook 500")
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		for i := range 300 {
			h.Show(agenttest.Warning(fmt.Sprintf("poison%d", i), 10+i, 1, time.Now()))
			if i%3 == 0 {
				h.Show(agenttest.Warning(fmt.Sprintf("good%d", i), 1000+i, 1, time.Now()))
			}
		}
		agenttest.Pass(20 * time.Hour)
		if n := h.Deliveries["ops"].Status().AsideCount; n > suspect.MaxAside {
			t.Errorf("%d messages are set aside, the bound is %d", n, suspect.MaxAside)
		}
		if n := h.Untold("ops"); n < 300 || n > 400-suspect.MaxAside/3 {
			t.Errorf("%d observations are untold", n)
		}
	})
}

// TestReceiverThatIsDownLosesNothingToSuspicion: each message failed alone for half a day, and none of them is at fault.
func TestReceiverThatIsDownLosesNothingToSuspicion(t *testing.T) {
	for _, status := range []int{500, 403} {
		synctest.Test(t, func(t *testing.T) {
			up := time.Now().Add(12 * time.Hour)
			r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}}
			outcome := notify.Retry
			if status == 403 {
				outcome = notify.BadTarget
			}
			r.Answer = func(context.Context, *notify.Message, notify.Form) error {
				if time.Now().Before(up) {
					return &notify.Error{Outcome: outcome, Status: status, Reason: "not available"}
				}
				return nil
			}
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			h.Start()
			defer h.Close()
			const incidents = 200
			for i := range incidents {
				h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
				agenttest.Pass(time.Minute)
			}
			agenttest.Pass(9*time.Hour + 30*time.Minute)
			if n := h.Untold("ops"); n != 0 {
				t.Errorf("status %d: %d observations are untold after the receiver came back", status, n)
			}
			for name, n := range r.Workloads() {
				if n != 1 {
					t.Errorf("%s was told %d times", name, n)
				}
			}
			if n := h.Dead("ops"); n != 0 {
				t.Errorf("%d dead letters", n)
			}
			// A tenth of the attempts of a receiver that is tried each five minutes at most.
			if n := r.Tries(); n > 400 {
				t.Errorf("%d attempts in half a day", n)
			}
			var away time.Duration
			for _, m := range r.Messages() {
				if m.Digest != nil && !m.Digest.AwaySince.IsZero() {
					away = max(away, m.Now.Sub(m.Digest.AwaySince))
				}
			}
			if away < 11*time.Hour {
				t.Errorf("the digest says that the receiver was away for %s, it was 12h", away)
				for _, m := range r.Messages() {
					t.Logf("%s: %d incidents, digest %+v", m.Now, len(m.Incidents), m.Digest)
				}
			}
			if n := len(r.Messages()); n > 2*suspect.MaxAccused+inbox.MaxDigestMessages {
				t.Errorf("the backlog came in %d messages", n)
			}
		})
	}
}

// TestTopicThatIsMissingOrForbiddenHoldsNoOther: six records of other topics are written while one fails.
func TestTopicThatIsMissingOrForbiddenHoldsNoOther(t *testing.T) {
	for name, answer := range map[string]notifytest.Answer{
		"missing, Strimzi":        {Body: `{"offsets":[{"error_code":404,"message":"Topic events-shop not present in metadata after 60000 ms."}]}`},
		"missing, Confluent":      {Status: 404, Body: `{"error_code":40401,"message":"Topic not found."}`},
		"forbidden, Confluent":    {Status: 403, Body: `{"offsets":[{"partition":null,"offset":null,"error_code":40301,"error":"authorization"}]}`},
		"forbidden, the bridge":   {Status: 403, Body: `{"error_code":40301,"message":"Not authorized to access topics: [events-shop]"}`},
		"without a leader":        {Body: `{"offsets":[{"error_code":500,"message":"The broker did not answer"}]}`},
		"in the bridge's own way": {Status: 500, Body: `{"error_code":500,"message":"what"}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				platform := &notifytest.KafkaRest{}
				s := &spoiled{word: "/topics/events-shop", answer: answer, well: notifytest.New(platform)}
				r, stop := agenttest.ReceiverOn(t, configtest.Keys{Type: "kafka-rest", Topic: "events-{{ .Namespace }}"}, s)
				defer stop()
				h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
				h.Start()
				defer h.Close()
				h.Show(agenttest.Warning("web", 10, 1, time.Now()))
				agenttest.Pass(time.Hour)
				for i := range 6 {
					e := agenttest.Warning(fmt.Sprintf("db%d", i), 20+i, 1, time.Now())
					e.Namespace = fmt.Sprintf("ns%d", i%2)
					e.InvolvedObject.Namespace = e.Namespace
					h.Show(e, agenttest.Warning(fmt.Sprintf("web%d", i), 40+i, 1, time.Now()))
				}
				agenttest.Pass(10 * time.Minute)
				if n := len(platform.Records("events-ns0")) + len(platform.Records("events-ns1")); n != 6 {
					t.Errorf("%d of 6 records of other topics were written", n)
				}
				aside := h.Deliveries["ops"].Status().Aside
				if len(aside) != 1 || aside[0].Group != "events-shop" || aside[0].Failure == "" {
					t.Errorf("the status names %+v", aside)
				}
				before := s.count()
				agenttest.Pass(24 * time.Hour)
				if n := s.count() - before; n < 24 || n > 24*10 {
					t.Errorf("%d requests to the topic in a day, want them some minutes apart", n)
				}
				if n := h.Dead("ops"); n != 0 {
					t.Errorf("%d dead letters: a topic can be made later", n)
				}
				s.heal()
				agenttest.Pass(20 * time.Minute)
				if n := len(platform.Records("events-shop")); n != 7 {
					t.Errorf("%d of 7 records were written after the topic was made", n)
				}
			})
		})
	}
}

// TestRecordThatFailsAloneHoldsNoOther: the bridge writes all records but one, again and again.
func TestRecordThatFailsAloneHoldsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		platform := &notifytest.KafkaRest{}
		r, stop := agenttest.ReceiverOn(t, configtest.Keys{Type: "kafka-rest", Topic: "all"}, notifytest.New(platform))
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		first := agenttest.Observation(agenttest.Warning("poison", 10, 1, time.Now()), time.Now())
		in, _, _ := agenttest.Policy().Fold(nil, &first)
		platform.SetFailKeys(in.Alert(agenttest.Policy(), "shop-1", notify.Warning).ID)
		h.Show(agenttest.Warning("poison", 10, 1, time.Now()), agenttest.Warning("good0", 11, 1, time.Now()))
		for i := range 10 {
			agenttest.Pass(time.Minute)
			h.Show(agenttest.Warning(fmt.Sprintf("good%d", i+1), 20+i, 1, time.Now()))
			agenttest.Pass(10 * time.Second)
			if n := len(platform.Records("all")); n != i+2 {
				t.Fatalf("%d records are written ten seconds after the last of %d came", n, i+2)
			}
		}
		if n := h.Deliveries["ops"].Status().AsideCount; n != 1 {
			t.Errorf("%d messages are set aside, want 1", n)
		}
		attempts := h.Deliveries["ops"].Status().Attempts["retry"]
		agenttest.Pass(24 * time.Hour)
		if n := h.Deliveries["ops"].Status().Attempts["retry"] - attempts; n > 12 {
			t.Errorf("%d attempts in a day for one record, want few", n)
		}
		platform.SetFailKeys()
		agenttest.Pass(6 * time.Hour)
		if n := len(platform.Records("all")); n != 12 {
			t.Errorf("%d records, want 12", n)
		}
	})
}

// TestOperatorHasWhatIsSetAsideTriedAtOnce: after the repair nobody wants to wait for hours.
func TestOperatorHasWhatIsSetAsideTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, stop := poisoned(t, "webhook 500")
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("poison", 10, 1, time.Now()), agenttest.Warning("good", 11, 1, time.Now()))
		agenttest.Pass(20 * time.Hour)
		s.heal()
		h.Deliveries["ops"].TryAgain()
		agenttest.Pass(5 * time.Second)
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations are untold", n)
		}
	})
}
