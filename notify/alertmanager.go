package notify

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	alertmanagerPath = "/api/v2/alerts"
	// alertLife is how long an alert stays without being told again. Without an end Alertmanager would resolve it after its
	// resolve_timeout of 5 minutes, and telling it every few minutes costs the link.
	alertLife = time.Hour
)

// alertmanager pushes alerts to Prometheus' Alertmanager.
//
// Protocol: prometheus/alertmanager, docs/alerts_api.md. Labels are an alert's identity, so they hold what an incident is and
// everything that changes is an annotation. Repeating a request is harmless.
type alertmanager struct {
	*poster

	cfg   Config
	words *words
}

func newAlertmanager(cfg Config, p *poster) Receiver {
	return &alertmanager{poster: p, cfg: cfg, words: wordsOf(cfg.Language)}
}

func checkAlertmanager(cfg *Config, add addMistake) {
	for _, name := range sortedKeys(cfg.Labels) {
		switch {
		case !only(name, 128, "_") || name[0] >= '0' && name[0] <= '9' || strings.HasPrefix(name, "__"):
			add("labels."+name, "must be the name of a label: letters, digits and _, not beginning with a digit or __")
		case cfg.Labels[name] == "":
			add("labels."+name, "must have a value")
		}
	}
	size := 0
	for name, value := range cfg.Labels {
		size += len(name) + len(value)
	}
	if size > 4<<10 {
		add("labels", "names and values must have at most 4 KiB together")
	}
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt,omitzero"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Limits bounds a batch by the configuration.
func (a *alertmanager) Limits() Limits {
	return Limits{Batch: a.cfg.BatchMax, BatchBytes: a.cfg.BatchBytes}
}

// Render builds a list of alerts. Both forms are the same.
func (a *alertmanager) Render(m *Message, _ Form) (*Request, error) {
	var parts []string
	if len(m.Losses) > 0 {
		parts = append(parts, string(toJSON(a.losses(m))))
	}
	limit := int(a.cfg.BatchBytes) - len("[]")
	for _, p := range parts {
		limit -= len(p) + 1
	}
	n := 0
	for i := range m.Incidents[:min(len(m.Incidents), a.cfg.BatchMax)] {
		b := a.alert(&m.Incidents[i], m.Now)
		if len(b)+1 > limit && n > 0 {
			break
		}
		limit -= len(b) + 1
		parts = append(parts, string(b))
		n++
	}
	return m.requestAs("application/json", []byte("["+strings.Join(parts, ",")+"]"), n), nil
}

// alert encodes one incident. Its parts are bounded, and the message is cut to a size that the smallest batch holds.
func (a *alertmanager) alert(in *Incident, now time.Time) []byte {
	value := func(text string) string { return prepared(text, 128, byteWidth, cleanLine) }
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
		"summary":     cutRunes(cleanLine(prepared(in.Reason, 128, byteWidth, validText)+" "+subject(in)), 256),
		"description": messageText(in.Message, 1000),
		"occurrences": strconv.Itoa(in.Occurrences),
		"objects":     a.words.affected(in),
		"lastSeen":    in.LastSeen.In(a.cfg.Location).Format(time.RFC3339),
		"reporter":    value(in.Reporter()),
		"node":        value(in.Host()),
		"id":          value(in.ID),
	}
	return toJSON(a.times(alert{Labels: filledMap(labels), Annotations: filledMap(annotations), StartsAt: in.FirstSeen.UTC()}, now))
}

func (a *alertmanager) losses(m *Message) alert {
	var lines []string
	for i := range m.Losses[:min(len(m.Losses), 10)] {
		lines = append(lines, a.words.loss(&m.Losses[i], a.cfg.Location))
	}
	in := lossIncident(&a.cfg, m)
	return a.times(alert{
		Labels: filledMap(a.labels(map[string]string{
			"alertname": in.Reason, "cluster": prepared(a.cfg.Cluster, 128, byteWidth, cleanLine), "severity": string(Warning),
		})),
		Annotations: map[string]string{"summary": a.words.lostTitle, "description": strings.Join(lines, "\n")},
		StartsAt:    m.Now.UTC(),
	}, m.Now)
}

// labels adds the configured labels, which win.
func (a *alertmanager) labels(labels map[string]string) map[string]string {
	for name, value := range a.cfg.Labels {
		labels[name] = validText(value)
	}
	return labels
}

// times sets the end, and takes a start that lies beyond it, of a clock that was wrong, back to now: Alertmanager would refuse it.
func (a *alertmanager) times(x alert, now time.Time) alert {
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

// requestAs is a POST of a body with a content type of its own.
func (m *Message) requestAs(contentType string, body []byte, incidents int) *Request {
	return &Request{
		Method: http.MethodPost, Header: map[string]string{"Content-Type": contentType}, Body: body, Incidents: incidents, Time: m.Now,
		Losses: m.lossesIn(LossesWhole),
	}
}

// Send posts the request.
func (a *alertmanager) Send(ctx context.Context, r *Request) error {
	to, err := ownTarget(&a.cfg)
	if err != nil {
		return err
	}
	to.url, err = withPath(to.url, alertmanagerPath)
	if err != nil {
		return err
	}
	got, err := a.post(ctx, to, r)
	if err != nil {
		return err
	}
	return a.verdict(got, r)
}

// verdict reads the answer: 200 without a body. HTML is a captive portal's. With 400 the valid alerts of the request were stored;
// repeating them, each on its own, changes nothing and finds the one that is not.
func (a *alertmanager) verdict(got *answer, r *Request) error {
	text := string(got.body)
	switch {
	case got.status == http.StatusOK && got.broken != nil:
		return got.broken
	case got.isHTML():
		return got.byStatus("Alertmanager")
	case got.status == http.StatusOK:
		return nil
	case got.status == http.StatusBadRequest && r.Incidents > 1:
		return got.fail(BadPayload, "", "Alertmanager refused some alerts and took the others: %s", quoted(text))
	case got.status == http.StatusBadRequest:
		return got.fail(BadPayload, "", "Alertmanager refused the alert: %s", quoted(text))
	}
	return got.byStatus("Alertmanager")
}

// withPath adds path to a base URL unless it ends with it.
func withPath(base, path string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		// The text of err holds the URL.
		return "", &Error{Outcome: BadTarget, Reason: "the URL is not valid"}
	}
	if !strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), path) {
		u = u.JoinPath(path)
	}
	return fmt.Sprint(u), nil
}
