package intake_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestFullDiskRepeatsNoMessage: what the receiver confirmed cannot be taken out of the queue while the disk is full, and must
// not be sent again for that.
func TestFullDiskRepeatsNoMessage(t *testing.T) {
	for name, perEvent := range map[string]bool{"incident": false, "event": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &agenttest.Disk{T: t}
				s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), OpenFile: d.Open})
				if err != nil {
					t.Fatal(err)
				}
				full := false
				r := &agenttest.Receiver{}
				r.Answer = func(context.Context, *notify.Message, notify.Form) error {
					if !full {
						full = true
						d.Fill()
					}
					return nil
				}
				h := agenttest.NewOn(t, s, map[string]notify.Receiver{"ops": r})
				policy := agenttest.Policy()
				policy.PerEvent = perEvent
				h.SetPolicy("ops", policy)
				h.Start()
				defer h.Close()
				h.Show(agenttest.Warning("web", 10, 3, time.Now()))
				agenttest.Pass(time.Hour)
				if n := r.Tries(); n != 1 {
					t.Errorf("the message was sent %d times while the disk was full, want 1", n)
				}
				if n := h.Untold("ops"); n != 3 {
					t.Errorf("%d observations wait, want 3: the disk was full", n)
				}
				d.Empty()
				agenttest.Pass(time.Minute)
				if n := h.Untold("ops"); n != 0 || r.Tries() != 1 {
					t.Errorf("%d observations wait after %d messages, want 0 after 1", n, r.Tries())
				}
				h.Show(agenttest.Warning("db", 11, 1, time.Now()))
				agenttest.Pass(time.Minute)
				agenttest.WantTold(t, r, map[string]int{"web": 1, "db": 1})
			})
		})
	}
}

// TestNoListOvertakesTheChangesBeforeIt: while the disk is full the watch shows changes, loses its position and lists. The list is
// committed behind the changes, so the position does not go back to them.
func TestNoListOvertakesTheChangesBeforeIt(t *testing.T) {
	for trial := range 20 {
		synctest.Test(t, func(t *testing.T) {
			d := &agenttest.Disk{T: t}
			s, err := spool.Open(spool.Options{Path: filepath.Join(t.TempDir(), "spool.db"), OpenFile: d.Open})
			if err != nil {
				t.Fatal(err)
			}
			h := agenttest.NewOn(t, s, map[string]notify.Receiver{"ops": &agenttest.Receiver{}})
			h.Start()
			defer h.Close()
			h.List("10", false, agenttest.Warning("web", 10, 1, time.Now()))
			d.Fill()
			// The first fills a batch and blocks the intake; the others wait behind it.
			for i := range intake.MaxBatch + 64 - 1 {
				h.Show(agenttest.Warning("web", 11+i, 2+i, time.Now()))
			}
			var listed sync.WaitGroup
			listed.Go(func() { h.List("5000", false, agenttest.Warning("db", 4000, 1, time.Now())) })
			agenttest.Pass(time.Minute)
			d.Empty()
			listed.Wait()
			agenttest.Pass(2 * time.Minute)
			if position, err := h.Intake.Position(""); err != nil || position != "5000" {
				t.Errorf("trial %d: the position is %s, %v after a list of 5000", trial, position, err)
			}
		})
	}
}
