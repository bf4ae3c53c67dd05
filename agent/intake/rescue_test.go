package intake_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
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

// A rescue drops the position, because events may be lost with what was damaged. A change that comes before the list must not set it
// again: after a restart the watch would go on behind what was lost.
func TestOnlyAListSetsThePositionThatARescueDropped(t *testing.T) {
	agenttest.Bubble(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.List("12", false, agenttest.Warning("a", 10, 1, time.Now()))
		if err := h.Spool.Update(func(tx *spool.Tx) error { return tx.SetPosition("", "") }); err != nil {
			t.Fatal(err)
		}
		h.Show(agenttest.Warning("b", 20, 1, time.Now()))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"a": 1, "b": 1})
		if position, err := h.Intake.Position(""); err != nil || position != "" {
			t.Errorf("position %q, %v, want none before the list", position, err)
		}
		h.List("30", false)
		h.Show(agenttest.Warning("c", 31, 1, time.Now()))
		agenttest.Pass(time.Minute)
		if position, err := h.Intake.Position(""); err != nil || position != "31" {
			t.Errorf("position %q, %v, want 31", position, err)
		}
	})
}

// overwrite writes garbage over all pages of the open spool but the two meta pages.
func overwrite(t testing.TB, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(bytes.Repeat([]byte("garbage!"), int(info.Size()-8192)/8), 8192); err != nil {
		t.Fatal(err)
	}
}

func TestListInTheMiddleOfWhichTheSpoolIsRescuedBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, r := filepath.Join(t.TempDir(), "spool.db"), &agenttest.Receiver{}
		h := agenttest.NewAt(t, path, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		first := watch.Page{First: true, ResourceVersion: "12", Events: []event.Event{agenttest.Warning("a", 10, 1, time.Now())}}
		if err := h.Intake.List(context.Background(), first); err != nil {
			t.Fatal(err)
		}
		overwrite(t, path)
		last := watch.Page{Last: true, ResourceVersion: "12", Events: []event.Event{agenttest.Warning("b", 11, 1, time.Now())}}
		if err := h.Intake.List(context.Background(), last); !errors.Is(err, ledger.ErrAnew) {
			t.Errorf("%v", err)
		}
		if position, err := h.Intake.Position(""); err != nil || position != "" {
			t.Errorf("position %q, %v: event a is lost", position, err)
		}
		h.List("12", false, first.Events[0], last.Events[0])
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"a": 1, "b": 1})
	})
}

// What failed may leave the queue unsent: a rescue, an eviction or an operator took it. What comes then must not wait for an hour.
func TestNewsIsToldAfterWhatFailedIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		down := true
		r.Answer = func(context.Context, *notify.Message, notify.Form) error {
			if down {
				return agenttest.ErrUnreachable
			}
			return nil
		}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.List("9", false)
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(time.Minute)
		if err := h.Spool.Update(func(tx *spool.Tx) error {
			r, _ := tx.Queue("ops").Oldest()
			return tx.Queue("ops").Delete(r.Clone().Key)
		}); err != nil {
			t.Fatal(err)
		}
		agenttest.Pass(agenttest.Policy().GroupInterval + 10*time.Minute)
		down = false
		h.Show(agenttest.Warning("db", 11, 1, time.Now()))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"db": 1})
	})
}
