package notify_test

import (
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/elasticsearch"
	"github.com/edge-eventer/edge-eventer/notify/notifytest/engine"
	"github.com/edge-eventer/edge-eventer/notify/otlp"
)

// TestVictoriaLogsSaysYesToWhatItDrops is about the real engine, not about the agent: it holds what notify/ENGINES.md warns of. Once a
// newer version answers otherwise, the page and the receivers can say more.
func TestVictoriaLogsSaysYesToWhatItDrops(t *testing.T) {
	logs := engine.VictoriaLogs(t)
	asOTLP, asBulk := otlp.Defaults().(*otlp.Config), elasticsearch.Defaults().(*elasticsearch.Config)
	asOTLP.URL = notify.SecretValue(logs.URL + "/insert/opentelemetry")
	asBulk.Index = ""
	asBulk.URL = notify.SecretValue(logs.URL + "/insert/elasticsearch/?_time_field=@timestamp&_msg_field=message")
	for _, settings := range []notify.Settings{asOTLP, asBulk} {
		r, err := settings.New(notify.Common{Name: "logs", Cluster: "shop-17"})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for _, age := range []time.Duration{0, 8 * 24 * time.Hour} {
			m := notify.Sample("shop-17", time.Now())
			m.Incidents[0].LastSeen = m.Now.Add(-age)
			request, err := r.Render(m, notify.Full)
			if err != nil {
				t.Fatal(err)
			}
			// Twice, as after an answer that was lost.
			for range 2 {
				if err := r.Send(t.Context(), request); err != nil {
					t.Errorf("%T, %s old: %v", settings, age, err)
				}
			}
		}
	}
	if rows := logs.Logs(t, "*"); len(rows) != 4 {
		t.Errorf("%d rows, want two of either receiver: the young one, and its repeat\n%v", len(rows), rows)
	}
	if n := logs.Metric(t, "vl_rows_dropped_total", `reason="too_small_timestamp"`); n != 4 {
		t.Errorf("%v rows were dropped as too old, want 4", n)
	}
}
