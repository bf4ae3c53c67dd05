package agent

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

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// show lets the watch see events.
func (h *house) show(events ...event.Event) {
	h.t.Helper()
	for _, e := range events {
		if err := h.intake.Watched(context.Background(), watch.Change{Event: e}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// untold returns how many observations wait in a queue.
func (h *house) untold(receiver string) (n uint64) {
	h.t.Helper()
	if err := h.spool.View(func(tx *spool.Tx) error { n = tx.Queue(receiver).Untold(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *house) dead(receiver string) (n int) {
	h.t.Helper()
	if err := h.spool.View(func(tx *spool.Tx) error { n = tx.Queue(receiver).DeadLen(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// pass lets the bubble's clock run for d and everything that is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func wantTold(t *testing.T, r *scripted, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, r.workloads()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestFirstOccurrenceIsToldAfterGroupWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.show(warning("web", 10, 1, time.Now()))
		pass(4900 * time.Millisecond)
		wantTold(t, r, map[string]int{})
		pass(1200 * time.Millisecond)
		wantTold(t, r, map[string]int{"web": 1})
	})
}

func TestCompanionsShareOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		for i := range 10 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			pass(500 * time.Millisecond)
		}
		pass(10 * time.Second)
		if n := len(r.messages()); n != 1 {
			t.Errorf("ten problems within groupWait came in %d messages, want 1", n)
		}
	})
}

func TestResolvedIncidentsAreNamedInTheNextMessageWhereAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &scripted{}
			h := newHouse(t, map[string]notify.Receiver{"ops": r})
			h.deliveries["ops"].sendResolved = asked
			h.start()
			defer h.close()
			h.show(warning("web", 10, 3, time.Now()))
			pass(testPolicy.ResolveAfter + time.Minute)
			if n := len(r.messages()); n != 1 {
				t.Fatalf("%d messages, want 1: the end of an incident is no reason for one", n)
			}
			h.show(warning("db", 11, 1, time.Now()))
			pass(time.Minute)
			h.show(warning("api", 12, 1, time.Now()))
			pass(time.Minute)
			var resolved []string
			for _, m := range r.messages() {
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
			r := &scripted{limits: notify.Limits{Batch: 50, BatchBytes: 256 << 10, AvoidHalfHours: asks}}
			h := newHouse(t, map[string]notify.Receiver{"ops": r})
			h.start()
			defer h.close()
			// A bubble begins at midnight.
			pass(30*time.Minute - testPolicy.GroupWait - time.Second)
			for i := range 5 {
				h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
				pass(30 * time.Minute)
			}
			messages := r.messages()
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
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		begin := time.Now()
		for i := range 24 * 60 {
			e := warning("web", 10+i, 1+i, begin)
			e.LastTimestamp = time.Now()
			h.show(e)
			pass(time.Minute)
		}
		pass(8 * time.Hour)
		messages := r.messages()
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
		if n := h.untold("ops"); n != 0 {
			t.Errorf("%d observations were never told", n)
		}
	})
}

func TestNothingLeavesTheQueueBeforeTheReceiverSaidYes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{answer: func(context.Context, *notify.Message, notify.Form) error { return errUnreachable }}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.show(warning("web", 10, 3, time.Now()))
		pass(6 * time.Hour)
		if n := h.untold("ops"); n != 3 {
			t.Errorf("%d observations wait after six hours without a link, want 3", n)
		}
		// Full jitter up to maxBackoff of 5 minutes: 144 attempts on average, and it never gives up.
		if n := r.tries(); n < 72 || n > 288 {
			t.Errorf("%d attempts in six hours", n)
		}
	})
}

func TestAfterAnOutageEverythingIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(6 * time.Hour)
		r := &scripted{fits: 7, answer: func(context.Context, *notify.Message, notify.Form) error {
			if time.Now().Before(up) {
				return errUnreachable
			}
			return nil
		}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		want := map[string]int{}
		for i := range 100 {
			name := fmt.Sprintf("web%d", i)
			h.show(warning(name, 10+i, 1, time.Now()))
			want[name] = 1
			pass(time.Minute)
		}
		pass(7 * time.Hour)
		wantTold(t, r, want)
		if n := h.untold("ops"); n != 0 {
			t.Errorf("%d observations were never told", n)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Time
		r := &scripted{answer: func(context.Context, *notify.Message, notify.Form) error {
			tries = append(tries, time.Now())
			if len(tries) == 1 {
				return &notify.Error{Outcome: notify.Retry, Reason: "rate limited", RetryAfter: 17 * time.Minute}
			}
			return nil
		}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.show(warning("web", 10, 1, time.Now()))
		pass(time.Minute)
		// News in the meantime is no reason to try earlier.
		h.show(warning("db", 11, 1, time.Now()))
		pass(time.Hour)
		if len(tries) < 2 || tries[1].Sub(tries[0]) < 17*time.Minute {
			t.Errorf("attempts at %v", tries)
		}
	})
}

func TestDeadReceiverHarmsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := &scripted{answer: func(ctx context.Context, _ *notify.Message, _ notify.Form) error {
			<-ctx.Done()
			return &notify.Error{Outcome: notify.Retry, Reason: "no answer", Err: context.Cause(ctx)}
		}}
		well := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"hung": hung, "well": well})
		h.start()
		defer h.close()
		for i := range 5 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			pass(10 * time.Second)
		}
		wantTold(t, well, map[string]int{"web0": 1, "web1": 1, "web2": 1, "web3": 1, "web4": 1})
		if n := h.untold("hung"); n != 5 {
			t.Errorf("%d wait for the hung receiver, want 5", n)
		}
	})
}

func TestOneBadIncidentDoesNotBlockTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := &notify.Error{Outcome: notify.BadPayload, Code: "9499", Reason: "Bad Request", Answer: []byte("{}")}
		r := &scripted{answer: func(_ context.Context, m *notify.Message, _ notify.Form) error {
			for _, i := range m.Incidents {
				if i.Workload == "poison" {
					return bad
				}
			}
			return nil
		}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.show(warning("web", 10, 1, time.Now()), warning("poison", 11, 2, time.Now()), warning("db", 12, 1, time.Now()))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"web": 1, "db": 1})
		if n := h.dead("ops"); n != 1 {
			t.Fatalf("%d dead letters, want 1", n)
		}
		// The loss is told with the next message, once.
		h.show(warning("next", 13, 1, time.Now()))
		pass(time.Minute)
		h.show(warning("after", 14, 1, time.Now()))
		pass(time.Minute)
		var losses []notify.Loss
		for _, m := range r.messages() {
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
		r := &scripted{answer: func(_ context.Context, _ *notify.Message, form notify.Form) error {
			if form == notify.Full {
				return &notify.Error{Outcome: notify.BadPayload, Code: "11246", Reason: "card refused"}
			}
			return nil
		}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.show(warning("web", 10, 1, time.Now()))
		pass(time.Minute)
		wantTold(t, r, map[string]int{"web": 1})
		if n := h.dead("ops"); n != 0 {
			t.Errorf("%d dead letters, want none", n)
		}
	})
}

func TestReceiverThatRefusesEveryMessageKeepsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healed := time.Now().Add(3 * time.Hour)
		r := &scripted{answer: func(context.Context, *notify.Message, notify.Form) error {
			if time.Now().After(healed) {
				return nil
			}
			return &notify.Error{Outcome: notify.BadPayload, Code: "19024", Reason: "Key Words Not Found"}
		}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		for i := range 40 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		pass(2 * time.Hour)
		if n := h.dead("ops"); n != maxRefused {
			t.Errorf("%d dead letters, want %d: a wrong keyword setting must not empty the queue", n, maxRefused)
		}
		if s := h.deliveries["ops"].Status(); s.State != stateRefused || s.RefusedSince.IsZero() {
			t.Errorf("state %q since %v, want refused", s.State, s.RefusedSince)
		}
		pass(2 * time.Hour)
		if n := len(r.workloads()); n != 40-maxRefused {
			t.Errorf("%d told after the setting was mended, want %d", n, 40-maxRefused)
		}
	})
}

