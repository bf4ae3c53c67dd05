package deliver_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/spool"
)

// TestLossesOfAKafkaRecordThatWasNotWrittenStayUntold: losses ride in the first record of a request.
func TestLossesOfAKafkaRecordThatWasNotWrittenStayUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		platform := &notifytest.KafkaRest{}
		r, stop := agenttest.ReceiverOn(t, configtest.Keys{Type: "kafka-rest", Topic: "all"}, notifytest.New(platform))
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		defer h.Close()
		h.Lose("ops", 700)
		first := agenttest.Observation(agenttest.Warning("newest", 11, 1, time.Now()), time.Now())
		in, _, _ := agenttest.Policy().Fold(nil, &first)
		platform.SetFailKeys(in.Alert(agenttest.Policy(), "shop-1", notify.Warning).ID)
		err := h.Spool.Update(func(tx *spool.Tx) error {
			older := agenttest.Observation(agenttest.Warning("older", 10, 1, time.Now().Add(-time.Minute)), time.Now())
			if _, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy(), &older); err != nil {
				return err
			}
			_, err := inbox.Fold(tx.Queue("ops"), agenttest.Policy(), &first)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		h.Start()
		agenttest.Pass(5500 * time.Millisecond)
		if n := len(platform.Records("all")); n != 1 {
			t.Fatalf("%d records were written, want the second one only", n)
		}
		if n := h.UntoldLoss("ops"); n != 700 {
			t.Errorf("%d lost events are still to be told, want 700: no record told of them", n)
		}
		platform.SetFailKeys()
		agenttest.Pass(time.Hour)
		told := 0
		for _, record := range platform.Records("all") {
			var value struct{ Losses []struct{ Events int } }
			if err := json.Unmarshal(record.Value, &value); err != nil {
				t.Fatal(err)
			}
			for _, l := range value.Losses {
				told += l.Events
			}
		}
		if n := h.UntoldLoss("ops"); n != 0 || told != 700 {
			t.Errorf("%d lost events told and %d untold, want 700 and 0", told, n)
		}
	})
}

// TestBodyWithoutTheMessageTellsNoLosses: a body of templates shows losses in the event's message, where it uses that.
func TestBodyWithoutTheMessageTellsNoLosses(t *testing.T) {
	for _, c := range []struct {
		template string
		told     bool
	}{
		{"{{ .Reason }} of {{ .Workload }}", false},
		{"{{ .Message }}", true},
		{"{{ .Message | truncate 12 }}", false},
		{"{{ .Message | upper }}", true},
		{"{{ len .Message }}", false},
		{"{{ toJson .Message }}", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			platform := notifytest.New(&notifytest.Webhook{})
			r, stop := agenttest.ReceiverOn(t, configtest.Keys{Type: "webhook", Body: map[string]any{"text": c.template}}, platform)
			defer stop()
			h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
			h.Start()
			defer h.Close()
			h.Lose("ops", 700)
			h.Show(agenttest.Warning("web", 10, 1, time.Now()))
			agenttest.Pass(time.Minute)
			received := platform.Received()
			if len(received) != 1 {
				t.Fatalf("%s: %d messages, want 1", c.template, len(received))
			}
			shown := strings.Contains(string(received[0].Body), "700")
			if untold := h.UntoldLoss("ops"); shown != c.told || c.told != (untold == 0) {
				t.Errorf("%s: %s tells the loss: %v; %d lost events are untold", c.template, received[0].Body, shown, untold)
			}
			if mute := h.Deliveries["ops"].Status().MuteOnLosses; mute == c.told {
				t.Errorf("%s: the status says that losses cannot be told: %v", c.template, mute)
			}
		})
	}
}

// TestLossesOfAMessageThatFailedStayUntold looks at receivers that tell losses beside the incidents.
func TestLossesOfAMessageThatFailedStayUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		platform := notifytest.New(&notifytest.Alertmanager{})
		platform.Fail(1, notifytest.Answer{Status: 503})
		r, stop := agenttest.ReceiverOn(t, configtest.Keys{Type: "alertmanager"}, platform)
		defer stop()
		h := agenttest.New(t, map[string]notify.Receiver{"ops": r})
		h.Start()
		defer h.Close()
		h.Lose("ops", 700)
		h.Show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(5100 * time.Millisecond)
		if n := h.UntoldLoss("ops"); n != 700 {
			t.Errorf("%d lost events are still to be told, want 700", n)
		}
		agenttest.Pass(time.Minute)
		if n := h.UntoldLoss("ops"); n != 0 {
			t.Errorf("%d lost events are still to be told after the message was taken", n)
		}
	})
}
