package agent

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// listIn lets the watch see a list of a namespace.
func (h *house) listIn(page watch.Page, events ...event.Event) {
	h.t.Helper()
	page.First, page.Last, page.Events = true, true, events
	if err := h.intake.List(context.Background(), page); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) gaps() (n uint64) {
	h.t.Helper()
	if err := h.spool.View(func(tx *spool.Tx) error { n = tx.Counter(gapCounter); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *house) wantGaps(want uint64, when string) {
	h.t.Helper()
	if n := h.gaps(); n != want {
		h.t.Errorf("%d gaps %s, want %d", n, when, want)
	}
}

// sees notes that the namespaces are seen now, as keepSight does.
func (h *house) sees(namespaces ...string) {
	h.t.Helper()
	at := time.Now()
	err := h.intake.note(context.Background(), func(tx *spool.Tx) error {
		for _, name := range namespaces {
			if err := noteSight(tx, name, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// TestAGapIsToldForTheNamespaceThatWasBlind: what another namespace shows, and the commits that it costs, prove nothing of it.
func TestAGapIsToldForTheNamespaceThatWasBlind(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		h.listIn(watch.Page{Namespace: "shop", ResourceVersion: "10"})
		h.listIn(watch.Page{Namespace: "kiosk", ResourceVersion: "10"})
		began := time.Now()
		for i := range 5 * 60 {
			e := warning("web", 11+i, 1+i, time.Now())
			if err := h.intake.Watched(context.Background(), watch.Change{Namespace: "shop", Event: e}); err != nil {
				t.Fatal(err)
			}
			h.sees("shop")
			pass(time.Minute)
		}
		h.listIn(watch.Page{Namespace: "shop", ResourceVersion: "500"})
		h.wantGaps(0, "after a list of the namespace that was seen")
		h.listIn(watch.Page{Namespace: "kiosk", ResourceVersion: "500"})
		h.wantGaps(1, "after a list of the namespace that was blind for five hours")
		h.listIn(watch.Page{Namespace: "kiosk", ResourceVersion: "600"})
		h.wantGaps(1, "after it was listed again")
		before := len(r.messages())
		h.show(warning("db", 601, 1, time.Now()))
		pass(time.Minute)
		losses := r.messages()[before].Losses
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
				d := &disk{t: t}
				s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), OpenFile: d.open})
				if err != nil {
					t.Fatal(err)
				}
				h := newHouseOn(t, s, map[string]notify.Receiver{"ops": &scripted{}})
				h.start()
				defer h.close()
				h.list("10", false)
				pass(time.Minute)
				d.fill()
				for i := range 20 {
					h.show(warning("web", 11+i, 1+i, time.Now()))
				}
				var waiting sync.WaitGroup
				if noted {
					waiting.Go(func() { h.sees("") })
				}
				pass(5 * time.Hour)
				d.empty()
				waiting.Wait()
				pass(2 * time.Minute)
				if position, err := h.intake.Position(""); err != nil || position != "30" {
					t.Fatalf("position %s, %v", position, err)
				}
				h.list("900", false)
				h.wantGaps(1, "after a disk that was full for five hours")
			})
		})
	}
}

// TestAnAbsenceIsMeasuredByWhatNoClockStepMoves: the clock that cannot be set while the agent runs; after a restart the later one of
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
			bubble(t, func(t *testing.T, h *house, _ *scripted) {
				if c.ttl > 0 {
					h.intake.eventTTL = c.ttl
				}
				known := warning("web", 9, 1, time.Now())
				h.list("10", false, known)
				last := time.Now()
				pass(time.Hour)
				page := watch.Page{ResourceVersion: "900", At: last.Add(c.wall), Date: last.Add(c.server)}
				if c.seen > 0 {
					// A wall clock that was set, in a time whose monotonic part was not.
					page.At = time.Now()
					page.Seen = page.At.Add(-c.seen)
				}
				// Every version of the new event is above the position: it proves nothing, whatever its times say.
				events := []event.Event{warning("db", 800, 1, last.Add(-week))}
				if c.stillThere {
					events = append(events, known)
				}
				h.listIn(page, events...)
				h.wantGaps(c.want, "after the list")
			})
		})
	}
}

// TestAListThatBrokeOffIsNoProofOfSight: what its first part took is there when it begins again, and was not seen before the gap.
func TestAListThatBrokeOffIsNoProofOfSight(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *scripted) {
		h.list("10", false)
		pass(5 * time.Hour)
		fresh := warning("web", 700, 1, time.Now())
		if err := h.intake.List(context.Background(), watch.Page{First: true, ResourceVersion: "900", Events: []event.Event{fresh}}); err != nil {
			t.Fatal(err)
		}
		h.list("901", false, fresh)
		h.wantGaps(1, "after the second list")
	})
}

// TestABlindNamespaceIsAnIncidentWhileOthersAreSeen walks through hours in which one namespace of two is forbidden, then both are away.
func TestABlindNamespaceIsAnIncidentWhileOthersAreSeen(t *testing.T) {
	start := time.Now()
	forbidden := &watch.Failing{Since: start, Unseen: true, Err: errors.New("403 Forbidden")}
	full := &watch.Failing{Since: start, Err: errors.New("disk is full")}
	b := blindness{after: 5 * time.Minute}
	step := func(minute int, shop, kiosk *watch.Failing, wantReason, wantText string) {
		t.Helper()
		reason, message := b.look(start.Add(time.Duration(minute)*time.Minute), map[string]*watch.Failing{"shop": shop, "kiosk": kiosk})
		if reason != wantReason || !strings.Contains(message, wantText) {
			t.Errorf("minute %d: %q %q, want %q %q", minute, reason, message, wantReason, wantText)
		}
		if reason != "" {
			b.tell()
		}
	}
	step(1, full, forbidden, "", "")
	step(5, full, forbidden, "NamespaceUnreachable", "kiosk since "+start.UTC().Format(time.RFC3339)+": 403 Forbidden.")
	step(6, nil, forbidden, "", "")
	step(300, nil, forbidden, "", "")
	away := &watch.Failing{Since: start.Add(301 * time.Minute), Unseen: true, Err: errors.New("connection refused")}
	step(302, away, forbidden, "", "")
	step(306, away, forbidden, "APIServerUnreachable", "connection refused")
	step(307, away, forbidden, "", "")
	step(310, nil, forbidden, "", "")
	step(311, nil, nil, "", "")
	again := &watch.Failing{Since: start.Add(312 * time.Minute), Unseen: true, Err: errors.New("403 Forbidden")}
	step(320, nil, again, "NamespaceUnreachable", "kiosk")
}

// TestOnlyAListProvesSightOfANamespaceWithoutAPosition: a rescue took the position, for events may be lost with what was damaged.
func TestOnlyAListProvesSightOfANamespaceWithoutAPosition(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *scripted) {
		h.list("10", false)
		if err := h.spool.Update(func(tx *spool.Tx) error { return tx.SetPosition("", "") }); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Hour)
		h.sees("")
		h.list("900", false)
		h.wantGaps(1, "after five hours without a position")
	})
}
