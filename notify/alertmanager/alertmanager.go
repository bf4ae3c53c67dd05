package alertmanager

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	alertsPath = "/api/v2/alerts"
	// alertLife is how long an alert stays without being told again. Without an end Alertmanager would resolve it after its
	// resolve_timeout of 5 minutes, and telling it every few minutes costs the link.
	alertLife = time.Hour
)

// receiver pushes alerts to Prometheus' Alertmanager.
//
// Protocol: prometheus/alertmanager, docs/alerts_api.md. Labels are an alert's identity, so they hold what an incident is and
// everything that changes is an annotation. Repeating a request is harmless.
type receiver struct {
	*notify.Poster

	config *Config
	common notify.Common
	words  *chat.Words
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt,omitzero"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Limits bounds a batch by the configuration.
func (a *receiver) Limits() notify.Limits {
	return notify.Limits{Batch: a.config.Batch.Max, BatchBytes: a.config.Batch.MaxBytes}
}

// Render builds a list of alerts. Both forms are the same.
func (a *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	var parts []string
	if len(m.Losses) > 0 {
		parts = append(parts, string(notify.JSON(a.losses(m))))
	}
	limit := int(a.config.Batch.MaxBytes) - len("[]")
	for _, p := range parts {
		limit -= len(p) + 1
	}
	n := 0
	for i := range m.Incidents[:min(len(m.Incidents), a.config.Batch.Max)] {
		b := a.alert(&m.Incidents[i], m.Now)
		if len(b)+1 > limit && n > 0 {
			break
		}
		limit -= len(b) + 1
		parts = append(parts, string(b))
		n++
	}
	return m.Request("application/json", []byte("["+strings.Join(parts, ",")+"]"), n), nil
}

// alert encodes one incident. Its parts are bounded, and the message is cut to a size that the smallest batch holds.
func (a *receiver) alert(in *notify.Incident, now time.Time) []byte {
	value := func(text string) string { return untrusted.Line(text, 128) }
	labels := a.labels(map[string]string{
		"alertname": value(in.Reason),
		"cluster":   value(in.Cluster),
		"namespace": value(in.InvolvedObject.Namespace),
		"kind":      value(in.InvolvedObject.Kind),
		"workload":  value(in.Workload),
		"severity":  string(in.Severity),
	})
	if labels["alertname"] == "" {
		labels["alertname"] = "Event"
	}
	annotations := map[string]string{
		"summary":     untrusted.CutRunes(untrusted.CleanLine(untrusted.Prepared(in.Reason, 128, untrusted.Bytes, untrusted.Valid)+" "+chat.Subject(in)), 256),
		"description": untrusted.Message(in.Message, 1000),
		"occurrences": strconv.Itoa(in.Occurrences),
		"objects":     a.words.Affected(in),
		"lastSeen":    in.LastSeen.In(a.common.Location).Format(time.RFC3339),
		"reporter":    value(in.Reporter()),
		"node":        value(in.Host()),
		"id":          value(in.ID),
	}
	return notify.JSON(a.times(alert{Labels: filledMap(labels), Annotations: filledMap(annotations), StartsAt: in.FirstSeen.UTC()}, now))
}

func (a *receiver) losses(m *notify.Message) alert {
	var lines []string
	for i := range m.Losses[:min(len(m.Losses), 10)] {
		lines = append(lines, a.words.Loss(&m.Losses[i], a.common.Location))
	}
	in := a.common.LossIncident(m)
	return a.times(alert{
		Labels: filledMap(a.labels(map[string]string{
			"alertname": in.Reason, "cluster": untrusted.Prepared(a.common.Cluster, 128, untrusted.Bytes, untrusted.CleanLine), "severity": string(notify.Warning),
		})),
		Annotations: map[string]string{"summary": a.words.LostTitle, "description": strings.Join(lines, "\n")},
		StartsAt:    m.Now.UTC(),
	}, m.Now)
}

// labels adds the site's labels, with the characters that Prometheus allows in a name, and then the receiver's own, which win.
func (a *receiver) labels(labels map[string]string) map[string]string {
	for _, name := range slices.Sorted(maps.Keys(a.common.Labels)) {
		labels[strings.NewReplacer(".", "_", "-", "_").Replace(name)] = untrusted.Valid(a.common.Labels[name])
	}
	for name, value := range a.config.Labels {
		labels[name] = untrusted.Valid(value)
	}
	return labels
}

// times sets the end, and takes a start that lies beyond it, of a clock that was wrong, back to now: Alertmanager would refuse it.
func (a *receiver) times(x alert, now time.Time) alert {
	x.EndsAt = now.UTC().Add(alertLife)
	if x.StartsAt.After(now) {
		x.StartsAt = now.UTC()
	}
	return x
}

// filledMap leaves out what is empty: Alertmanager removes a label without a value.
func filledMap(m map[string]string) map[string]string {
	for key, value := range m {
		if value == "" {
			delete(m, key)
		}
	}
	return m
}

// Send posts the request.
func (a *receiver) Send(ctx context.Context, r *notify.Request) error {
	to, err := notify.TargetOf(a.config.URL, a.config.Headers)
	if err != nil {
		return err
	}
	to, err = to.WithPath(alertsPath)
	if err != nil {
		return err
	}
	got, err := a.Post(ctx, to, r)
	if err != nil {
		return err
	}
	return a.verdict(got, r)
}

// verdict reads the answer: 200 without a body. HTML is a captive portal's. With 400 the valid alerts of the request were stored;
// repeating them, each on its own, changes nothing and finds the one that is not.
func (a *receiver) verdict(got *notify.Answer, r *notify.Request) error {
	text := string(got.Body)
	switch {
	case got.Status == http.StatusOK && got.Broken != nil:
		return got.Broken
	case got.IsHTML():
		return got.ByStatus("Alertmanager")
	case got.Status == http.StatusOK:
		return nil
	case got.Status == http.StatusBadRequest && r.Incidents > 1:
		return got.Fail(notify.BadPayload, "", "Alertmanager refused some alerts and took the others: %s", untrusted.Quoted(text))
	case got.Status == http.StatusBadRequest:
		return got.Fail(notify.BadPayload, "", "Alertmanager refused the alert: %s", untrusted.Quoted(text))
	}
	return got.ByStatus("Alertmanager")
}
