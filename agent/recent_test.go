package agent

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/notify"
)

func TestANightOfFailuresIsOneDelivery(t *testing.T) {
	var r recent
	begin := time.Now()
	r.add(control.Delivery{Receiver: "ops", Outcome: "ok", At: begin})
	for i := range 100 {
		r.add(control.Delivery{Receiver: "ops", Outcome: "retry", At: begin.Add(time.Duration(i+1) * time.Minute)})
		r.add(control.Delivery{Receiver: "other", Outcome: "bad_target", At: begin.Add(time.Duration(i+1) * time.Minute)})
	}
	list := r.newest()
	if len(list) != 3 || list[1].Attempts != 100 || !list[1].First.Equal(begin.Add(time.Minute)) || !r.lastOK("ops").Equal(begin) {
		t.Errorf("%+v", list)
	}
}

func TestDeliveriesAreBoundedInMemoryAndOnDisk(t *testing.T) {
	var r recent
	for i := range 3 * maxRecent {
		r.add(control.Delivery{Receiver: strings.Repeat("x", 63), Outcome: "ok", At: time.Unix(int64(i), 0), Events: 1 << 60, Incidents: 1 << 30})
	}
	data := r.save(maxStored)
	var again recent
	if err := again.load(data); err != nil {
		t.Fatal(err)
	}
	list := again.newest()
	if len(r.newest()) != maxRecent || len(data) > maxStored || len(list) < 15 || list[0].At.Unix() != 3*maxRecent-1 {
		t.Errorf("%d in memory, %d on disk in %d bytes", len(r.newest()), len(list), len(data))
	}
	if err := again.load([]byte("[{")); err == nil || len(again.newest()) != len(list) {
		t.Errorf("damaged: error %v, %d deliveries", err, len(again.newest()))
	}
}

// TestHistoryAndDeliveriesSurviveARestart stops an agent that has delivered, and starts another on its spool.
func TestHistoryAndDeliveriesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		r.show(warning("web", 1, 3, time.Now()), warning("db", 2, 1, time.Now()))
		pass(2 * time.Hour)
		before := r.status()
		samples := len(r.agent.history.Samples())
		// The second is the agent's own: nobody watches here, which it tells after five minutes.
		if n := len(before.Deliveries); n != 2 || before.Deliveries[1].Incidents != 2 || before.Deliveries[1].Events != 4 || before.Deliveries[1].Outcome != "ok" {
			t.Errorf("deliveries: %+v", before.Deliveries)
		}
		r.restart()
		defer r.close()
		synctest.Wait()
		after := r.status()
		if len(after.Deliveries) != 2 || after.Receivers[0].LastDelivered.Unix() != before.Receivers[0].LastDelivered.Unix() {
			t.Errorf("after the restart: deliveries %+v, last at %s", after.Deliveries, after.Receivers[0].LastDelivered)
		}
		if n := len(r.agent.history.Samples()); samples < 24 || n < samples {
			t.Errorf("%d samples before the restart, %d after it", samples, n)
		}
	})
}

// TestHistoryCostsNoCommitOfItsOwn counts the commits of a quiet day: one each half an hour, which note that the watch is well, and
// one when the budget's day ends.
func TestHistoryCostsNoCommitOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		pass(time.Hour + time.Minute)
		before := r.agent.syncs.read()
		pass(24 * time.Hour)
		after := r.agent.syncs.read()
		if n := after.Count() - before.Count(); n > 49 {
			t.Errorf("%d commits in a quiet day, want one each half an hour and one when the budget's day ends", n)
		}
	})
}

func TestRefusedDeliveryIsNotedWithItsOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		r.receiver("ops").answer = func(context.Context, *notify.Message, notify.Form) error {
			return &notify.Error{Outcome: notify.BadTarget, Reason: "no such bot"}
		}
		r.show(warning("web", 1, 1, time.Now()))
		pass(time.Hour)
		s := r.status()
		if len(s.Deliveries) != 1 || s.Deliveries[0].Outcome != "bad_target" || s.Deliveries[0].Attempts < 3 || s.Deliveries[0].First.IsZero() {
			t.Errorf("deliveries: %+v", s.Deliveries)
		}
	})
}
