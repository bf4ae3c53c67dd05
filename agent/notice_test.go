package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/notify"
)

// toldAs returns the messages of an own incident in the order in which they were told.
func toldAs(r *scripted, reason string) (texts []string) {
	for _, m := range r.messages() {
		for _, in := range m.Incidents {
			if in.Reason == reason {
				texts = append(texts, in.Message)
			}
		}
	}
	return texts
}

// use spends bytes of a budget.
func use(t *testing.T, b *budget.Budget, bytes int) {
	t.Helper()
	b.Add("ops", budget.Count{Out: uint64(bytes)})
}

// background runs a loop of the agent until the returned function is called.
func background(t *testing.T, loop func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := withStop()
	done := make(chan error, 1)
	go func() { done <- loop(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestNoticeThatTheBudgetIsUsedUpIsNotHeldBackByIt also holds for the second notice of a day, which is no repeat of the first.
func TestNoticeThatTheBudgetIsUsedUpIsNotHeldBackByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		b := spent(t, 85)
		h.deliveries["ops"].budget = b
		h.start()
		defer h.close()
		a, p := agentOf(h, func(*config.Config) {})
		a.budget = b
		defer background(t, func(ctx context.Context) error { return a.keepBudget(ctx, p) })()
		pass(2 * time.Minute)
		if texts := toldAs(r, reasonBudget); len(texts) != 1 || !strings.Contains(texts[0], "at most one an hour") {
			t.Fatalf("told of four fifths: %q", texts)
		}
		use(t, b, 150)
		pass(2 * time.Minute)
		texts := toldAs(r, reasonBudget)
		if len(texts) != 2 || !strings.HasPrefix(texts[1], "1000 of the 1000 bytes of this day are used") || !strings.Contains(texts[1], "Only critical") {
			t.Errorf("told two minutes after the budget was used up: %q", texts)
		}
	})
}

// TestNoticeOfTheBudgetSaysWhatIsTrueWhenItLeaves: the link comes back on the next day.
func TestNoticeOfTheBudgetSaysWhatIsTrueWhenItLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := outage(25*time.Hour, 0)
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		b := spent(t, 100)
		h.deliveries["ops"].budget = b
		h.start()
		defer h.close()
		a, p := agentOf(h, func(*config.Config) {})
		a.budget = b
		defer background(t, func(ctx context.Context) error { return a.keepBudget(ctx, p) })()
		pass(26 * time.Hour)
		texts := toldAs(r, reasonBudget)
		if len(texts) != 1 || !strings.HasPrefix(texts[0], "The budget is no longer scarce: 0 of the 1000 bytes of this day are used.") {
			t.Errorf("told on the next day: %q", texts)
		}
	})
}

func TestHeartbeatAndStatisticsLeaveThoughTheBudgetIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{limits: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.deliveries["ops"].budget = spent(t, 100)
		h.start()
		defer h.close()
		a, p := agentOf(h, func(c *config.Config) { c.Heartbeat, c.Report.At = time.Hour, "08:00" })
		defer background(t, func(ctx context.Context) error { return a.sendHeartbeats(ctx, p) })()
		defer background(t, func(ctx context.Context) error { return a.sendReports(ctx, p) })()
		for i := range 30 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		pass(12 * time.Hour)
		beats := toldAs(r, reasonHeartbeat)
		if len(beats) < 10 || len(beats) > 12 {
			t.Fatalf("%d heartbeats in twelve hours, want one an hour: %q", len(beats), beats)
		}
		for _, text := range beats {
			if text != "The agent is well. 30 further events wait to be told." {
				t.Errorf("%q while 30 events wait", text)
			}
		}
		if n := len(toldAs(r, reasonReport)); n != 1 {
			t.Errorf("the statistics were told %d times, want once", n)
		}
		if n := h.untold("ops"); n != 30 {
			t.Errorf("%d events wait, want 30", n)
		}
	})
}

