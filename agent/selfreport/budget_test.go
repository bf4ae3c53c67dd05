package selfreport_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/notify"
)

// spent is a budget of which the given part of a day is used.
func spent(t *testing.T, percent int) *budget.Budget {
	t.Helper()
	b := budget.New(budget.Options{Daily: 1000, Location: time.UTC})
	b.Add("ops", budget.Count{Out: uint64(10 * percent)})
	return b
}

func TestFrugalBudgetMakesOneDigestAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Budget = spent(t, 85)
		h.Start()
		defer h.Close()
		for i := range 6 * 60 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			agenttest.Pass(time.Minute)
		}
		agenttest.Pass(2 * time.Hour)
		messages := r.Messages()
		if n := len(messages); n < 6 || n > 8 {
			t.Errorf("%d messages in eight hours, want one an hour", n)
		}
		for _, m := range messages {
			if m.Digest == nil {
				t.Error("a message is no digest")
			}
		}
		if n := len(r.Workloads()); n != 6*60 {
			t.Errorf("%d of %d incidents were told", n, 6*60)
		}
	})
}

func TestEmptyBudgetSendsOnlyWhatIsCritical(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Budget = spent(t, 100)
		h.Start()
		defer h.Close()
		node := agenttest.Warning("pi-1", 9, 1, time.Now())
		node.Reason = "NodeNotReady"
		for i := range 30 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		h.Show(node)
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"pi-1": 1})
		if n := h.Untold("ops"); n != 30 {
			t.Errorf("%d observations wait on disk, want 30", n)
		}
		// The bubble's clock begins at midnight UTC: the next day has a budget of its own.
		agenttest.Pass(25 * time.Hour)
		if n := len(r.Workloads()); n != 31 {
			t.Errorf("%d incidents were told after the day's end, want 31", n)
		}
	})
}

func TestBudgetNoticeIsToldOnceAndTheCountersSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		b := spent(t, 85)
		stop := background(t, func(ctx context.Context) error { return reporterOf(h).Budget(ctx, b) })
		agenttest.Pass(6 * time.Hour)
		stop()
		if n := len(r.Texts("LinkBudget")); n != 1 {
			t.Errorf("the notice was told %d times, want once", n)
		}
		again := budget.New(budget.Options{Daily: 1000, Location: time.UTC})
		if err := reporterOf(h).LoadBudget(again); err != nil {
			t.Fatal(err)
		}
		if used := again.Used().Day.Total(); used != 850 {
			t.Errorf("%d bytes are remembered, want 850", used)
		}
		if _, ok := again.Notice(); ok {
			t.Error("the notice would be told again after a restart")
		}
	})
}
