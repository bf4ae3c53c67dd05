package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	cloudEventType  = "application/cloudevents+json; charset=UTF-8"
	cloudEventBatch = "application/cloudevents-batch+json; charset=UTF-8"
	// cloudEventLimit is the size of an event that every intermediary passes on.
	cloudEventLimit = 64 << 10
)

// cloudEvents posts CloudEvents 1.0 in structured mode, or in batched mode if it is asked to: the specification forbids a batch that the
// receiver did not ask for.
//
// Protocol: cloudevents/spec, bindings/http-protocol-binding.md and http-webhook.md. The type is io.github.edge-eventer.incident, the data are an
// incident as in webhook's document. Source and id together are unique for each content.
type cloudEvents struct {
	*poster

	cfg     Config
	batched bool
}

func newCloudEvents(cfg Config, p *poster) Receiver {
	// 100 is the default of the configuration file for other types, and no wish.
	return &cloudEvents{poster: p, cfg: cfg, batched: cfg.BatchMax > 1 && cfg.BatchMax != DefaultBatchMax}
}

type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	Time        time.Time       `json:"time,omitzero"`
	ContentType string          `json:"datacontenttype"`
	Data        json.RawMessage `json:"data"`
}

// Limits allows one event for each request, or a batch if it is asked for.
func (c *cloudEvents) Limits() Limits {
	l := Limits{Batch: 1, BatchBytes: c.cfg.BatchBytes}
	if c.batched {
		l.Batch = c.cfg.BatchMax
	}
	return l
}

// Render builds an event or a batch. Losses are in the data of the first event. Both forms are the same.
func (c *cloudEvents) Render(m *Message, _ Form) (*Request, error) {
	incidents := m.Incidents
	if len(incidents) == 0 {
		incidents = []Incident{lossIncident(&c.cfg, m)}
	}
	if !c.batched {
		return m.requestAs(cloudEventType, c.event(&incidents[0], m.Losses), min(1, len(m.Incidents))), nil
	}
	var events []string
	size, losses := len("[]"), m.Losses
	for i := range incidents[:min(len(incidents), c.cfg.BatchMax)] {
		b := c.event(&incidents[i], losses)
		if size += len(b) + 1; size > int(c.cfg.BatchBytes) && len(events) > 0 {
			break
		}
		events = append(events, string(b))
		losses = nil
	}
	return m.requestAs(cloudEventBatch, []byte("["+strings.Join(events, ",")+"]"), min(len(events), len(m.Incidents))), nil
}

func (c *cloudEvents) event(in *Incident, losses []Loss) []byte {
	e := c.frame(in)
	frame := len(toJSON(e)) + len(",[]")
	e.Data = record(in, losses, min(cloudEventLimit, int(c.cfg.BatchBytes))-frame)
	return toJSON(e)
}

// frame is the event without its data.
func (c *cloudEvents) frame(in *Incident) cloudEvent {
	attribute := func(text string) string { return prepared(text, 256, byteWidth, cleanLine) }
	e := cloudEvent{
		SpecVersion: "1.0",
		ID:          attribute(in.ID),
		Source:      "/edge-eventer/" + url.PathEscape(attribute(c.cfg.Cluster)),
		Type:        "io.github.edge-eventer.incident",
		Subject:     attribute(strings.Join(filled(in.InvolvedObject.Kind, in.InvolvedObject.Namespace, in.Workload), "/")),
		Time:        in.LastSeen.UTC(),
		ContentType: "application/json",
		Data:        json.RawMessage("null"),
	}
	if e.ID == "" {
		e.ID = "none"
	}
	return e
}

// Send posts the request.
func (c *cloudEvents) Send(ctx context.Context, r *Request) error {
	to, err := ownTarget(&c.cfg)
	if err != nil {
		return err
	}
	a, err := c.post(ctx, to, r)
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		switch {
		case a.broken != nil:
			return a.broken
		case a.isHTML():
			return a.byStatus("the receiver")
		}
		return nil
	case http.StatusUnsupportedMediaType:
		return a.fail(BadTarget, "", "the receiver does not take this format of CloudEvents")
	case http.StatusGone:
		return a.fail(BadTarget, "", "the receiver is retired")
	}
	return a.byStatus("the receiver")
}
