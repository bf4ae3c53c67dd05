package intake_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/ledger"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestAGapIsToldForTheNamespaceThatWasBlind: what another namespace shows, and the commits that it costs, prove nothing of it.
func TestAGapIsToldForTheNamespaceThatWasBlind(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.ListIn(watch.Page{Namespace: "shop", ResourceVersion: "10"})
		h.ListIn(watch.Page{Namespace: "kiosk", ResourceVersion: "10"})
		began := time.Now()
		for i := range 5 * 60 {
			e := agenttest.Warning("web", 11+i, 1+i, time.Now())
			if err := h.Intake.Watched(context.Background(), watch.Change{Namespace: "shop", Event: e}); err != nil {
				t.Fatal(err)
			}
			h.Sees("shop")
			agenttest.Pass(time.Minute)
		}
		h.ListIn(watch.Page{Namespace: "shop", ResourceVersion: "500"})
		h.WantGaps(0, "after a list of the namespace that was seen")
		h.ListIn(watch.Page{Namespace: "kiosk", ResourceVersion: "500"})
		h.WantGaps(1, "after a list of the namespace that was blind for five hours")
		h.ListIn(watch.Page{Namespace: "kiosk", ResourceVersion: "600"})
		h.WantGaps(1, "after it was listed again")
		before := len(r.Messages())
		h.Show(agenttest.Warning("db", 601, 1, time.Now()))
		agenttest.Pass(time.Minute)
		losses := r.Messages()[before].Losses
		if len(losses) != 1 || losses[0].Cause != spool.Unseen || losses[0].Since.Sub(began).Abs() > time.Second {
			t.Errorf("told %+v, want a loss unseen since %s", losses, began)
		}
	})
}

// TestAHeldBatchProvesNoSightOfNow: the disk is full for five hours. What was shown before is committed at their end, and with it the
// sight of then.
func TestAHeldBatchProvesNoSightOfNow(t *testing.T) {
	for name, noted := range map[string]bool{"changes": false, "a note behind them": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &agenttest.Disk{T: t}
				s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), OpenFile: d.Open})
				if err != nil {
					t.Fatal(err)
				}
				h := agenttest.NewOn(t, s, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
				h.Start()
				defer h.Close()
				h.List("10", false)
				agenttest.Pass(time.Minute)
				d.Fill()
				for i := range 20 {
					h.Show(agenttest.Warning("web", 11+i, 1+i, time.Now()))
				}
				var waiting sync.WaitGroup
				if noted {
					waiting.Go(func() { h.Sees("") })
				}
				agenttest.Pass(5 * time.Hour)
				d.Empty()
				waiting.Wait()
				agenttest.Pass(2 * time.Minute)
				if position, err := h.Intake.Position(""); err != nil || position != "30" {
					t.Fatalf("position %s, %v", position, err)
				}
				h.List("900", false)
				h.WantGaps(1, "after a disk that was full for five hours")
			})
		})
	}
}

