package notify_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/email"
	"github.com/edge-eventer/edge-eventer/notify/kafka"
	"github.com/edge-eventer/edge-eventer/notify/mqtt"
	"github.com/edge-eventer/edge-eventer/notify/record"
)

// TestLabelsAreInEveryMessage of every type, for one incident, many, a digest and losses alone.
func TestLabelsAreInEveryMessage(t *testing.T) {
	labels := map[string]string{"site": "harbour-17", "edge.region": "east"}
	common := notify.Common{Name: "r", Cluster: "shop-1", Labels: labels}
	check := func(name string, r notify.Receiver) {
		t.Helper()
		for message, m := range map[string]*notify.Message{
			"one": message(plainIncident()), "many": message(plainIncident(), plainIncident()),
			"losses": {Now: now, Losses: losses()},
		} {
			request := render(t, r, m, notify.Full)
			var all strings.Builder
			all.Write(request.Body)
			for _, record := range request.Records {
				all.Write(record.Value)
				for _, h := range record.Header {
					all.WriteString(h.Name + "=" + h.Value)
				}
			}
			for _, want := range []string{"site", "harbour-17", "region", "east"} {
				// An e-mail may break a line.
				if !strings.Contains(strings.ReplaceAll(all.String(), "=\r\n", ""), want) {
					t.Errorf("%s, %s: no %s in %s", name, message, want, all.String())
				}
			}
		}
	}
	for _, s := range allSubjects() {
		check(s.name, s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.SiteLabels = labels }))
	}
	printer, err := configtest.New(configtest.Keys{Name: "stdout", Type: "stdout", Cluster: "shop-1", SiteLabels: labels, Output: new(bytes.Buffer)})
	if err != nil {
		t.Fatal(err)
	}
	check("stdout", printer)
	mail := email.Defaults().(*email.Config)
	mail.From, mail.To = "edge@shop.example", []string{"ops@shop.example"}
	for name, settings := range map[string]notify.Settings{
		"kafka": &kafka.Config{Brokers: []string{"127.0.0.1:1"}, Topic: "t", Key: "k", Format: record.FormatKubeEventer, Batch: notify.DefaultBatch()},
		"mqtt": func() notify.Settings {
			s := mqtt.Defaults().(*mqtt.Config)
			s.Format = record.FormatEventrouter
			return s
		}(),
		"email": mail,
	} {
		r, err := settings.New(common)
		if err != nil {
			t.Fatal(err)
		}
		check(name, r)
		r.Close()
	}
}

// TestTemplateSeesLabels as a body of the operator's own names them.
func TestTemplateSeesLabels(t *testing.T) {
	r, err := configtest.New(configtest.Keys{
		Name: "w", Type: "webhook", URL: notify.SecretValue("http://127.0.0.1:1/{{ .Labels.site }}"), SiteLabels: map[string]string{"site": "harbour"},
		Body: map[string]any{"text": "{{ .Labels.site }}: {{ .Reason }}"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := string(render(t, r, message(plainIncident()), notify.Full).Body); !strings.Contains(got, "harbour: ") {
		t.Errorf("%s", got)
	}
}
