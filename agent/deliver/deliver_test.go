package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/deliver"
	"github.com/edge-eventer/edge-eventer/agent/deliver/gate"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

func TestFirstOccurrenceIsToldAfterGroupWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(4900 * time.Millisecond)
		agenttest.WantTold(t, r, map[string]int{})
		agenttest.Pass(1200 * time.Millisecond)
		agenttest.WantTold(t, r, map[string]int{"web": 1})
	})
}

func TestCompanionsShareOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		for i := range 10 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			agenttest.Pass(500 * time.Millisecond)
		}
		agenttest.Pass(10 * time.Second)
		if n := len(r.Messages()); n != 1 {
			t.Errorf("ten problems within groupWait came in %d messages, want 1", n)
		}
	})
}

func TestResolvedIncidentsAreNamedInTheNextMessageWhereAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &agenttest.Receiver{}
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			h.Options["ops"].SendResolved = asked
			h.Start()
			defer h.Close()
			h.Show(agenttest.Warning("web", 10, 3, time.Now()))
			agenttest.Pass(agenttest.Policy().ResolveAfter + time.Minute)
			if n := len(r.Messages()); n != 1 {
				t.Fatalf("%d messages, want 1: the end of an incident is no reason for one", n)
			}
			h.Show(agenttest.Warning("db", 11, 1, time.Now()))
			agenttest.Pass(time.Minute)
			h.Show(agenttest.Warning("api", 12, 1, time.Now()))
			agenttest.Pass(time.Minute)
			var resolved []string
			for _, m := range r.Messages() {
				for _, in := range m.Resolved {
					resolved = append(resolved, in.Workload)
				}
			}
			want := []string(nil)
			if asked {
				want = []string{"web"}
			}
			if !slices.Equal(resolved, want) {
				t.Errorf("asked %v: told of the end of %v, want %v", asked, resolved, want)
			}
		})
	}
}

func TestHalfHoursAreAvoidedWhereThePlatformAsksForIt(t *testing.T) {
	for _, asks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, AvoidHalfHours: asks}}
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			h.Start()
			defer h.Close()
			// A bubble begins at midnight.
			agenttest.Pass(30*time.Minute - agenttest.Policy().GroupWait - time.Second)
			for i := range 5 {
				h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
				agenttest.Pass(30 * time.Minute)
			}
			messages := r.Messages()
			if len(messages) != 5 {
				t.Fatalf("%d messages, want 5", len(messages))
			}
			for _, m := range messages {
				if late := m.Now.Add(2*time.Second).Sub(m.Now.Add(2*time.Second).Truncate(30*time.Minute)) - 2*time.Second; asks != (late >= 10*time.Second) || late > 20*time.Second {
					t.Errorf("asks %v: sent %s after the half hour", asks, late)
				}
			}
		})
	}
}

func TestRepeatsOfADayAreToldInFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		begin := time.Now()
		for i := range 24 * 60 {
			e := agenttest.Warning("web", 10+i, 1+i, begin)
			e.LastTimestamp = time.Now()
			h.Show(e)
			agenttest.Pass(time.Minute)
		}
		agenttest.Pass(8 * time.Hour)
		messages := r.Messages()
		if len(messages) > 14 {
			t.Errorf("1440 repeats of one problem came in %d messages, want at most 14", len(messages))
		}
		told := 0
		for _, m := range messages {
			told += m.Incidents[0].Untold
		}
		if told != 24*60 {
			t.Errorf("told %d observations, want %d", told, 24*60)
		}
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations were never told", n)
		}
	})
}

func TestNothingLeavesTheQueueBeforeTheReceiverSaidYes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Answer: func(context.Context, *notify.Message, notify.Form) error { return agenttest.ErrUnreachable }}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 3, time.Now()))
		agenttest.Pass(6 * time.Hour)
		if n := h.Untold("ops"); n != 3 {
			t.Errorf("%d observations wait after six hours without a link, want 3", n)
		}
		// Full jitter up to maxBackoff of 5 minutes: 144 attempts on average, and it never gives up.
		if n := r.Tries(); n < 72 || n > 288 {
			t.Errorf("%d attempts in six hours", n)
		}
	})
}

func TestAfterAnOutageEverythingIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(6 * time.Hour)
		r := &agenttest.Receiver{Fits: 7, Answer: func(context.Context, *notify.Message, notify.Form) error {
			if time.Now().Before(up) {
				return agenttest.ErrUnreachable
			}
			return nil
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		want := map[string]int{}
		for i := range 100 {
			name := fmt.Sprintf("web%d", i)
			h.Show(agenttest.Warning(name, 10+i, 1, time.Now()))
			want[name] = 1
			agenttest.Pass(time.Minute)
		}
		agenttest.Pass(7 * time.Hour)
		agenttest.WantTold(t, r, want)
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations were never told", n)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		r := &agenttest.Receiver{Answer: func(context.Context, *notify.Message, notify.Form) error {
			tries = append(tries, time.Now())
			if len(tries) == 1 {
				return &notify.Error{Outcome: notify.Retry, Reason: "rate limited", RetryAfter: 17 * time.Minute}
			}
			return nil
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(time.Minute)
		// News in the meantime is no reason to try earlier.
		h.Show(agenttest.Warning("db", 11, 1, time.Now()))
		agenttest.Pass(time.Hour)
		if len(tries) < 2 || tries[1].Sub(tries[0]) < 17*time.Minute {
			t.Errorf("attempts at %v", tries)
		}
	})
}

func TestDeadReceiverHarmsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &agenttest.Receiver{Answer: func(ctx context.Context, _ *notify.Message, _ notify.Form) error {
			<-ctx.Done()
			return &notify.Error{Outcome: notify.Retry, Reason: "no answer", Err: context.Cause(ctx)}
		}}
		well := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"hung": hung, "well": well})
		h.Start()
		defer h.Close()
		for i := range 5 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			agenttest.Pass(10 * time.Second)
		}
		agenttest.WantTold(t, well, map[string]int{"web0": 1, "web1": 1, "web2": 1, "web3": 1, "web4": 1})
		if n := h.Untold("hung"); n != 5 {
			t.Errorf("%d wait for the hung receiver, want 5", n)
		}
	})
}

func TestOneBadIncidentDoesNotBlockTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &notify.Error{Outcome: notify.BadPayload, Code: "9499", Reason: "Bad Request", Answer: []byte("{}")}
		r := &agenttest.Receiver{Answer: func(_ context.Context, m *notify.Message, _ notify.Form) error {
			for _, i := range m.Incidents {
				if i.Workload == "poison" {
					return bad
				}
			}
			return nil
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()), agenttest.Warning("poison", 11, 2, time.Now()), agenttest.Warning("db", 12, 1, time.Now()))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"web": 1, "db": 1})
		if n := h.Dead("ops"); n != 1 {
			t.Fatalf("%d dead letters, want 1", n)
		}
		// The loss is told with the next message, once.
		h.Show(agenttest.Warning("next", 13, 1, time.Now()))
		agenttest.Pass(time.Minute)
		h.Show(agenttest.Warning("after", 14, 1, time.Now()))
		agenttest.Pass(time.Minute)
		var losses []notify.Loss
		for _, m := range r.Messages() {
			for _, l := range m.Losses {
				l.Since = time.Time{}
				losses = append(losses, l)
			}
		}
		if diff := cmp.Diff([]notify.Loss{{Cause: spool.Refused, Incidents: 1, Events: 2}}, losses); diff != "" {
			t.Errorf("losses told (-want +got):\n%s", diff)
		}
	})
}

