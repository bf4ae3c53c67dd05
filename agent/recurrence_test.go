package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// again is the event as its reporter creates it anew: another object, of the same name, with the first time and the next count.
func again(version, count int, first time.Time) event.Event {
	e := warning("web", version, count, first)
	e.UID = fmt.Sprintf("uid-%d", version)
	e.CreationTimestamp, e.LastTimestamp = time.Now(), time.Now()
	return e
}

// told sums up what the receiver was told.
func (r *scripted) told() (n int) {
	for _, m := range r.messages() {
		for _, in := range m.Incidents {
			n += in.Untold
		}
	}
	return n
}

// TestAnEventThatIsCreatedAgainCountsWhatIsNew: a problem every two hours, eight times, of which each finds the event before expired.
func TestAnEventThatIsCreatedAgainCountsWhatIsNew(t *testing.T) {
	for name, c := range map[string]struct {
		// pause is between two of them, gone how long after each it is gone.
		pause, gone time.Duration
		// unseen: nobody watches the end; a list finds the next one. restart: the agent stops in between.
		unseen, restart bool
		// step is by how much each count is above the one before.
		step int
	}{
		"expires":                      {pause: 2 * time.Hour, gone: time.Hour, step: 1},
		"expires, written seldom":      {pause: 2 * time.Hour, gone: time.Hour, step: 5},
		"expires unseen":               {pause: 2 * time.Hour, unseen: true, step: 1},
		"expires before a restart":     {pause: 2 * time.Hour, gone: time.Hour, restart: true, step: 1},
		"deleted in a crash loop":      {pause: 10 * time.Second, gone: 5 * time.Second, step: 1},
		"deleted and shown in a batch": {pause: time.Millisecond, gone: 0, step: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path, r := filepath.Join(t.TempDir(), "spool.db"), &scripted{}
				h := newHouseAt(t, path, map[string]notify.Receiver{"ops": r})
				h.start()
				h.list("10", false)
				first := time.Now()
				for i := range 8 {
					e := again(100+10*i, 1+c.step*i, first)
					if c.unseen {
						h.list(fmt.Sprint(101+10*i), false, e)
					} else {
						h.show(e)
						pass(c.gone)
						e.ResourceVersion = fmt.Sprint(105 + 10*i)
						if err := h.intake.Watched(context.Background(), watch.Change{Deleted: true, Event: e}); err != nil {
							t.Fatal(err)
						}
					}
					pass(c.pause - c.gone)
					if c.restart {
						h.close()
						h = newHouseAt(t, path, map[string]notify.Receiver{"ops": r})
						h.start()
					}
				}
				pass(12 * time.Hour)
				if n := r.told(); n != 1+7*c.step {
					t.Errorf("%d occurrences were told, want %d", n, 1+7*c.step)
				}
				h.close()
			})
		})
	}
}

// TestAnotherEventOfTheSameNameCountsInFull: a reporter that was started anew begins another count at another time.
func TestAnotherEventOfTheSameNameCountsInFull(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, r *scripted) {
		h.list("10", false)
		h.show(again(100, 7, time.Now()))
		pass(time.Hour)
		h.show(again(200, 3, time.Now()))
		pass(5 * time.Hour)
		if n := r.told(); n != 10 {
			t.Errorf("%d occurrences were told, want 10", n)
		}
	})
}

// TestWhatADiskRefusedIsNotRemembered: the count of a transaction that failed is not taken for told when it is tried again.
func TestWhatADiskRefusedIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r := &disk{t: t}, &scripted{}
		s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), OpenFile: d.open})
		if err != nil {
			t.Fatal(err)
		}
		h := newHouseOn(t, s, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.list("10", false)
		d.fill()
		h.show(again(100, 4, time.Now()))
		pass(10 * time.Minute)
		d.empty()
		pass(10 * time.Minute)
		if n := r.told(); n != 4 {
			t.Errorf("%d occurrences were told, want 4", n)
		}
	})
}

func TestRecurringEventsAreRememberedWithinABound(t *testing.T) {
	r := newRecurrences()
	for i := range 10 * maxRecurrences {
		r.remember(uint64(1+i), 1)
		// One recurs now and then, among many that do not.
		if i%(maxRecurrences/2) == 0 {
			r.remember(1, uint32(2+i))
		}
	}
	if len(r.slots) != maxRecurrences || len(r.index) != maxRecurrences {
		t.Errorf("%d slots, %d in the index, want %d", len(r.slots), len(r.index), maxRecurrences)
	}
	if _, ok := r.count(1); !ok {
		t.Error("the one that recurs was forgotten")
	}
	if _, ok := r.count(2); ok {
		t.Error("one that did not for a long time was kept")
	}
	for i := range r.slots {
		r.slots[i].again = true
	}
	r.remember(1<<40, 1)
	if n, ok := r.count(1 << 40); !ok || n != 1 {
		t.Error("where all recur, a new one has no place")
	}
}
