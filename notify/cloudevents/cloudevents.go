package cloudevents

import (
	"context"
	"net/http"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
)

// receiver posts CloudEvents 1.0 in structured mode, or in batched mode if it is asked to: the specification forbids a batch that the
// receiver did not ask for.
//
// Protocol: cloudevents/spec, bindings/http-protocol-binding.md and http-webhook.md. The type is io.github.edge-eventer.incident, the data are an
// incident as in webhook's document. Source and id together are unique for each content.
type receiver struct {
	*notify.Poster

	config  *Config
	common  notify.Common
	batched bool
}

// Limits allows one event for each request, or a batch if it is asked for.
func (c *receiver) Limits() notify.Limits {
	l := notify.Limits{Batch: 1, BatchBytes: c.config.Batch.MaxBytes}
	if c.batched {
		l.Batch = c.config.Batch.Max
	}
	return l
}

// Render builds an event or a batch. Losses are in the data of the first event. Both forms are the same.
func (c *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	incidents := m.Incidents
	if len(incidents) == 0 {
		incidents = []notify.Incident{c.common.LossIncident(m)}
	}
	if !c.batched {
		return m.Request(record.CloudEventType, record.CloudEvent(&c.common, &incidents[0], m.Losses, int(c.config.Batch.MaxBytes)), min(1, len(m.Incidents))), nil
	}
	var events []string
	size, losses := len("[]"), m.Losses
	for i := range incidents[:min(len(incidents), c.config.Batch.Max)] {
		b := record.CloudEvent(&c.common, &incidents[i], losses, int(c.config.Batch.MaxBytes))
		if size += len(b) + 1; size > int(c.config.Batch.MaxBytes) && len(events) > 0 {
			break
		}
		events = append(events, string(b))
		losses = nil
	}
	return m.Request(record.CloudEventBatchType, []byte("["+strings.Join(events, ",")+"]"), min(len(events), len(m.Incidents))), nil
}

// Send posts the request.
func (c *receiver) Send(ctx context.Context, r *notify.Request) error {
	to, err := notify.TargetOf(c.config.URL, c.config.Headers)
	if err != nil {
		return err
	}
	a, err := c.Post(ctx, to, r)
	if err != nil {
		return err
	}
	switch a.Status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		switch {
		case a.Broken != nil:
			return a.Broken
		case a.IsHTML():
			return a.ByStatus("the receiver")
		}
		return nil
	case http.StatusUnsupportedMediaType:
		return a.Fail(notify.BadTarget, "", "the receiver does not take this format of CloudEvents")
	case http.StatusGone:
		return a.Fail(notify.BadTarget, "", "the receiver is retired")
	}
	return a.ByStatus("the receiver")
}