// TestManyBadMessagesInFrontHoldNoOtherForLong: dozens in a row are refused for good, as after an operator brought all dead letters back.
// They are not taken for a receiver that refuses everything for longer than it takes to try one that is behind them.
func TestManyBadMessagesInFrontHoldNoOtherForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{limits: notify.Limits{Batch: 10, BatchBytes: 256 << 10}, answer: func(_ context.Context, m *notify.Message, _ notify.Form) error {
			for _, in := range m.Incidents {
				if strings.HasPrefix(in.Workload, "bad") {
					return &notify.Error{Outcome: notify.BadPayload, Status: 400, Reason: "refused the message"}
				}
			}
			return nil
		}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		const bad, good = 40, 60
		for i := range bad {
			h.show(warning(fmt.Sprintf("bad%d", i), 10+i, 1, time.Now()))
		}
		<-time.After(time.Second)
		for i := range good {
			h.show(warning(fmt.Sprintf("good%d", i), 100+i, 1, time.Now()))
		}
		pass(time.Hour)
		if n := len(r.workloads()); n < good {
			t.Errorf("%d of %d good ones were told in an hour", n, good)
		}
	})
}

func TestBadTargetIsProbedSlowlyAndKeepsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		healed := time.Now().Add(12 * time.Hour)
		r := &scripted{answer: func(context.Context, *notify.Message, notify.Form) error {
			if time.Now().After(healed) {
				return nil
			}
			return &notify.Error{Outcome: notify.BadTarget, Code: "19001", Reason: "the token is wrong"}
		}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.show(warning("web", 10, 1, time.Now()))
		pass(11 * time.Hour)
		if n := r.tries(); n < 50 || n > 300 {
			t.Errorf("%d probes in eleven hours: want them minutes apart", n)
		}
		if n := h.dead("ops"); n != 0 {
			t.Errorf("%d dead letters, want none", n)
		}
		pass(2 * time.Hour)
		wantTold(t, r, map[string]int{"web": 1})
	})
}

func TestPartOfAMessageIsTakenAndTheRestTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		r := &scripted{}
		var offered [][]string
		r.answer = func(_ context.Context, m *notify.Message, _ notify.Form) error {
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
		h := newHouse(t, map[string]notify.Receiver{"kafka": r})
		h.start()
		defer h.close()
		begin := time.Now()
		h.show(warning("a", 10, 1, begin.Add(2)), warning("b", 11, 1, begin.Add(1)), warning("c", 12, 1, begin))
		pass(time.Hour)
		if diff := cmp.Diff([][]string{{"a", "b", "c"}, {"b"}}, offered); diff != "" {
			t.Errorf("offered (-want +got):\n%s", diff)
		}
	})
}

func TestWorstAndNewestComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		node := warning("pi-1", 12, 1, time.Now())
		node.Reason = "NodeNotReady"
		h.show(warning("old", 10, 1, time.Now().Add(-time.Minute)), warning("new", 11, 1, time.Now()), node)
		pass(10 * time.Second)
		var order []string
		for _, i := range r.messages()[0].Incidents {
			order = append(order, i.Workload)
		}
		if diff := cmp.Diff([]string{"pi-1", "new", "old"}, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestStopAbandonsAHungAttemptWithin5Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{answer: func(ctx context.Context, _ *notify.Message, _ notify.Form) error {
			<-ctx.Done()
			return &notify.Error{Outcome: notify.Retry, Reason: "no answer", Err: context.Cause(ctx)}
		}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		h.show(warning("web", 10, 1, time.Now()))
		pass(7 * time.Second)
		if r.tries() != 1 {
			t.Fatalf("%d attempts under way, want 1", r.tries())
		}
		begin := time.Now()
		h.close()
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("the stop took %v", d)
		}
	})
}

func TestStopLetsAnAttemptUnderWayFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{answer: func(context.Context, *notify.Message, notify.Form) error {
			<-time.After(2 * time.Second)
			return nil
		}}
		path := filepath.Join(t.TempDir(), "spool.db")
		h := newHouseAt(t, path, map[string]notify.Receiver{"ops": r})
		h.start()
		h.show(warning("web", 10, 1, time.Now()))
		pass(7 * time.Second)
		h.close()
		again := newHouseAt(t, path, map[string]notify.Receiver{"ops": r})
		defer again.close()
		if n := again.untold("ops"); n != 0 {
			t.Errorf("%d observations wait: a message confirmed during the stop would be sent again", n)
		}
	})
}

func TestStopCommitsWhatTheWatchShowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "spool.db")
		h := newHouseAt(t, path, map[string]notify.Receiver{"ops": &scripted{}})
		h.start()
		h.list("9", false)
		h.show(warning("web", 10, 4, time.Now()))
		synctest.Wait()
		h.close()
		again := newHouseAt(t, path, map[string]notify.Receiver{"ops": &scripted{}})
		defer again.close()
		if n := again.untold("ops"); n != 4 {
			t.Errorf("%d observations are on disk, want 4", n)
		}
		if position, err := again.intake.Position(""); err != nil || position != "10" {
			t.Errorf("position %q, %v, want 10", position, err)
		}
	})
}

func TestClockThatWasPutBackHoldsNoMessage(t *testing.T) {
	for _, ahead := range []time.Duration{10 * time.Second, 10 * time.Minute, time.Hour, 8 * time.Hour, 24 * 365 * 10 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ops, archive, lost := &scripted{}, &scripted{}, &scripted{}
				lost.answer = func(context.Context, *notify.Message, notify.Form) error {
					if lost.tries() < 3 {
						return errUnreachable
					}
					return nil
				}
				h := newHouse(t, map[string]notify.Receiver{"ops": ops, "archive": archive, "lost": lost})
				defer h.close()
				each := testPolicy
				each.PerEvent = true
				policies := map[string]incident.Policy{"ops": testPolicy, "lost": testPolicy, "archive": each}
				h.deliveries["archive"].policy = each
				// The records were made while the clock ran ahead; of the second event only the metadata changed then.
				future := time.Now().Add(ahead)
				err := h.spool.Update(func(tx *spool.Tx) error {
					for name, policy := range policies {
						for _, o := range []incident.Observation{
							observationOf(warning("web", 10, 1, future), future),
							observationOf(warning("db", 11, 1, time.Now()), time.Now()),
							observationOf(warning("db", 12, 1, time.Now()), future),
						} {
							if o.Event.ResourceVersion == "12" {
								o.New = 0
							}
							if _, err := foldInto(tx.Queue(name), policy, &o); err != nil {
								return err
							}
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				h.start()
				pass(time.Minute)
				for name, r := range map[string]*scripted{"ops": ops, "archive": archive, "lost": lost} {
					if diff := cmp.Diff(map[string]int{"web": 1, "db": 1}, r.workloads()); diff != "" {
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
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		defer h.close()
		long := testPolicy
		long.GroupInterval, long.RepeatInterval, long.ResolveAfter = 24*time.Hour, 24*time.Hour, 48*time.Hour
		now := time.Now()
		err := h.spool.Update(func(tx *spool.Tx) error {
			for _, name := range []string{"web", "db"} {
				first := observationOf(warning(name, 10, 1, now), now)
				in, _, _ := long.Fold(nil, &first)
				in, due, _ := long.ToldUntil(in, in, now)
				if name == "db" {
					again := observationOf(warning(name, 11, 1, now), now)
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
		h.start()
		pass(testPolicy.Longest() + time.Minute)
		wantTold(t, r, map[string]int{"db": 1})
	})
}

func TestOnlyAStepBackIsOne(t *testing.T) {
	for _, c := range []struct {
		wall, elapsed time.Duration
		want          bool
	}{
		{time.Second, time.Second, false},
		{0, 500 * time.Millisecond, false},
		{-time.Hour, time.Second, true},
		{59 * time.Minute, time.Hour, true},
		{100 * time.Hour, time.Second, false},
	} {
		if got := stepped(c.wall, c.elapsed); got != c.want {
			t.Errorf("wall clock %s, in fact %s: put back %v, want %v", c.wall, c.elapsed, got, c.want)
		}
	}
}

// TestClockThatIsSetMakesNothingStandStill: a Pi starts in 1970, and a liveness probe must not end the agent once the network has
// set the clock. A time that has a reading of the clock that cannot be set is compared by that.
func TestClockThatIsSetMakesNothingStandStill(t *testing.T) {
	h := newHouse(t, map[string]notify.Receiver{"ops": &scripted{}})
	defer h.close()
	err := h.spool.Update(func(tx *spool.Tx) error {
		o := observationOf(warning("web", 10, 1, time.Now()), time.Now().Add(time.Second))
		_, err := foldInto(tx.Queue("ops"), testPolicy, &o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	d := h.deliveries["ops"]
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for d.Status().State != stateIdle {
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
				limit := limiter(n, time.Minute)
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
