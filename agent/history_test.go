package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// TestHistoryAndDeliveriesSurviveARestart stops an agent that has delivered, and starts another on its spool.
func TestHistoryAndDeliveriesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		r.show(agenttest.Warning("web", 1, 3, time.Now()), agenttest.Warning("db", 2, 1, time.Now()))
		agenttest.Pass(2 * time.Hour)
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
		agenttest.Pass(time.Hour + time.Minute)
		before := r.agent.syncs.Read()
		agenttest.Pass(24 * time.Hour)
		after := r.agent.syncs.Read()
		if n := after.Count() - before.Count(); n > 49 {
			t.Errorf("%d commits in a quiet day, want one each half an hour and one when the budget's day ends", n)
		}
	})
}

func TestRefusedDeliveryIsNotedWithItsOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		r.receiver("ops").Answer = func(context.Context, *notify.Message, notify.Form) error {
			return &notify.Error{Outcome: notify.BadTarget, Reason: "no such bot"}
		}
		r.show(agenttest.Warning("web", 1, 1, time.Now()))
		agenttest.Pass(time.Hour)
		s := r.status()
		if len(s.Deliveries) != 1 || s.Deliveries[0].Outcome != "bad_target" || s.Deliveries[0].Attempts < 3 || s.Deliveries[0].First.IsZero() {
			t.Errorf("deliveries: %+v", s.Deliveries)
		}
	})
}
