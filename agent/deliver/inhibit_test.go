package deliver_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/inhibit"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/agent/mute"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/notify"
)

// inhibited runs f with a pipeline whose receiver ops has the built-in rules of inhibition.
func inhibited(t *testing.T, f func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rules, err := inhibit.New(nil, true)
		if err != nil {
			t.Fatal(err)
		}
		var sources inhibit.Sources
		sources.Replace(rules, agenttest.Policy().ResolveAfter)
		r := person()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Options["ops"].Muter = &mute.Muter{Sources: &sources}
		// The source stays in the queue for longer than it holds others back: what it held is not told because it wakes the delivery.
		policy := agenttest.Policy()
		policy.ResolveAfter = 45 * time.Minute
		h.SetPolicy("ops", policy)
		h.IntakeOptions.Observed = func(o *incident.Observation) {
			in := &incident.Incident{Event: o.Event, Workload: o.Workload, Own: o.Own}
			sources.Observe(&matcher.Subject{Incident: in, Severity: agenttest.SeverityOf(o.Event.Reason)}, o.At)
		}
		h.Start()
		defer h.Close()
		f(t, h, r)
	})
}

// onNode is an event of a deployment's pod on a node.
func onNode(node, workload string, version int) event.Event {
	e := agenttest.Warning(workload, version, 2, time.Now())
	e.Reason, e.Source.Host = "Unhealthy", node
	return e
}

func TestNodeIsToldWithTheNumberOfWhatItHoldsBack(t *testing.T) {
	inhibited(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.Show(nodeNotReady("pi-4", 10))
		for i := range 14 {
			h.Show(onNode("pi-4", fmt.Sprintf("web%d", i), 100+i))
		}
		h.Show(onNode("pi-5", "db", 200))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"pi-4": 1, "db": 1})
		text := ""
		for _, m := range r.Messages() {
			for _, in := range m.Incidents {
				if in.Workload == "pi-4" {
					text = in.Message
				}
			}
		}
		if !strings.HasPrefix(text, "Held back as its consequence: 14 incidents with 28 events of 14 objects.\n") {
			t.Errorf("the node's message says %s", text)
		}
		if n := h.Untold("ops"); n != 0 {
			t.Errorf("%d observations wait though the node's message counted them", n)
		}
	})
}

// TestWhatOutlivesItsSourceIsTold: a pod goes on while its node is away, and after that was last said.
func TestWhatOutlivesItsSourceIsTold(t *testing.T) {
	inhibited(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		h.Show(nodeNotReady("pi-4", 10))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"pi-4": 1})
		for i := range 7 {
			e := onNode("pi-4", "web", 100+i)
			e.Count = int32(i + 1)
			h.Show(e)
			agenttest.Pass(4 * time.Minute)
		}
		agenttest.WantTold(t, r, map[string]int{"pi-4": 1})
		want := status.Muted{Reason: "inhibition", Name: "node", Incidents: 1, Events: 7}
		if got := h.Deliveries["ops"].Status().Muted; len(got) != 1 || got[0] != want {
			t.Errorf("the status says that %+v are held back, want %+v", got, want)
		}
		agenttest.Pass(2 * time.Minute)
		agenttest.WantTold(t, r, map[string]int{"pi-4": 1, "web": 1})
		if r.Told() != 8 || h.Untold("ops") != 0 {
			t.Errorf("%d observations were told, %d wait; want all 8 told", r.Told(), h.Untold("ops"))
		}
	})
}

// TestSourceThatAReceiverIsNotToldOfHoldsNothingBackFromIt: the node goes to another receiver only.
func TestSourceThatAReceiverIsNotToldOfHoldsNothingBackFromIt(t *testing.T) {
	inhibited(t, func(t *testing.T, h *agenttest.Pipeline, r *agenttest.Receiver) {
		node := nodeNotReady("pi-4", 10)
		o := agenttest.Observation(node, time.Now())
		h.IntakeOptions.Observed(&o)
		h.Show(onNode("pi-4", "web", 100))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r, map[string]int{"web": 1})
	})
}
