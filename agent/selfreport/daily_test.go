package selfreport_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/notice"
	"github.com/edge-eventer/edge-eventer/agent/selfreport"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// reporterOf tells of an agent whose stages are those of h.
func reporterOf(h *agenttest.Pipeline) *selfreport.Reporter {
	return &selfreport.Reporter{
		Spool: h.Spool, Routes: h.Intake.Routes, Arrived: h.IntakeOptions.Arrived, Host: "shop-1", Logger: slog.New(slog.DiscardHandler),
	}
}

// settings are those of a configuration that no reload replaces.
func settings(change func(*config.Config)) selfreport.Settings {
	c := config.Default()
	change(c)
	return func() (*config.Config, <-chan struct{}) { return c, nil }
}

// lastDelivered returns when each receiver of h last confirmed a message.
func lastDelivered(h *agenttest.Pipeline) func() map[string]time.Time {
	return func() map[string]time.Time {
		last := make(map[string]time.Time)
		for name, d := range h.Deliveries {
			last[name] = d.Status().LastDelivered
		}
		return last
	}
}

func TestDailyStatisticsAreToldOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Rules.Daily = true
		h.Start()
		defer h.Close()
		at8 := settings(func(c *config.Config) { c.Report.At = "08:00" })
		started := time.Now()
		stop := background(t, func(ctx context.Context) error { return reporterOf(h).Daily(ctx, at8, started) })
		for i := range 60 {
			h.Show(agenttest.Warning("web", 10+i, 1+i, time.Now()))
			agenttest.Pass(time.Minute)
		}
		for i := range 2 * 32 {
			h.Show(agenttest.Warning(fmt.Sprintf("job%d", i), 1000+i, 1, time.Now()))
		}
		agenttest.Pass(72 * time.Hour)
		stop()
		var reports []string
		for _, m := range r.Messages() {
			for _, i := range m.Incidents {
				if i.Reason == "DailyStatistics" {
					reports = append(reports, i.Message)
				}
			}
		}
		if len(reports) != 3 {
			t.Fatalf("%d reports in three days, want 3:\n%s", len(reports), strings.Join(reports, "\n--\n"))
		}
		if first, _, _ := strings.Cut(reports[0], "\n"); !strings.HasPrefix(first, "60 × BackOff Pod shop/web, ") {
			t.Errorf("first line %q", first)
		}
		if want := fmt.Sprintf("\n%d further failures of other workloads", 32+1); !strings.HasSuffix(reports[0], want) {
			t.Errorf("the report does not end with %q:\n%s", want, reports[0])
		}
		if want := "No failure.\ngone: BackOff Pod shop/web, BackOff Pod shop/job0, "; !strings.HasPrefix(reports[1], want) || !strings.HasSuffix(reports[1], " and 27 more") {
			t.Errorf("the report of the first quiet day is %q", reports[1])
		}
		if reports[2] != "No failure." {
			t.Errorf("the report of a quiet day is %q", reports[2])
		}
	})
}

func TestHeartbeatIsSentOnlyAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		daily := settings(func(c *config.Config) { c.Heartbeat = 24 * time.Hour })
		started := time.Now()
		stop := background(t, func(ctx context.Context) error {
			return reporterOf(h).Heartbeats(ctx, daily, started, lastDelivered(h))
		})
		for i := range 3 * 24 {
			h.Show(agenttest.Warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			agenttest.Pass(time.Hour)
		}
		if n := len(r.Texts("Heartbeat")); n != 0 {
			t.Errorf("%d heartbeats while there was something to tell, want none", n)
		}
		agenttest.Pass(73 * time.Hour)
		if n := len(r.Texts("Heartbeat")); n < 2 || n > 3 {
			t.Errorf("%d heartbeats in three quiet days, want 2 or 3", n)
		}
		stop()
	})
}

// TestReportOfAClockThatRanAheadHoldsNoLaterOne: the last report was noted ten days from now.
func TestReportOfAClockThatRanAheadHoldsNoLaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &agenttest.Receiver{}
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		ahead, err := time.Now().Add(240 * time.Hour).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Spool.Update(func(tx *spool.Tx) error { return tx.SetValue("daily-sent", ahead) }); err != nil {
			t.Fatal(err)
		}
		at8, started := settings(func(c *config.Config) { c.Report.At = "08:00" }), time.Now()
		defer background(t, func(ctx context.Context) error { return reporterOf(h).Daily(ctx, at8, started) })()
		agenttest.Pass(24 * time.Hour)
		if n := len(r.Texts(notice.Report)); n != 1 {
			t.Errorf("%d reports within a day, want one", n)
		}
	})
}
