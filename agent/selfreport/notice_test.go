package selfreport_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/notice"
	"github.com/edge-eventer/edge-eventer/notify"
)

// use spends bytes of a budget.
func use(t *testing.T, b *budget.Budget, bytes int) {
	t.Helper()
	b.Add("ops", budget.Count{Out: uint64(bytes)})
}

// background runs a loop of the agent until the returned function is called.
func background(t *testing.T, loop func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
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
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		b := spent(t, 85)
		h.Options["ops"].Budget = b
		h.Start()
		defer h.Close()
		defer background(t, func(ctx context.Context) error { return reporterOf(h).Budget(ctx, b) })()
		agenttest.Pass(2 * time.Minute)
		if texts := r.Texts(notice.Budget); len(texts) != 1 || !strings.Contains(texts[0], "at most one an hour") {
			t.Fatalf("told of four fifths: %q", texts)
		}
		use(t, b, 150)
		agenttest.Pass(2 * time.Minute)
		texts := r.Texts(notice.Budget)
		if len(texts) != 2 || !strings.HasPrefix(texts[1], "1000 of the 1000 bytes of this day are used") || !strings.Contains(texts[1], "Only critical") {
			t.Errorf("told two minutes after the budget was used up: %q", texts)
		}
	})
}

// TestNoticeOfTheBudgetSaysWhatIsTrueWhenItLeaves: the link comes back on the next day.
func TestNoticeOfTheBudgetSaysWhatIsTrueWhenItLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := agenttest.Outage(25*time.Hour, 0)
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		b := spent(t, 100)
		h.Options["ops"].Budget = b
		h.Start()
		defer h.Close()
		defer background(t, func(ctx context.Context) error { return reporterOf(h).Budget(ctx, b) })()
		agenttest.Pass(26 * time.Hour)
		texts := r.Texts(notice.Budget)
		if len(texts) != 1 || !strings.HasPrefix(texts[0], "The budget is no longer scarce: 0 of the 1000 bytes of this day are used.") {
			t.Errorf("told on the next day: %q", texts)
		}
	})
}

func TestHeartbeatAndStatisticsLeaveThoughTheBudgetIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{Bounds: notify.Limits{Batch: 50, BatchBytes: 256 << 10, Digest: true}}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Budget = spent(t, 100)
		h.Start()
		defer h.Close()
		set, started := settings(func(c *config.Config) { c.Heartbeat, c.Report.At = time.Hour, "08:00" }), time.Now()
		defer background(t, func(ctx context.Context) error { return reporterOf(h).Heartbeats(ctx, set, started, lastDelivered(h)) })()
		defer background(t, func(ctx context.Context) error { return reporterOf(h).Daily(ctx, set, started) })()
		for i := range 30 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
		}
		agenttest.Pass(12 * time.Hour)
		beats := r.Texts(notice.Heartbeat)
		if len(beats) < 10 || len(beats) > 12 {
			t.Fatalf("%d heartbeats in twelve hours, want one an hour: %q", len(beats), beats)
		}
		for _, text := range beats {
			if text != "The agent is well. 30 further events wait to be told." {
				t.Errorf("%q while 30 events wait", text)
			}
		}
		if n := len(r.Texts(notice.Report)); n != 1 {
			t.Errorf("the statistics were told %d times, want once", n)
		}
		if n := h.Untold("ops"); n != 30 {
			t.Errorf("%d events wait, want 30", n)
		}
	})
}

// TestEachHeartbeatIsAMessageOfItsOwn: it is no repeat that is held back, though it comes more often than resolveAfter.
func TestEachHeartbeatIsAMessageOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		set, started := settings(func(c *config.Config) { c.Heartbeat = agenttest.Policy().ResolveAfter / 3 }), time.Now()
		defer background(t, func(ctx context.Context) error { return reporterOf(h).Heartbeats(ctx, set, started, lastDelivered(h)) })()
		agenttest.Pass(12 * time.Hour)
		var last time.Time
		n := 0
		for _, m := range r.Messages() {
			for _, in := range m.Incidents {
				if in.Reason != notice.Heartbeat {
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
			r := agenttest.Outage(3*time.Hour, 0)
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			h.Options["ops"].Language = language
			h.Start()
			defer h.Close()
			set, started := settings(func(c *config.Config) { c.Heartbeat = time.Hour }), time.Now()
			defer background(t, func(ctx context.Context) error { return reporterOf(h).Heartbeats(ctx, set, started, lastDelivered(h)) })()
			agenttest.Pass(90 * time.Minute)
			h.Show(agenttest.Warning("web", 10, 1, time.Now()))
			agenttest.Pass(2 * time.Hour)
			if texts := r.Texts(notice.Heartbeat); len(texts) == 0 || texts[0] != want {
				t.Errorf("a heartbeat beside an incident says %q, want %q", texts, want)
			}
		})
	}
}
