package deliver_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestOneLongMessageStopsNothing: with spool.maxBytes of 1Mi, and with the least, a message of 16 KiB came, which anybody may write who may
// create events. It is cut, and says so.
func TestOneLongMessageStopsNothing(t *testing.T) {
	for _, maxBytes := range []int64{1 << 20, 256 << 10} {
		synctest.Test(t, func(t *testing.T) {
			r := &agenttest.Receiver{}
			h := agenttest.NewOn(t, agenttest.SmallSpool(t, filepath.Join(t.TempDir(), "spool.db"), maxBytes), map[string]notify.Receiver{"ops": r})
			h.Start()
			defer h.Close()
			h.List("9", false)
			long := agenttest.Warning("long", 10, 1, time.Now())
			long.Message = strings.Repeat("世", 16<<10/3)
			h.Show(long)
			// All other fields may be as long.
			hostile := agenttest.Warning("hostile", 11, 1, time.Now())
			for _, field := range []*string{
				&hostile.Reason, &hostile.Message, &hostile.Source.Component, &hostile.Source.Host, &hostile.Action, &hostile.ReportingController,
				&hostile.ReportingInstance, &hostile.InvolvedObject.FieldPath, &hostile.InvolvedObject.APIVersion, &hostile.InvolvedObject.UID,
			} {
				*field = strings.Repeat("界", 1000)
			}
			h.Show(hostile, agenttest.Warning("web", 12, 1, time.Now()))
			agenttest.Pass(time.Minute)
			agenttest.WantTold(t, r, map[string]int{"long": 1, "hostile": 1, "web": 1})
			for _, in := range r.Messages()[0].Incidents {
				if m := in.Message; in.Workload == "long" && (!strings.HasPrefix(m, "世世") || !strings.HasSuffix(m, " more bytes)")) {
					t.Errorf("the message is %.20s and %d bytes", m, len(m))
				}
			}
			if stuck := h.Intake.StuckFor(); stuck > 0 {
				t.Errorf("stuck for %s", stuck)
			}
			// An event of the incident again: its acknowledgement fits too.
			long.Count, long.ResourceVersion, long.LastTimestamp = 2, "13", time.Now()
			h.Show(long)
			agenttest.Pass(agenttest.Policy().GroupInterval + time.Minute)
			if n := h.Untold("ops"); n != 0 {
				t.Errorf("%d observations wait", n)
			}
		})
	}
}

// TestAcknowledgementOfABacklogEvictsNothing: a backlog that fills a small spool is told in one message, of which no record can be noted
// beside the others at once.
func TestAcknowledgementOfABacklogEvictsNothing(t *testing.T) {
	const incidents = 60
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 2 << 20}, Answer: func(context.Context, *notify.Message, notify.Form) error {
			if down.Load() {
				return agenttest.ErrUnreachable
			}
			return nil
		}}
		h := agenttest.NewOn(t, agenttest.SmallSpool(t, filepath.Join(t.TempDir(), "spool.db"), 1<<20), map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Backlog.After = 1000
		h.Options["ops"].Backlog.Age = 1000 * time.Hour
		h.Start()
		defer h.Close()
		h.List("9", false)
		for i := range incidents {
			e := agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now())
			e.Message = strings.Repeat("x", 15<<10)
			h.Show(e)
			agenttest.Pass(2 * time.Second)
		}
		agenttest.Pass(time.Minute)
		lost := h.Lost("ops")
		down.Store(false)
		agenttest.Pass(10 * time.Minute)
		if n := h.Untold("ops"); n != 0 || len(r.Workloads())+int(lost) != incidents {
			t.Errorf("%d wait, %d were told and %d lost of %d", n, len(r.Workloads()), lost, incidents)
		}
		if now := h.Lost("ops"); now != lost {
			t.Errorf("%d were lost for what was delivered", now-lost)
		}
		for name, n := range r.Workloads() {
			if n != 1 {
				t.Errorf("%s was told %d times", name, n)
			}
		}
	})
}

// TestLowerMaxBytesOfAnExistingFileWorks: its records were written under a larger bound.
func TestLowerMaxBytesOfAnExistingFileWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "spool.db")
		r := &agenttest.Receiver{Answer: func(context.Context, *notify.Message, notify.Form) error { return agenttest.ErrUnreachable }}
		h := agenttest.NewOn(t, agenttest.SmallSpool(t, path, 4<<20), map[string]notify.Receiver{"ops": r})
		h.Start()
		h.List("9", false)
		for i := range 40 {
			e := agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now())
			e.Message = strings.Repeat("x", 16<<10)
			h.Show(e)
		}
		agenttest.Pass(time.Minute)
		h.Close()
		r = &agenttest.Receiver{}
		h = agenttest.NewOn(t, agenttest.SmallSpool(t, path, 256<<10), map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.List("50", false, agenttest.Warning("new", 49, 1, time.Now()))
		agenttest.Pass(time.Hour)
		lost := h.Lost("ops")
		if n := h.Untold("ops"); n != 0 || len(r.Workloads())+int(lost) != 41 {
			t.Errorf("%d wait, %d were told and %d lost of 41", n, len(r.Workloads()), lost)
		}
		if r.Workloads()["new"] != 1 {
			t.Error("news after the change is not told")
		}
	})
}

// TestSpoolThatTakesNothingIsNotHealthy: a full disk passes, and a restart changes nothing; a spool that refuses on a disk that is well is
// another matter.
func TestSpoolThatTakesNothingIsNotHealthy(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{{spool.ErrTooLarge, true}, {spool.ErrNoSpace, true}, {spool.ErrReadOnly, false}} {
		synctest.Test(t, func(t *testing.T) {
			in := agenttest.New(t, nil)
			in.Start()
			defer in.Close()
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error)
			go func() {
				done <- in.Intake.Note(ctx, func(*spool.Tx) error { return c.err })
			}()
			agenttest.Pass(10 * time.Minute)
			if stuck := in.Intake.StuckFor(); (stuck > 9*time.Minute) != c.want {
				t.Errorf("%v: stuck for %s", c.err, stuck)
			}
			stop()
			if err := <-done; err == nil {
				t.Error("a commit that never succeeded is said to have")
			}
		})
	}
}
