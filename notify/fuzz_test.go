package notify_test

import (
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

// FuzzRender proves for every receiver that whatever an event says, the request is valid JSON in valid UTF-8, within the
// platform's limit, and notifies nobody.
func FuzzRender(f *testing.F) {
	for _, text := range hostile {
		f.Add(text, "BackOff", "web", "Pod", 1, 1, false)
	}
	f.Add("m", "<", "at id=all>", "@", 50, 40, true)
	all := subjects()
	receivers := make([]notify.Receiver, len(all))
	for i := range all {
		receivers[i] = all[i].receiver(f, "http://127.0.0.1:1", func(c *configtest.Keys) { c.Mention = nil })
	}
	f.Fuzz(func(t *testing.T, text, reason, name, kind string, repeat, incidents int, simple bool) {
		text = repeated(text, repeat)
		in := plainIncident()
		in.Message, in.Reason, in.Workload, in.InvolvedObject.Kind = text, reason, name, kind
		in.InvolvedObject.Name, in.Namespace, in.Source.Component, in.ID = name, reason, kind, name
		in.Objects = []string{name, text}
		m := &notify.Message{Now: now, Incidents: make([]notify.Incident, 1+abs(incidents)%60)}
		for i := range m.Incidents {
			m.Incidents[i] = in
		}
		if incidents%2 == 0 {
			m.Losses = []notify.Loss{{Cause: reason, Incidents: uint64(abs(repeat)), Events: uint64(abs(incidents)), Since: now.Add(time.Duration(repeat))}}
		}
		if repeat%5 == 0 {
			m.Resolved = m.Incidents
		}
		if repeat%3 == 0 {
			m.Digest = &notify.Digest{Incidents: incidents, Events: uint64(abs(repeat)), Since: now, Part: 1 + abs(incidents)%3, Last: simple, MoreIncidents: abs(incidents)}
		}
		form := notify.Full
		if simple {
			form = notify.Simple
		}
		for i := range all {
			request, err := receivers[i].Render(m, form)
			if err != nil {
				t.Fatalf("%s: %v", all[i].name, err)
			}
			if request.Incidents < 1 {
				t.Errorf("%s: no incident in the request", all[i].name)
			}
			checkBody(t, &all[i], all[i].name, request)
		}
	})
}

// repeated makes long texts of short ones, at most 128 KiB.
func repeated(text string, n int) string {
	if text == "" {
		return text
	}
	n = 1 + abs(n)%(1+(128<<10)/len(text))
	b := make([]byte, 0, n*len(text))
	for range n {
		b = append(b, text...)
	}
	return string(b)
}

// abs is the absolute value, and 0 for the smallest number.
func abs(n int) int { return max(n, -n, 0) }
