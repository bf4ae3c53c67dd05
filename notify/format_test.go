package notify_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/kafkarest"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/webhook"
)

// The consumers that are in use, in the few fields that they read. Their shapes are those that AliyunContainerService/kube-eventer
// (sinks/kafka: KafkaSinkPoint) and heptiolabs/eventrouter (sinks/eventdata.go: EventData) declare.
type (
	// kubeEventerPoint is read by the Python scripts beside a kube-eventer.
	kubeEventerPoint struct {
		EventValue     any
		EventTimestamp string
		EventTags      map[string]string
	}
	// eventData is read by Go consumers that fan out by event.metadata.namespace.
	eventData struct {
		Verb  string `json:"verb"`
		Event *struct {
			Metadata struct{ Namespace, Name, UID string }  `json:"metadata"`
			Involved struct{ Kind, Name, Namespace string } `json:"involvedObject"`
			Reason   string                                 `json:"reason"`
			Message  string                                 `json:"message"`
			Source   struct{ Component, Host string }       `json:"source"`
			Count    int                                    `json:"count"`
			Type     string                                 `json:"type"`
		} `json:"event"`
		OldEvent json.RawMessage `json:"old_event"`
	}
)

// readOn is what a consumer of the format does with a record, and returns the message of the event.
func readOn(t *testing.T, format string, value []byte) string {
	t.Helper()
	decode := func(data []byte, v any) {
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatalf("%s: %v in %s", format, err, data)
		}
	}
	switch format {
	case record.FormatKubeEventer:
		var p kubeEventerPoint
		decode(value, &p)
		text, ok := p.EventValue.(string)
		if !ok || p.EventTimestamp == "" || p.EventTags["eventID"] == "" || p.EventTags["hostname"] != "pi-4b-01" || p.EventTags["pod_name"] == "" {
			t.Errorf("%s: %s", format, value)
		}
		value = []byte(`{"verb":"ADDED","event":` + text + `}`)
	case record.FormatCloudEvents:
		var e struct {
			SpecVersion, ID, Source, Type string
			Data                          struct{ Event json.RawMessage }
		}
		decode(value, &e)
		if e.SpecVersion != "1.0" || e.ID == "" || e.Source != "/edge-eventer/shop-1" {
			t.Errorf("%s: %s", format, value)
		}
		value = []byte(`{"verb":"ADDED","event":` + string(e.Data.Event) + `}`)
	}
	var d eventData
	decode(value, &d)
	if d.Event == nil {
		t.Fatalf("%s: no event in %s", format, value)
	}
	if d.Verb != "ADDED" && d.Verb != "UPDATED" || d.Event.Metadata.Namespace != "shop" || d.Event.Metadata.UID == "" || d.Event.Reason != "BackOff" ||
		d.Event.Involved.Name == "" || d.Event.Source.Component != "kubelet" || d.Event.Type != "Warning" || len(d.OldEvent) != 0 {
		t.Errorf("%s: %+v", format, d)
	}
	return d.Event.Message
}

var foreignFormats = []string{record.FormatCloudEvents, record.FormatKubeEventer, record.FormatEventrouter}

// TestConsumersOfOtherExportersReadWebhookOn lets each of them read what webhook posts, losses and all.
func TestConsumersOfOtherExportersReadWebhookOn(t *testing.T) {
	for _, format := range foreignFormats {
		t.Run(format, func(t *testing.T) {
			server := notifytest.Start(notifytest.New(&notifytest.Webhook{}))
			t.Cleanup(server.Close)
			s := webhook.Defaults().(*webhook.Config)
			s.URL, s.Format = notify.SecretValue(server.URL()+"/in"), format
			r, err := s.New(notify.Common{Name: "w", Cluster: "shop-1"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Close)
			m := message(plainIncident(), plainIncident())
			m.Losses = losses()[:1]
			for len(m.Incidents) > 0 {
				request := render(t, r, m, notify.Full)
				if err := r.Send(t.Context(), request); err != nil || request.Incidents != 1 || len(m.Losses) > 0 && !request.LossesTold(err) {
					t.Fatalf("%v, %d incidents, losses told %v", err, request.Incidents, request.LossesTold(err))
				}
				m.Incidents, m.Losses = m.Incidents[1:], nil
			}
			if got := server.Received(); len(got) != 2 {
				t.Fatalf("%d requests for two events", len(got))
			}
			first, second := server.Received()[0], server.Received()[1]
			if text := readOn(t, format, second.Body); strings.Contains(text, "lost") {
				t.Errorf("the second tells losses too: %s", text)
			}
			text := readOn(t, format, first.Body)
			if format != record.FormatCloudEvents && !strings.HasPrefix(text, "40 events of 3 incidents were lost: evicted\n") {
				t.Errorf("no losses above the message: %s", text)
			}
			if format == record.FormatCloudEvents && (!strings.Contains(string(first.Body), `"cause":"evicted"`) || first.Header.Get("Content-Type") != record.CloudEventType) {
				t.Errorf("no losses in the data, or no type: %s, %s", first.Header, first.Body)
			}
			alone := render(t, r, &notify.Message{Now: now, Losses: losses()}, notify.Full)
			if alone.Losses == notify.LossesNowhere || !strings.Contains(string(alone.Body), "evicted") {
				t.Errorf("losses alone: %s", alone.Body)
			}
		})
	}
}

// TestConsumersOfOtherExportersReadKafkaRestOn: the value of each record is of the format, under its own offset.
func TestConsumersOfOtherExportersReadKafkaRestOn(t *testing.T) {
	for _, format := range foreignFormats {
		s := kafkarest.Defaults().(*kafkarest.Config)
		s.URL, s.Format = notify.SecretValue("http://127.0.0.1:1"), format
		r, err := s.New(notify.Common{Name: "k", Cluster: "shop-1"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		m := message(plainIncident(), plainIncident())
		m.Losses = losses()[:1]
		var sent struct {
			Records []struct {
				Key   string
				Value json.RawMessage
			}
		}
		request := render(t, r, m, notify.Full)
		if err := json.Unmarshal(request.Body, &sent); err != nil || len(sent.Records) != 2 || request.Losses != notify.LossesFirst {
			t.Fatalf("%s: %v, %s", format, err, request.Body)
		}
		var told []bool
		for _, record := range sent.Records {
			told = append(told, strings.Contains(readOn(t, format, record.Value)+string(record.Value), "evicted"))
		}
		if !slices.Equal(told, []bool{true, false}) {
			t.Errorf("%s: losses told %v, want in the first record", format, told)
		}
	}
}
