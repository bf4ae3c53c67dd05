package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/notice"
)

// use spends bytes of a budget.
func use(t *testing.T, b *budget.Budget, bytes int) {
	t.Helper()
	b.Add("ops", budget.Count{Out: uint64(bytes)})
}

// TestReportAndHeartbeatFollowAReload: at once, and nothing says that a restart is needed.
func TestReportAndHeartbeatFollowAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		// A bubble begins at midnight.
		agenttest.Pass(time.Minute)
		r.reloadWith("timezone: UTC\nheartbeat: 5m\nreport: {at: \"00:20\"}\n", receiver("ops"))
		agenttest.Pass(25 * time.Minute)
		if n := len(r.receiver("ops").Texts(notice.Heartbeat)); n < 3 {
			t.Errorf("%d heartbeats in 25 minutes after a reload that asks for one each 5", n)
		}
		if n := len(r.receiver("ops").Texts(notice.Report)); n != 1 {
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
		agenttest.Pass(15 * time.Hour)
		use(t, r.agent.budget, 1<<20)
		if level := r.agent.budget.Level(); level != budget.CriticalOnly {
			t.Fatalf("level %v", level)
		}
		r.reloadWith("timezone: Asia/Shanghai\n"+link, receiver("ops"))
		if level := r.agent.budget.Level(); level != budget.CriticalOnly {
			t.Errorf("level %v at 23:00 in Shanghai, the day is the same", level)
		}
		agenttest.Pass(61 * time.Minute)
		if level := r.agent.budget.Level(); level != budget.Free {
			t.Errorf("level %v at 00:01 in Shanghai, want free", level)
		}
	})
}

func TestHeldRepeatsAreNotGivenUpForTheirAge(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"spool: {maxAge: 1h}\nreceivers: [{name: ops, type: stdout}]":                       5 * time.Hour,
		"spool: {maxAge: 12h}\nreceivers: [{name: ops, type: stdout}]":                      12 * time.Hour,
		"spool: {maxAge: 12h}\nreceivers: [{name: ops, type: stdout, repeatInterval: 24h}]": 25 * time.Hour,
	} {
		c, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := leastAge(c); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
