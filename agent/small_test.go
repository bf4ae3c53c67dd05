package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

func smallSpool(t *testing.T, path string, maxBytes int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{Path: path, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOneLongMessageStopsNothing: with spool.maxBytes of 1Mi, and with the least, a message of 16 KiB came, which anybody may write who may
// create events. It is cut, and says so.
func TestOneLongMessageStopsNothing(t *testing.T) {
	for _, maxBytes := range []int64{1 << 20, 256 << 10} {
		synctest.Test(t, func(t *testing.T) {
			r := &scripted{}
			h := newHouseOn(t, smallSpool(t, filepath.Join(t.TempDir(), "spool.db"), maxBytes), map[string]notify.Receiver{"ops": r})
			h.start()
			defer h.close()
			h.list("9", false)
			long := warning("long", 10, 1, time.Now())
			long.Message = strings.Repeat("世", 16<<10/3)
			h.show(long)
			// All other fields may be as long.
			hostile := warning("hostile", 11, 1, time.Now())
			for _, field := range []*string{
				&hostile.Reason, &hostile.Message, &hostile.Source.Component, &hostile.Source.Host, &hostile.Action, &hostile.ReportingController,
				&hostile.ReportingInstance, &hostile.InvolvedObject.FieldPath, &hostile.InvolvedObject.APIVersion, &hostile.InvolvedObject.UID,
			} {
				*field = strings.Repeat("界", 1000)
			}
			h.show(hostile, warning("web", 12, 1, time.Now()))
			pass(time.Minute)
			wantTold(t, r, map[string]int{"long": 1, "hostile": 1, "web": 1})
			for _, in := range r.messages()[0].Incidents {
				if m := in.Message; in.Workload == "long" && (!strings.HasPrefix(m, "世世") || !strings.HasSuffix(m, " more bytes)")) {
					t.Errorf("the message is %.20s and %d bytes", m, len(m))
				}
			}
			if stuck := h.intake.stuckFor(); stuck > 0 {
				t.Errorf("stuck for %s", stuck)
			}
			// An event of the incident again: its acknowledgement fits too.
			long.Count, long.ResourceVersion, long.LastTimestamp = 2, "13", time.Now()
			h.show(long)
			pass(testPolicy.GroupInterval + time.Minute)
			if n := h.untold("ops"); n != 0 {
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
		r := &scripted{limits: notify.Limits{Batch: 50, BatchBytes: 2 << 20}, answer: func(context.Context, *notify.Message, notify.Form) error {
			if down.Load() {
				return errUnreachable
			}
			return nil
		}}
		h := newHouseOn(t, smallSpool(t, filepath.Join(t.TempDir(), "spool.db"), 1<<20), map[string]notify.Receiver{"ops": r})
		h.deliveries["ops"].digestAfter = 1000
		h.deliveries["ops"].digestAge = 1000 * time.Hour
		h.start()
		defer h.close()
		h.list("9", false)
		for i := range incidents {
			e := warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now())
			e.Message = strings.Repeat("x", 15<<10)
			h.show(e)
			pass(2 * time.Second)
		}
		pass(time.Minute)
		lost := h.lost("ops")
		down.Store(false)
		pass(10 * time.Minute)
		if n := h.untold("ops"); n != 0 || len(r.workloads())+int(lost) != incidents {
			t.Errorf("%d wait, %d were told and %d lost of %d", n, len(r.workloads()), lost, incidents)
		}
		if now := h.lost("ops"); now != lost {
			t.Errorf("%d were lost for what was delivered", now-lost)
		}
		for name, n := range r.workloads() {
			if n != 1 {
				t.Errorf("%s was told %d times", name, n)
			}
		}
	})
}

// lost returns how many incidents of a queue were lost so far.
func (h *house) lost(receiver string) (n uint64) {
	h.t.Helper()
	err := h.spool.View(func(tx *spool.Tx) error {
		for _, l := range tx.Queue(receiver).TotalLosses() {
			n += l.Records
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// TestLowerMaxBytesOfAnExistingFileWorks: its records were written under a larger bound.
func TestLowerMaxBytesOfAnExistingFileWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "spool.db")
		r := &scripted{answer: func(context.Context, *notify.Message, notify.Form) error { return errUnreachable }}
		h := newHouseOn(t, smallSpool(t, path, 4<<20), map[string]notify.Receiver{"ops": r})
		h.start()
		h.list("9", false)
		for i := range 40 {
			e := warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now())
			e.Message = strings.Repeat("x", 16<<10)
			h.show(e)
		}
		pass(time.Minute)
		h.close()
		r = &scripted{}
		h = newHouseOn(t, smallSpool(t, path, 256<<10), map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.list("50", false, warning("new", 49, 1, time.Now()))
		pass(time.Hour)
		lost := h.lost("ops")
		if n := h.untold("ops"); n != 0 || len(r.workloads())+int(lost) != 41 {
			t.Errorf("%d wait, %d were told and %d lost of 41", n, len(r.workloads()), lost)
		}
		if r.workloads()["new"] != 1 {
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
			in := newHouse(t, nil)
			defer in.close()
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error)
			go func() {
				done <- in.intake.retry(ctx, func(*spool.Tx, *tally) error { return c.err })
			}()
			pass(3 * healthLimit)
			a := &Agent{parts: &parts{intake: in.intake}}
			if stuck := a.Stuck(); (len(stuck) > 0) != c.want {
				t.Errorf("%v: %q", c.err, stuck)
			}
			stop()
			if err := <-done; err == nil {
				t.Error("a commit that never succeeded is said to have")
			}
		})
	}
}