func TestRefusedCardIsTriedOnceAsText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Answer: func(_ context.Context, _ *notify.Message, form notify.Form) error {
			if form == notify.Full {
				return &notify.Error{Outcome: notify.BadPayload, Code: "11246", Reason: "card refused"}
			}
			return nil
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"web": 1})
		if n := h.Dead("ops"); n != 0 {
			t.Errorf("%d dead letters, want none", n)
		}
	})
}

func TestReceiverThatRefusesEveryMessageKeepsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healed := time.Now().Add(3 * time.Hour)
		r := &agenttest.Receiver{Answer: func(context.Context, *notify.Message, notify.Form) error {
			if time.Now().After(healed) {
				return nil
			}
			return &notify.Error{Outcome: notify.BadPayload, Code: "19024", Reason: "Key Words Not Found"}
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		for i := range 40 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		agenttest.Pass(2 * time.Hour)
		if n := h.Dead("ops"); n != deliver.MaxRefused {
			t.Errorf("%d dead letters, want %d: a wrong keyword setting must not empty the queue", n, deliver.MaxRefused)
		}
		if s := h.Deliveries["ops"].Status(); s.State != deliver.StateRefused || s.RefusedSince.IsZero() {
			t.Errorf("state %q since %v, want refused", s.State, s.RefusedSince)
		}
		agenttest.Pass(2 * time.Hour)
		if n := len(r.Workloads()); n != 40-deliver.MaxRefused {
			t.Errorf("%d told after the setting was mended, want %d", n, 40-deliver.MaxRefused)
		}
	})
}

// TestManyBadMessagesInFrontHoldNoOtherForLong: dozens in a row are refused for good, as after an operator brought all dead letters back.
// They are not taken for a receiver that refuses everything for longer than it takes to try one that is behind them.
func TestManyBadMessagesInFrontHoldNoOtherForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 10, BatchBytes: 256 << 10}, Answer: func(_ context.Context, m *notify.Message, _ notify.Form) error {
			for _, in := range m.Incidents {
				if strings.HasPrefix(in.Workload, "bad") {
					return &notify.Error{Outcome: notify.BadPayload, Status: 400, Reason: "refused the message"}
				}
			}
			return nil
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		const bad, good = 40, 60
		for i := range bad {
			h.Show(agenttest.Warning(fmt.Sprintf("bad%d", i), 10+i, 1, time.Now()))
		}
		<-time.After(time.Second)
		for i := range good {
			h.Show(agenttest.Warning(fmt.Sprintf("good%d", i), 100+i, 1, time.Now()))
		}
		agenttest.Pass(time.Hour)
		if n := len(r.Workloads()); n < good {
			t.Errorf("%d of %d good ones were told in an hour", n, good)
		}
	})
}

func TestBadTargetIsProbedSlowlyAndKeepsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healed := time.Now().Add(12 * time.Hour)
		r := &agenttest.Receiver{Answer: func(context.Context, *notify.Message, notify.Form) error {
			if time.Now().After(healed) {
				return nil
			}
			return &notify.Error{Outcome: notify.BadTarget, Code: "19001", Reason: "the token is wrong"}
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(11 * time.Hour)
		if n := r.Tries(); n < 50 || n > 300 {
			t.Errorf("%d probes in eleven hours: want them minutes apart", n)
		}
		if n := h.Dead("ops"); n != 0 {
			t.Errorf("%d dead letters, want none", n)
		}
		agenttest.Pass(2 * time.Hour)
		agenttest.WantTold(t, r, map[string]int{"web": 1})
	})
}

func TestPartOfAMessageIsTakenAndTheRestTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		r := &agenttest.Receiver{}
		var offered [][]string
		r.Answer = func(_ context.Context, m *notify.Message, _ notify.Form) error {
			var names []string
			for _, i := range m.Incidents {
				names = append(names, i.Workload)
			}
			offered = append(offered, names)
			if first {
				first = false
				return &notify.Error{Outcome: notify.Retry, Reason: "one record failed", Refused: []int{1}}
			}
			return nil
		}
		h := agenttest.New(t, map[string]notify.Receiver{"kafka": r})
		h.Start()
		defer h.Close()
		begin := time.Now()
		h.Show(agenttest.Warning("a", 10, 1, begin.Add(2)), agenttest.Warning("b", 11, 1, begin.Add(1)), agenttest.Warning("c", 12, 1, begin))
		agenttest.Pass(time.Hour)
		if diff := cmp.Diff([][]string{{"a", "b", "c"}, {"b"}}, offered); diff != "" {
			t.Errorf("offered (-want +got):\n%s", diff)
		}
	})
}

func TestWorstAndNewestComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		node := agenttest.Warning("pi-1", 12, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.Show(agenttest.Warning("old", 10, 1, time.Now().Add(-time.Minute)), agenttest.Warning("new", 11, 1, time.Now()), node)
		agenttest.Pass(10 * time.Second)
		var order []string
		for _, i := range r.Messages()[0].Incidents {
			order = append(order, i.Workload)
		}
		if diff := cmp.Diff([]string{"pi-1", "new", "old"}, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestStopAbandonsAHungAttemptWithin5Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Answer: func(ctx context.Context, _ *notify.Message, _ notify.Form) error {
			<-ctx.Done()
			return &notify.Error{Outcome: notify.Retry, Reason: "no answer", Err: context.Cause(ctx)}
		}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(7 * time.Second)
		if r.Tries() != 1 {
			t.Fatalf("%d attempts under way, want 1", r.Tries())
		}
		begin := time.Now()
		h.Close()
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("the stop took %v", d)
		}
	})
}

func TestStopLetsAnAttemptUnderWayFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Answer: func(context.Context, *notify.Message, notify.Form) error {
			<-time.After(2 * time.Second)
			return nil
		}}
		path := filepath.Join(t.TempDir(), "spool.db")
		h := agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": r})
		h.Start()
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(7 * time.Second)
		h.Close()
		again := agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": r})
		defer again.Close()
		if n := again.Untold("ops"); n != 0 {
			t.Errorf("%d observations wait: a message confirmed during the stop would be sent again", n)
		}
	})
}

func TestStopCommitsWhatTheWatchShowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "spool.db")
		h := agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
		h.Start()
		h.List("9", false)
		h.Show(agenttest.Warning("web", 10, 4, time.Now()))
		synctest.Wait()
		h.Close()
		again := agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
		defer again.Close()
		again.Make()
		if n := again.Untold("ops"); n != 4 {
			t.Errorf("%d observations are on disk, want 4", n)
		}
		if position, err := again.Intake.Position(""); err != nil || position != "10" {
			t.Errorf("position %q, %v, want 10", position, err)
		}
	})
}

func TestClockThatWasPutBackHoldsNoMessage(t *testing.T) {
	for _, ahead := range []time.Duration{10 * time.Second, 10 * time.Minute, time.Hour, 8 * time.Hour, 24 * 365 * 10 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ops, archive, lost := &agenttest.Receiver{}, &agenttest.Receiver{}, &agenttest.Receiver{}
				lost.Answer = func(context.Context, *notify.Message, notify.Form) error {
					if lost.Tries() < 3 {
						return agenttest.ErrUnreachable
					}
					return nil
				}
				h := agenttest.New(t, map[string]notify.Receiver{"ops": ops, "archive": archive, "lost": lost})
				defer h.Close()
				each := agenttest.Policy()
				each.PerEvent = true
				policies := map[string]incident.Policy{"ops": agenttest.Policy(), "lost": agenttest.Policy(), "archive": each}
				h.Options["archive"].Policy = each
				// The records were made while the clock ran ahead; of the second event only the metadata changed then.
				future := time.Now().Add(ahead)
				err := h.Spool.Update(func(tx *spool.Tx) error {
					for name, policy := range policies {
						for _, o := range []incident.Observation{
							agenttest.Observation(agenttest.Warning("web", 10, 1, future), future),
							agenttest.Observation(agenttest.Warning("db", 11, 1, time.Now()), time.Now()),
							agenttest.Observation(agenttest.Warning("db", 12, 1, time.Now()), future),
						} {
							if o.Event.ResourceVersion == "12" {
								o.New = 0
							}
							if _, err := inbox.Fold(tx.Queue(name), policy, &o); err != nil {
								return err
							}
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				h.Start()
				agenttest.Pass(time.Minute)
				for name, r := range map[string]*agenttest.Receiver{"ops": ops, "archive": archive, "lost": lost} {
					if diff := cmp.Diff(map[string]int{"web": 1, "db": 1}, r.Workloads()); diff != "" {
						t.Errorf("%s was told (-want +got):\n%s", name, diff)
					}
				}
			})
		})
	}
}

