package otlp

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// contentType must be exactly this: receivers compare strings.
const contentType = "application/x-protobuf"

// maxText bounds every text but the message.
const maxText = 512

type receiver struct {
	*notify.Poster

	config   *Config
	common   notify.Common
	resource []attribute
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	r := &receiver{
		Poster: notify.NewPoster(common, notify.PosterOptions{Gzip: c.Gzip, URL: c.URL}),
		config: c, common: common,
		resource: []attribute{{"service.name", "edge-eventer"}},
	}
	r.resource = text(r.resource, "service.version", common.Version)
	r.resource = text(r.resource, "k8s.cluster.name", common.Cluster)
	for _, key := range slices.Sorted(maps.Keys(common.Labels)) {
		r.resource = text(r.resource, key, common.Labels[key])
	}
	return r, nil
}

// Limits bounds a batch by the configuration.
func (r *receiver) Limits() notify.Limits {
	return notify.Limits{Batch: r.config.Batch.Max, BatchBytes: r.config.Batch.MaxBytes, OldestFirst: true}
}

// Render encodes a record for each incident, and then one for each loss. Both forms are the same.
func (r *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	var losses [][]byte
	// The resource and the scope, with room for their lengths.
	limit := int(r.config.Batch.MaxBytes) - len(request(r.resource, r.common.Version, nil)) - 64
	for i := range m.Losses[:min(len(m.Losses), notify.MaxLosses)] {
		losses = append(losses, r.loss(&m.Losses[i], m).encode())
		limit -= len(losses[i]) + 8
	}
	var records [][]byte
	size := 0
	for i := range m.Incidents[:min(len(m.Incidents), r.config.Batch.Max)] {
		b := r.record(&m.Incidents[i], m, limit).encode()
		if over := len(b) - limit; over > 0 {
			// Only the message is that long; the mark of what was cut, and longer lengths, have room in 64 bytes.
			b = r.record(&m.Incidents[i], m, max(0, min(len(m.Incidents[i].Message), limit)-over-64)).encode()
		}
		if i > 0 && size+len(b)+8 > limit {
			break
		}
		size += len(b) + 8
		records = append(records, b)
	}
	return &notify.Request{
		Method: http.MethodPost, Header: map[string]string{"Content-Type": contentType},
		Body: request(r.resource, r.common.Version, append(records, losses...)), Incidents: len(records), Time: m.Now,
		Losses: m.LossesIn(notify.LossesWhole),
	}, nil
}

func (r *receiver) record(in *notify.Incident, m *notify.Message, textLimit int) *record {
	e := &in.Event
	short := func(s string) string { return untrusted.Raw(s, maxText) }
	o := &record{at: in.LastSeen, observed: m.Now, severity: severityWarn, severityText: short(e.Type), body: untrusted.Raw(e.Message, textLimit)}
	switch {
	case in.Severity == notify.Critical:
		o.severity = severityError
		o.attributes = text(o.attributes, "edge_eventer.severity", string(in.Severity))
	case e.Type == "Normal":
		o.severity = severityInfo
	}
	object := &e.InvolvedObject
	version := object.APIVersion
	if version == "v1" {
		// That of pods and nodes, which are what most events are about.
		version = ""
	}
	for _, a := range []struct{ key, value string }{
		{"k8s.event.reason", e.Reason}, {"k8s.event.action", e.Action}, {"k8s.event.name", e.Name}, {"k8s.event.uid", e.UID},
		{"k8s.namespace.name", object.Namespace}, {"k8s.node.name", in.Host()},
		{"k8s.object.kind", object.Kind}, {"k8s.object.name", object.Name}, {"k8s.object.uid", object.UID},
		{"k8s.object.fieldpath", object.FieldPath}, {"k8s.object.api_version", version},
		{"k8s.object.resource_version", object.ResourceVersion},
		{"edge_eventer.id", in.ID}, {"edge_eventer.workload", in.Workload},
	} {
		o.attributes = text(o.attributes, a.key, short(a.value))
	}
	if first := e.FirstSeen(); !first.IsZero() {
		// The Collector writes Go's form of a time, and dashboards read it.
		o.attributes = text(o.attributes, "k8s.event.start_time", first.UTC().String())
	}
	o.attributes = append(o.attributes, attribute{"k8s.event.count", int64(min(e.Observed(), 1<<31-1))})
	if in.Occurrences != 1 || in.Untold != 1 {
		o.attributes = append(o.attributes, attribute{"edge_eventer.occurrences", int64(in.Occurrences)},
			attribute{"edge_eventer.untold", int64(in.Untold)})
	}
	if in.Own {
		o.attributes = append(o.attributes, attribute{"edge_eventer.own", true})
	}
	return o
}

// loss is a record with the number of lost events as an attribute, 0 where nobody knows it, so that a rule can sum it up.
func (r *receiver) loss(l *notify.Loss, m *notify.Message) *record {
	cause := untrusted.Raw(l.Cause, maxText)
	return &record{
		at: m.Now, observed: m.Now, severity: severityWarn, severityText: "Warning", body: notify.LossText(l),
		attributes: []attribute{
			{"k8s.event.reason", "EventsLost"}, {"edge_eventer.own", true},
			{"edge_eventer.lost", int64(min(l.Events, 1<<62))}, {"edge_eventer.cause", cause},
			{"edge_eventer.id", notify.LossID(r.common.Cluster, r.common.Name, l)},
		},
	}
}

// Send posts the request to /v1/logs.
func (r *receiver) Send(ctx context.Context, request *notify.Request) error {
	to, err := notify.TargetOf(r.config.URL, r.config.Headers)
	if err != nil {
		return err
	}
	if to, err = to.WithPath("/v1/logs"); err != nil {
		return err
	}
	return r.Exchange(ctx, to, request, verdict)
}

// verdict judges the answer. Partial success must not be repeated as it is, and does not say which records it means: alone they tell.
func verdict(a *notify.Answer) error {
	if a.Broken != nil {
		return a.Broken
	}
	switch s := a.Status; {
	case s == http.StatusNoContent:
		return nil
	case s == http.StatusOK:
		return accepted(a)
	case a.IsHTML():
		return a.Foreign("an OTLP receiver")
	case s == http.StatusBadRequest, s == http.StatusRequestEntityTooLarge, s == http.StatusUnprocessableEntity:
		return a.Fail(notify.BadPayload, "", "the receiver refused the records: %s", refusal(a))
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound, s == http.StatusMethodNotAllowed,
		s == http.StatusUnsupportedMediaType:
		return a.Fail(notify.BadTarget, "", "the receiver refuses every record: %s", refusal(a))
	}
	return a.ByStatus("the OTLP receiver")
}

func accepted(a *notify.Answer) error {
	p, err := parseReply(a.Body)
	mediaType, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	switch {
	case err != nil, mediaType != "" && mediaType != contentType && len(a.Body) > 0:
		return a.Foreign("an OTLP receiver")
	case mediaType == "text/html":
		return a.Fail(notify.Retry, "", "the answer is an empty page, not that of an OTLP receiver")
	case !p.set, p.rejected == 0 && p.message != "":
		return nil
	case p.rejected == 0:
		return a.Fail(notify.Retry, "", "the receiver could not store the records and does not say why")
	}
	return a.Fail(notify.BadPayload, "partial_success", "the receiver refused %d records: %s", p.rejected, untrusted.Quoted(p.message))
}

// refusal is what the receiver says: a google.rpc.Status, or a line of text.
func refusal(a *notify.Answer) string {
	if s := parseStatus(a.Body); s != "" {
		return untrusted.Quoted(s)
	}
	return untrusted.Quoted(string(a.Body))
}