// TestEachHeartbeatIsAMessageOfItsOwn: it is no repeat that is held back, though it comes more often than resolveAfter.
func TestEachHeartbeatIsAMessageOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		a, p := agentOf(h, func(c *config.Config) { c.Heartbeat = testPolicy.ResolveAfter / 3 })
		defer background(t, func(ctx context.Context) error { return a.sendHeartbeats(ctx, p) })()
		pass(12 * time.Hour)
		var last time.Time
		n := 0
		for _, m := range r.messages() {
			for _, in := range m.Incidents {
				if in.Reason != reasonHeartbeat {
					continue
				}
				if n++; !last.IsZero() && m.Now.Sub(last) > 13*time.Minute {
					t.Errorf("%s between two heartbeats, want ten minutes and a little", m.Now.Sub(last))
				}
				if last = m.Now; in.Occurrences != 1 || in.Message != "The agent is well. There was nothing to tell for 10m0s." {
					t.Errorf("%d × %q", in.Occurrences, in.Message)
				}
			}
		}
		if n < 60 {
			t.Errorf("%d heartbeats in twelve hours, want one each ten minutes", n)
		}
	})
}

// TestHeartbeatThatGoesAlongWithNewsDoesNotDenyIt: both fell due in an outage.
func TestHeartbeatThatGoesAlongWithNewsDoesNotDenyIt(t *testing.T) {
	for language, want := range map[string]string{"en": "The agent is well.", "zh": "代理运行正常。"} {
		synctest.Test(t, func(t *testing.T) {
			r := outage(3*time.Hour, 0)
			h := newHouse(t, map[string]notify.Receiver{"ops": r})
			h.deliveries["ops"].language = language
			h.start()
			defer h.close()
			a, p := agentOf(h, func(c *config.Config) { c.Heartbeat = time.Hour })
			defer background(t, func(ctx context.Context) error { return a.sendHeartbeats(ctx, p) })()
			pass(90 * time.Minute)
			h.show(warning("web", 10, 1, time.Now()))
			pass(2 * time.Hour)
			if texts := toldAs(r, reasonHeartbeat); len(texts) == 0 || texts[0] != want {
				t.Errorf("a heartbeat beside an incident says %q, want %q", texts, want)
			}
		})
	}
}

// TestReportAndHeartbeatFollowAReload: at once, and nothing says that a restart is needed.
func TestReportAndHeartbeatFollowAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		// A bubble begins at midnight.
		pass(time.Minute)
		r.reloadWith("timezone: UTC\nheartbeat: 5m\nreport: {at: \"00:20\"}\n", receiver("ops"))
		pass(25 * time.Minute)
		if n := len(toldAs(r.receiver("ops"), reasonHeartbeat)); n < 3 {
			t.Errorf("%d heartbeats in 25 minutes after a reload that asks for one each 5", n)
		}
		if n := len(toldAs(r.receiver("ops"), reasonReport)); n != 1 {
			t.Errorf("the statistics were told %d times at 00:20, want once", n)
		}
		if s := r.status(); len(s.Config.NeedsRestart) != 0 {
			t.Errorf("the status says %q", s.Config.NeedsRestart)
		}
	})
}

// TestReloadedZoneBoundsTheBudgetsDays: the day that is counted ends at midnight of the new zone.
func TestReloadedZoneBoundsTheBudgetsDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		r.close()
		const link = "link: {dailyBudget: 1Mi}\n"
		r.configure("timezone: UTC\n"+link, receiver("ops"))
		r.start()
		defer r.close()
		pass(15 * time.Hour)
		use(t, r.agent.budget, 1<<20)
		if level := r.agent.budget.Level(); level != budget.CriticalOnly {
			t.Fatalf("level %v", level)
		}
		r.reloadWith("timezone: Asia/Shanghai\n"+link, receiver("ops"))
		if level := r.agent.budget.Level(); level != budget.CriticalOnly {
			t.Errorf("level %v at 23:00 in Shanghai, the day is the same", level)
		}
		pass(61 * time.Minute)
		if level := r.agent.budget.Level(); level != budget.Free {
			t.Errorf("level %v at 00:01 in Shanghai, want free", level)
		}
	})
}
