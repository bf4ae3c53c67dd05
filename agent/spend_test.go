package agent

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
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
		r := &scripted{limits: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.deliveries["ops"].budget = spent(t, 85)
		h.start()
		defer h.close()
		for i := range 6 * 60 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			pass(time.Minute)
		}
		pass(2 * time.Hour)
		messages := r.messages()
		if n := len(messages); n < 6 || n > 8 {
			t.Errorf("%d messages in eight hours, want one an hour", n)
		}
		for _, m := range messages {
			if m.Digest == nil {
				t.Error("a message is no digest")
			}
		}
		if n := len(r.workloads()); n != 6*60 {
			t.Errorf("%d of %d incidents were told", n, 6*60)
		}
	})
}

func TestEmptyBudgetSendsOnlyWhatIsCritical(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{limits: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.deliveries["ops"].budget = spent(t, 100)
		h.start()
		defer h.close()
		node := warning("pi-1", 9, 1, time.Now())
		node.Reason = "NodeNotReady"
		for i := range 30 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		h.show(node)
		pass(time.Minute)
		wantTold(t, r, map[string]int{"pi-1": 1})
		if n := h.untold("ops"); n != 30 {
			t.Errorf("%d observations wait on disk, want 30", n)
		}
		// The bubble's clock begins at midnight UTC: the next day has a budget of its own.
		pass(25 * time.Hour)
		if n := len(r.workloads()); n != 31 {
			t.Errorf("%d incidents were told after the day's end, want 31", n)
		}
	})
}

func TestBudgetNoticeIsToldOnceAndTheCountersSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		a, p := agentOf(h, func(*config.Config) {})
		a.budget = spent(t, 85)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- a.keepBudget(ctx, p) }()
		pass(6 * time.Hour)
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := countReason(r, "LinkBudget"); n != 1 {
			t.Errorf("the notice was told %d times, want once", n)
		}
		again, _ := agentOf(h, func(*config.Config) {})
		again.budget = budget.New(budget.Options{Daily: 1000, Location: time.UTC})
		if err := again.loadBudget(h.spool); err != nil {
			t.Fatal(err)
		}
		if used := again.budget.Used().Day.Total(); used != 850 {
			t.Errorf("%d bytes are remembered, want 850", used)
		}
		if _, ok := again.budget.Notice(); ok {
			t.Error("the notice would be told again after a restart")
		}
	})
}
