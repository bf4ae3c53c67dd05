package notify_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

func TestWebhookKeyIsStableForTheSameContent(t *testing.T) {
	s := webhookSubject()
	server, r := s.start(t)
	m := message(many(3)...)
	first := render(t, r, m, notify.Full)
	later := *m
	later.Now = m.Now.Add(time.Hour)
	again := render(t, r, &later, notify.Full)
	if first.Header["Idempotency-Key"] == "" || first.Header["Idempotency-Key"] != again.Header["Idempotency-Key"] {
		t.Errorf("keys %q and %q", first.Header, again.Header)
	}
	if diff := cmp.Diff(string(first.Body), string(again.Body)); diff != "" {
		t.Errorf("a repeat has other bytes: %s", diff)
	}
	for _, request := range []*notify.Request{first, again} {
		if err := r.Send(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if len(server.Received()) != 1 {
		t.Errorf("%d messages were taken, want 1: the second is a repeat", len(server.Received()))
	}
	changed := message(many(3)...)
	changed.Incidents[0].ID = "another"
	withLoss := *m
	withLoss.Losses = losses()
	for _, other := range []*notify.Message{changed, message(many(2)...), &withLoss} {
		if render(t, r, other, notify.Full).Header["Idempotency-Key"] == first.Header["Idempotency-Key"] {
			t.Error("another content has the same key")
		}
	}
}

func TestWebhookDocumentReadsLikeACoreV1Event(t *testing.T) {
	s := webhookSubject()
	server, r := s.start(t, func(c *configtest.Keys) { c.Gzip = true; c.Method = http.MethodPut })
	if err := send(t, r); err != nil {
		t.Fatal(err)
	}
	got := server.Received()[0]
	if got.Method != http.MethodPut || got.Header.Get("Content-Encoding") != "gzip" || got.Header.Get("User-Agent") != "edge-eventer" {
		t.Errorf("%s %v", got.Method, got.Header)
	}
	var d struct {
		Version   int
		Cluster   string
		Batch     string
		Incidents []struct {
			ID          string
			Severity    string
			Occurrences int
			Untold      int
			Event       struct {
				Metadata       struct{ UID, ResourceVersion string }
				InvolvedObject struct{ Kind, Name string }
				Reason         string
				FirstTimestamp time.Time
				Source         struct{ Component string }
			}
		}
	}
	if err := json.Unmarshal(got.Body, &d); err != nil {
		t.Fatal(err)
	}
	in := plainIncident()
	i := d.Incidents[0]
	if d.Version != 1 || d.Cluster != "shop-1" || d.Batch != got.Header.Get("Idempotency-Key") || i.ID != in.ID ||
		i.Event.Metadata.UID != in.UID || i.Event.InvolvedObject.Name != in.InvolvedObject.Name || !i.Event.FirstTimestamp.Equal(in.FirstTimestamp) ||
		i.Event.Source.Component != "kubelet" || i.Occurrences != 312 || i.Untold != 9 {
		t.Errorf("document %s", got.Body)
	}
}

func TestWebhookBatchIsBounded(t *testing.T) {
	s := webhookSubject()
	few := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.BatchMax = 7 })
	if request := render(t, few, message(many(50)...), notify.Full); request.Incidents != 7 || few.Limits().Batch != 7 {
		t.Errorf("%d incidents, want 7", request.Incidents)
	}
	small := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.BatchBytes = 16 << 10 })
	request := render(t, small, message(many(50)...), notify.Full)
	if len(request.Body) > 16<<10 || request.Incidents < 5 || request.Incidents >= 50 {
		t.Errorf("%d incidents in %d bytes", request.Incidents, len(request.Body))
	}
	if small.Limits().BatchBytes != 16<<10 {
		t.Errorf("limits %+v", small.Limits())
	}
}

func TestWebhookSuccessIsWhatTheConfigurationAsks(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*configtest.Keys)
		answer  notifytest.Answer
		outcome any
	}{
		{"status", func(c *configtest.Keys) { c.SuccessStatus = []int{202} }, status(202, ""), nil},
		{"other 2xx", func(c *configtest.Keys) { c.SuccessStatus = []int{202} }, status(200, ""), notify.Retry},
		{"odd status", func(c *configtest.Keys) { c.SuccessStatus = []int{409} }, status(409, ""), nil},
		{"json", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"errcode": 0} }, body(`{"errcode":0,"errmsg":"ok"}`), nil},
		{"json uint64", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"errcode": uint64(0)} }, body(`{"errcode":0}`), nil},
		{"json code", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"errcode": 0} }, body(`{"errcode":310000}`), notify.Retry},
		{"json missing", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"errcode": 0} }, body(`{}`), notify.Retry},
		{"json null", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"errcode": nil} }, body(`{}`), notify.Retry},
		{"json portal", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"errcode": 0} }, body(`<html>`), notify.Retry},
		{"json nested", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"data.ok": true} }, body(`{"data":{"ok":true}}`), nil},
		{"json tree", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"data": map[string]any{"ok": true}} }, body(`{"data":{"ok":true}}`), nil},
		{"json with 500", func(c *configtest.Keys) { c.SuccessJSON = map[string]any{"ok": true} }, status(500, `{"ok":true}`), notify.Retry},
	} {
		s := webhookSubject()
		server, r := s.start(t, c.change)
		server.Fail(1, c.answer)
		err := send(t, r)
		var got any
		if err != nil {
			got = failure(t, err).Outcome
		}
		if got != c.outcome {
			t.Errorf("%s: %v, want %v", c.name, err, c.outcome)
		}
	}
}

func TestSecretFileIsReadAtEachSend(t *testing.T) {
	s := webhookSubject()
	path := filepath.Join(t.TempDir(), "token")
	server, r := s.start(t, func(c *configtest.Keys) {
		c.Header = map[string]notify.Secret{"Authorization": notify.SecretFile(path)}
	})
	for _, c := range []struct {
		text string
		ok   bool
	}{{"Bearer old\n", false}, {"Bearer " + webhookToken + "\n", true}} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := send(t, r); (err == nil) != c.ok {
			t.Errorf("token %q: %v", c.text, err)
		}
	}
	if diff := cmp.Diff(1, len(server.Received())); diff != "" {
		t.Error(diff)
	}
}
