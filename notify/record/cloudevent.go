package record

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// The content types of CloudEvents over HTTP and Kafka. Source: cloudevents/spec, bindings.
const (
	CloudEventType      = "application/cloudevents+json; charset=UTF-8"
	CloudEventBatchType = "application/cloudevents-batch+json; charset=UTF-8"
	// cloudEventLimit is the size of an event that every intermediary passes on.
	cloudEventLimit = 64 << 10
)

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

// CloudEvent encodes an incident as a CloudEvent 1.0 in structured mode, at most limit bytes and 64 KiB. Source and id together are unique for
// each content.
func CloudEvent(c *notify.Common, in *notify.Incident, losses []notify.Loss, limit int) []byte {
	e := frame(c, in)
	around := len(notify.JSON(e)) + len(",[]")
	e.Data = One(c, in, losses, min(cloudEventLimit, limit)-around)
	return notify.JSON(e)
}

// frame is the event without its data.
func frame(c *notify.Common, in *notify.Incident) cloudEvent {
	attribute := func(text string) string { return untrusted.Line(text, 256) }
	e := cloudEvent{
		SpecVersion: "1.0",
		ID:          attribute(in.ID),
		Source:      "/edge-eventer/" + url.PathEscape(attribute(c.Cluster)),
		Type:        "io.github.edge-eventer.incident",
		Subject:     attribute(joined(in.InvolvedObject.Kind, in.InvolvedObject.Namespace, in.Workload)),
		Time:        in.LastSeen.UTC(),
		ContentType: "application/json",
		Data:        json.RawMessage("null"),
	}
	if e.ID == "" {
		e.ID = "none"
	}
	return e
}

// joined puts a slash between the texts that are not empty.
func joined(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), "/")
}
