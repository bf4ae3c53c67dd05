package agent

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/fleet"
	"github.com/edge-eventer/edge-eventer/agent/page"
)

// TestEngineIsToldHowTheSiteStands runs an agent beside whose engine nobody reads: its records are no news for people.
func TestEngineIsToldHowTheSiteStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, "{name: engine, type: otlp, url: 'http://127.0.0.1:1/'}")
		defer r.close()
		agenttest.Pass(4 * time.Minute)
		messages := r.receiver("engine").Messages()
		if len(messages) != 1 || len(messages[0].Incidents) != 1 {
			t.Fatalf("the engine was told %+v", messages)
		}
		var record fleet.Record
		in := &messages[0].Incidents[0]
		if err := json.Unmarshal([]byte(in.Message), &record); err != nil || in.Reason != fleet.Reason || len(in.Message) > fleet.MaxBytes {
			t.Fatalf("%s: %s: %v", in.Reason, in.Message, err)
		}
		// Nobody watches here, so the site is not ready.
		if record.Up != 60 || record.Ready || record.Budget != "free" || record.SpoolMax != 16<<20 {
			t.Errorf("the record is %+v", record)
		}
		if s := r.status(); len(s.Deliveries) != 0 || s.Receivers[0].Delivered != 1 {
			t.Errorf("%d were delivered, and the last deliveries are %+v", s.Receivers[0].Delivered, s.Deliveries)
		}
		if err := r.agent.eachIncident(func(in page.Incident) bool { t.Errorf("the page shows %+v", in); return true }); err != nil {
			t.Error(err)
		}
	})
}