// TestAnAbsenceIsMeasuredByWhatNoClockStepMoves: the monotonic clock while the agent runs; after a restart the later one of
// its own wall clock and the API server's; and an event that was taken before and is still there proves that nothing was missed.
func TestAnAbsenceIsMeasuredByWhatNoClockStepMoves(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for name, c := range map[string]struct {
		ttl time.Duration
		// seen is how long ago the watch last saw; 0: it was started anew. wall and server are how far the clocks moved since.
		seen, wall, server time.Duration
		stillThere         bool
		want               uint64
	}{
		"running, clock set forward by weeks": {seen: time.Minute, wall: 3 * week, server: 3 * week, want: 0},
		"running, clock set back":             {seen: 5 * time.Hour, wall: -week, server: -week, want: 1},
		"restarted soon":                      {wall: 10 * time.Minute, server: 10 * time.Minute, want: 0},
		"restarted late":                      {wall: 5 * time.Hour, server: 5 * time.Hour, want: 1},
		"restarted with an old time":          {wall: time.Minute, server: 5 * time.Hour, want: 1},
		"restarted, server has an old time":   {wall: 5 * time.Hour, server: time.Minute, want: 1},
		"restarted, both clocks set back":     {wall: -week, server: -week, want: 1},
		"both set back, an event outlived it": {wall: -week, server: -week, stillThere: true, want: 0},
		"set forward, an event outlived it":   {wall: 3 * week, server: 3 * week, stillThere: true, want: 0},
		"longer TTL":                          {ttl: 24 * time.Hour, wall: 5 * time.Hour, server: 5 * time.Hour, want: 0},
		"away for longer than a longer TTL":   {ttl: 24 * time.Hour, wall: 25 * time.Hour, server: 25 * time.Hour, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			living := func(h *agenttest.Pipeline) {
				if c.ttl > 0 {
					h.IntakeOptions.Ledger = ledger.New(c.ttl, time.Hour)
				}
			}
			agenttest.BubbleWith(t, living, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
				known := agenttest.Warning("web", 9, 1, time.Now())
				h.List("10", false, known)
				last := time.Now()
				agenttest.Pass(time.Hour)
				page := watch.Page{ResourceVersion: "900", At: last.Add(c.wall), Date: last.Add(c.server)}
				if c.seen > 0 {
					// A wall clock that was set, in a time whose monotonic part was not.
					page.At = time.Now()
					page.Seen = page.At.Add(-c.seen)
				}
				// Every version of the new event is above the position: it proves nothing, whatever its times say.
				events := []event.Event{agenttest.Warning("db", 800, 1, last.Add(-week))}
				if c.stillThere {
					events = append(events, known)
				}
				h.ListIn(page, events...)
				h.WantGaps(c.want, "after the list")
			})
		})
	}
}

// TestAListThatBrokeOffIsNoProofOfSight: what its first part took is there when it begins again, and was not seen before the gap.
func TestAListThatBrokeOffIsNoProofOfSight(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
		h.List("10", false)
		agenttest.Pass(5 * time.Hour)
		fresh := agenttest.Warning("web", 700, 1, time.Now())
		if err := h.Intake.List(context.Background(), watch.Page{First: true, ResourceVersion: "900", Events: []event.Event{fresh}}); err != nil {
			t.Fatal(err)
		}
		h.List("901", false, fresh)
		h.WantGaps(1, "after the second list")
	})
}

// TestOnlyAListProvesSightOfANamespaceWithoutAPosition: a rescue took the position, for events may be lost with what was damaged.
func TestOnlyAListProvesSightOfANamespaceWithoutAPosition(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, _ *agenttest.Receiver) {
		h.List("10", false)
		if err := h.Spool.Update(func(tx *spool.Tx) error { return tx.SetPosition("", "") }); err != nil {
			t.Fatal(err)
		}
		agenttest.Pass(5 * time.Hour)
		h.Sees("")
		h.List("900", false)
		h.WantGaps(1, "after five hours without a position")
	})
}

func TestAbsenceLongerThanEventsLiveIsToldAsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.List("12", false, agenttest.Warning("a", 10, 1, time.Now()))
		agenttest.Pass(50 * time.Minute)
		h.List("20", false, agenttest.Warning("b", 15, 1, time.Now()))
		agenttest.Pass(3 * time.Hour)
		seen := time.Now()
		h.List("90", false, agenttest.Warning("c", 80, 1, seen))
		agenttest.Pass(time.Minute)
		h.Show(agenttest.Warning("d", 91, 1, time.Now()))
		agenttest.Pass(time.Minute)
		var losses []notify.Loss
		for _, m := range r.Messages() {
			losses = append(losses, m.Losses...)
		}
		if len(losses) != 1 || losses[0].Cause != spool.Unseen {
			t.Fatalf("losses told: %+v, want one gap", losses)
		}
		if away := seen.Sub(losses[0].Since); away < 3*time.Hour-time.Minute || away > 3*time.Hour+time.Minute {
			t.Errorf("the gap is said to be %v long, it was 3h", away)
		}
	})
}