// TestShorterPausesHoldWhatWaitsNoLonger: a reload may leave due times that the new policy would not set.
func TestShorterPausesHoldWhatWaitsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		defer h.Close()
		long := agenttest.Policy()
		long.GroupInterval, long.RepeatInterval, long.ResolveAfter = 24*time.Hour, 24*time.Hour, 48*time.Hour
		now := time.Now()
		err := h.Spool.Update(func(tx *spool.Tx) error {
			for _, name := range []string{"web", "db"} {
				first := agenttest.Observation(agenttest.Warning(name, 10, 1, now), now)
				in, _, _ := long.Fold(nil, &first)
				in, due, _ := long.ToldUntil(in, in, now)
				if name == "db" {
					again := agenttest.Observation(agenttest.Warning(name, 11, 1, now), now)
					in, due, _ = long.Fold(in, &again)
				}
				key := incident.Key("shop", "Pod", name, "BackOff")
				if err := tx.Queue("ops").Put(spool.Record{Key: key, Due: due, Untold: in.Untold(), Body: in.Append(nil)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		h.Start()
		agenttest.Pass(agenttest.Policy().Longest() + time.Minute)
		agenttest.WantTold(t, r, map[string]int{"db": 1})
	})
}

// TestClockThatIsSetMakesNothingStandStill: a Pi starts in 1970, and a liveness probe must not end the agent once the network has
// set the clock. A time that has a reading of the monotonic clock is compared by that.
func TestClockThatIsSetMakesNothingStandStill(t *testing.T) {
	h := agenttest.New(t, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
	defer h.Close()
	err := h.Spool.Update(func(tx *spool.Tx) error {
		o := agenttest.Observation(agenttest.Warning("web", 10, 1, time.Now()), time.Now().Add(time.Second))
		_, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy(), &o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Start()
	d := h.Deliveries["ops"]
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for d.Status().State != deliver.StateIdle {
		<-tick.C
	}
	// A bubble's clock has one reading only, so this is the machine's.
	if next := d.Status().Next; !strings.Contains(next.String(), " m=") {
		t.Errorf("%s is a time of the wall clock alone", next)
	}
}

func TestRateLimitHoldsInEveryWindow(t *testing.T) {
	for _, n := range []int{1, 3, 5, 20, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := gate.Limiter(n, time.Minute)
				var sent []time.Time
				begin := time.Now()
				for time.Since(begin) < 10*time.Minute {
					if err := limit.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					sent = append(sent, time.Now())
				}
				for i := range sent {
					inWindow := 0
					for _, s := range sent[i:] {
						if s.Sub(sent[i]) < time.Minute-time.Millisecond {
							inWindow++
						}
					}
					if inWindow > n {
						t.Fatalf("%d requests within a minute, the limit is %d", inWindow, n)
					}
				}
				if len(sent) < 7*n {
					t.Errorf("%d requests in ten minutes: the limit of %d a minute is not used", len(sent), n)
				}
			})
		})
	}
}

func TestErrorsThatCarryNoOutcomeAreRetried(t *testing.T) {
	if got := notify.OutcomeOf(errors.New("x")); got != notify.Retry {
		t.Errorf("outcome %v, want retry", got)
	}
}
