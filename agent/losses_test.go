package agent

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/spool"
)

func (h *house) lose(receiver string, events uint64) {
	h.t.Helper()
	err := h.spool.Update(func(tx *spool.Tx) error {
		return tx.Queue(receiver).Lose(spool.Loss{Cause: spool.Evicted, Records: 1, Events: events})
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// untoldLoss returns how many lost events a receiver has not been told of.
func (h *house) untoldLoss(receiver string) (n uint64) {
	h.t.Helper()
	err := h.spool.View(func(tx *spool.Tx) error {
		for _, l := range tx.Queue(receiver).UntoldLosses() {
			n += l.Events
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// TestLossesOfAKafkaRecordThatWasNotWrittenStayUntold: losses ride in the first record of a request.
func TestLossesOfAKafkaRecordThatWasNotWrittenStayUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		platform := &notifytest.KafkaRest{}
		r, stop := receiverOn(t, configtest.Keys{Type: "kafka-rest", Topic: "all"}, notifytest.New(platform))
		defer stop()
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		defer h.close()
		h.lose("ops", 700)
		first := observationOf(warning("newest", 11, 1, time.Now()), time.Now())
		in, _, _ := testPolicy.Fold(nil, &first)
		platform.SetFailKeys(in.Alert(testPolicy, "shop-1", notify.Warning).ID)
		err := h.spool.Update(func(tx *spool.Tx) error {
			older := observationOf(warning("older", 10, 1, time.Now().Add(-time.Minute)), time.Now())
			if _, err := foldInto(tx.Queue("ops"), testPolicy, &older); err != nil {
				return err
			}
			_, err := foldInto(tx.Queue("ops"), testPolicy, &first)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		h.start()
		pass(5500 * time.Millisecond)
		if n := len(platform.Records("all")); n != 1 {
			t.Fatalf("%d records were written, want the second one only", n)
		}
		if n := h.untoldLoss("ops"); n != 700 {
			t.Errorf("%d lost events are still to be told, want 700: no record told of them", n)
		}
		platform.SetFailKeys()
		pass(time.Hour)
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
		if n := h.untoldLoss("ops"); n != 0 || told != 700 {
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
			r, stop := receiverOn(t, configtest.Keys{Type: "webhook", Body: map[string]any{"text": c.template}}, platform)
			defer stop()
			h := newHouse(t, map[string]notify.Receiver{"ops": r})
			h.start()
			defer h.close()
			h.lose("ops", 700)
			h.show(warning("web", 10, 1, time.Now()))
			pass(time.Minute)
			received := platform.Received()
			if len(received) != 1 {
				t.Fatalf("%s: %d messages, want 1", c.template, len(received))
			}
			shown := strings.Contains(string(received[0].Body), "700")
			if untold := h.untoldLoss("ops"); shown != c.told || c.told != (untold == 0) {
				t.Errorf("%s: %s tells the loss: %v; %d lost events are untold", c.template, received[0].Body, shown, untold)
			}
			if mute := h.deliveries["ops"].Status().MuteOnLosses; mute == c.told {
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
		r, stop := receiverOn(t, configtest.Keys{Type: "alertmanager"}, platform)
		defer stop()
		h := newHouse(t, map[string]notify.Receiver{"ops": r})
		h.start()
		defer h.close()
		h.lose("ops", 700)
		h.show(warning("web", 10, 1, time.Now()))
		pass(5100 * time.Millisecond)
		if n := h.untoldLoss("ops"); n != 700 {
			t.Errorf("%d lost events are still to be told, want 700", n)
		}
		pass(time.Minute)
		if n := h.untoldLoss("ops"); n != 0 {
			t.Errorf("%d lost events are still to be told after the message was taken", n)
		}
	})
}
