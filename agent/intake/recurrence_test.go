package intake_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// again is the event as its reporter creates it anew: another object, of the same name, with the first time and the next count.
func again(version, count int, first time.Time) event.Event {
	e := agenttest.Warning("web", version, count, first)
	e.UID = fmt.Sprintf("uid-%d", version)
	e.CreationTimestamp, e.LastTimestamp = time.Now(), time.Now()
	return e
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
				path, r := filepath.Join(t.TempDir(), "spool.db"), &agenttest.Receiver{}
				h := agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": r})
				h.Start()
				h.List("10", false)
				first := time.Now()
				for i := range 8 {
					e := again(100+10*i, 1+c.step*i, first)
					if c.unseen {
						h.List(fmt.Sprint(101+10*i), false, e)
					} else {
						h.Show(e)
						agenttest.Pass(c.gone)
						e.ResourceVersion = fmt.Sprint(105 + 10*i)
						if err := h.Intake.Watched(context.Background(), watch.Change{Deleted: true, Event: e}); err != nil {
							t.Fatal(err)
						}
					}
					agenttest.Pass(c.pause - c.gone)
					if c.restart {
						h.Close()
						h = agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": r})
						h.Start()
					}
				}
				agenttest.Pass(12 * time.Hour)
				if n := r.Told(); n != 1+7*c.step {
					t.Errorf("%d occurrences were told, want %d", n, 1+7*c.step)
				}
				h.Close()
			})
		})
	}
}

// TestAnotherEventOfTheSameNameCountsInFull: a reporter that was started anew begins another count at another time.
func TestAnotherEventOfTheSameNameCountsInFull(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.List("10", false)
		h.Show(again(100, 7, time.Now()))
		agenttest.Pass(time.Hour)
		h.Show(again(200, 3, time.Now()))
		agenttest.Pass(5 * time.Hour)
		if n := r.Told(); n != 10 {
			t.Errorf("%d occurrences were told, want 10", n)
		}
	})
}

// TestWhatADiskRefusedIsNotRemembered: the count of a transaction that failed is not taken for told when it is tried again.
func TestWhatADiskRefusedIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r := &agenttest.Disk{T: t}, &agenttest.Receiver{}
		s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), OpenFile: d.Open})
		if err != nil {
			t.Fatal(err)
		}
		h := agenttest.NewOn(t, s, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.List("10", false)
		d.Fill()
		h.Show(again(100, 4, time.Now()))
		agenttest.Pass(10 * time.Minute)
		d.Empty()
		agenttest.Pass(10 * time.Minute)
		if n := r.Told(); n != 4 {
			t.Errorf("%d occurrences were told, want 4", n)
		}
	})
}
