package agent

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// agentOf is an agent around a house, for the loops that need its configuration.
func agentOf(h *house, change func(*config.Config)) (*Agent, *parts) {
	c := config.Default()
	change(c)
	p := &parts{spool: h.spool, intake: h.intake}
	p.own = &ownIncidents{spool: h.spool, routes: h.intake.routing, arrived: h.intake.arrived, host: "shop-1"}
	for _, d := range h.deliveries {
		p.workers = append(p.workers, &worker{delivery: d})
	}
	return &Agent{config: c, current: c, started: time.Now(), logger: h.intake.logger, parts: p}, p
}

func TestDailyStatisticsAreToldOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.intake.daily = true
		h.start()
		defer h.close()
		a, p := agentOf(h, func(c *config.Config) { c.Report.At = "08:00" })
		done := make(chan error, 1)
		ctx, stop := withStop()
		go func() { done <- a.sendReports(ctx, p) }()
		for i := range 60 {
			h.show(warning("web", 10+i, 1+i, time.Now()))
			pass(time.Minute)
		}
		for i := range 2 * maxDailyRows {
			h.show(warning(fmt.Sprintf("job%d", i), 1000+i, 1, time.Now()))
		}
		pass(72 * time.Hour)
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var reports []string
		for _, m := range r.messages() {
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
		if want := fmt.Sprintf("\n%d further failures of other workloads", maxDailyRows+1); !strings.HasSuffix(reports[0], want) {
			t.Errorf("the report does not end with %q:\n%s", want, reports[0])
		}
		if reports[1] != "No failure." {
			t.Errorf("the report of a quiet day is %q", reports[1])
		}
	})
}

func TestFullStatisticsFitIntoAValueOfTheSpool(t *testing.T) {
	h := newHouse(t, map[string]notify.Receiver{"ops": &scripted{}})
	defer h.close()
	d := new(daily)
	for i := range 100 {
		e := warning(fmt.Sprintf("%0100d", i), 10, 1<<30, time.Now())
		e.Reason = strings.Repeat("\x01", i%50) + fmt.Sprint(i)
		o := observationOf(e, time.Now())
		d.add(&o)
	}
	if err := h.spool.Update(d.write); err != nil {
		t.Error(err)
	}
	sum := d.Others
	for _, r := range d.Rows {
		sum += r.Count
	}
	if want := uint64(100 << 30); sum != want {
		t.Errorf("the rows and the others make %d, want %d", sum, want)
	}
}

func TestHeartbeatIsSentOnlyAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		a, p := agentOf(h, func(c *config.Config) { c.Heartbeat = 24 * time.Hour })
		done := make(chan error, 1)
		ctx, stop := withStop()
		go func() { done <- a.sendHeartbeats(ctx, p) }()
		for i := range 3 * 24 {
			h.show(warning(fmt.Sprintf("web%d", i), 10+i, 1, time.Now()))
			pass(time.Hour)
		}
		if n := countReason(r, "Heartbeat"); n != 0 {
			t.Errorf("%d heartbeats while there was something to tell, want none", n)
		}
		pass(73 * time.Hour)
		if n := countReason(r, "Heartbeat"); n < 2 || n > 3 {
			t.Errorf("%d heartbeats in three quiet days, want 2 or 3", n)
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func countReason(r *scripted, reason string) (n int) {
	for _, m := range r.messages() {
		for _, i := range m.Incidents {
			if i.Reason == reason {
				n++
			}
		}
	}
	return n
}

func TestAbsenceLongerThanEventsLiveIsToldAsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &scripted{}
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.list("12", false, warning("a", 10, 1, time.Now()))
		pass(50 * time.Minute)
		h.list("20", false, warning("b", 15, 1, time.Now()))
		pass(3 * time.Hour)
		seen := time.Now()
		h.list("90", false, warning("c", 80, 1, seen))
		pass(time.Minute)
		h.show(warning("d", 91, 1, time.Now()))
		pass(time.Minute)
		var losses []notify.Loss
		for _, m := range r.messages() {
			losses = append(losses, m.Losses...)
		}
		if len(losses) != 1 || losses[0].Cause != spool.Unseen {
			t.Fatalf("losses told: %+v, want one gap", losses)
		}
		if away := seen.Sub(losses[0].Since); away < 3*time.Hour-time.Minute || away > 3*time.Hour+time.Minute {
			t.Errorf("the gap is said to be %v long, it was 3h", away)
		}
	})
}

func TestConfiguredDeliveryReachesTheDelivery(t *testing.T) {
	h := newHouse(t, nil)
	defer h.close()
	a, _ := agentOf(h, func(*config.Config) {})
	c, err := config.Parse([]byte(`receivers:
  - {name: ops, type: stdout, timeout: 7s, maxBackoff: 8s, digestAfter: 9, digestAge: 11m, groupWait: 1s, groupInterval: 2m, repeatInterval: 3h, resolveAfter: 4m}
`))
	if err != nil {
		t.Fatal(err)
	}
	route, err := routeTo(&c.Receivers[0])
	if err != nil {
		t.Fatal(err)
	}
	d := a.deliveryTo(c, &c.Receivers[0], &scripted{}, h.spool, route.policy)
	if d.timeout != 7*time.Second || d.maxBackoff != 8*time.Second || d.digestAfter != 9 || d.digestAge != 11*time.Minute {
		t.Errorf("timeout %v, maxBackoff %v, digestAfter %d, digestAge %v", d.timeout, d.maxBackoff, d.digestAfter, d.digestAge)
	}
	p := d.policy
	if p.GroupWait != time.Second || p.GroupInterval != 2*time.Minute || p.RepeatInterval != 3*time.Hour || p.ResolveAfter != 4*time.Minute {
		t.Errorf("policy %+v", p)
	}
}
