package webhook

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/template"
)

// receiver posts JSON to any URL: its own document, described in DESIGN.md, or a body made of templates.
//
// Delivered is what the answer's status says, 2xx unless configured otherwise, and what SuccessJSON finds in it; a page of
// HTML is no yes unless an Accept header asks for one. 408, 429 and 5xx are Retry, 401, 403, 404, 405 and 410 BadTarget,
// other 4xx BadPayload unless they are a page. With SuccessJSON, a 2xx that does not show what is asked
// for is Retry. Each request carries an Idempotency-Key, which is the same for the same content.
type receiver struct {
	*notify.Poster

	config    *Config
	common    notify.Common
	templates *templates
}

// Limits bounds a batch by the configuration; one request tells one incident if there are templates, or in the format of another program.
func (w *receiver) Limits() notify.Limits {
	l := notify.Limits{Batch: w.config.Batch.Max, BatchBytes: w.config.Batch.MaxBytes}
	if w.templates != nil || w.config.Format != record.FormatEdgeEventer {
		l.Batch = 1
	}
	return l
}

// Render builds the document. Both forms are the same.
func (w *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	r, err := w.render(m, form)
	if err != nil {
		return nil, err
	}
	r.Method = w.config.Method
	r.Time = m.Now
	r.Header = map[string]string{"Content-Type": w.contentType(), "Idempotency-Key": record.BatchKey(m, r.Incidents)}
	if w.templates != nil {
		r.Data = template.NewData(&w.common, m, int(w.config.Batch.MaxBytes))
	}
	return r, nil
}

func (w *receiver) render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	if w.config.Body != nil {
		return w.templates.render(w.config, &w.common, m)
	}
	if w.config.Format != record.FormatEdgeEventer {
		in := w.common.LossIncident(m)
		if len(m.Incidents) > 0 {
			in = m.Incidents[0]
		}
		body := record.EncodeTelling(&w.common, w.config.Format, &in, m.Losses, int(w.config.Batch.MaxBytes)).Value
		return &notify.Request{Body: body, Incidents: min(len(m.Incidents), 1), Losses: m.LossesIn(notify.LossesWhole)}, nil
	}
	body, n := record.Batch(&w.common, m, w.Limits().Batch, int(w.config.Batch.MaxBytes))
	return &notify.Request{Body: body, Incidents: n, Losses: m.LossesIn(notify.LossesWhole)}, nil
}

func (w *receiver) contentType() string {
	if w.config.Body == nil && w.config.Format == record.FormatCloudEvents {
		return record.CloudEventType
	}
	return "application/json"
}

// Send posts the request.
func (w *receiver) Send(ctx context.Context, r *notify.Request) error {
	to, err := w.target(r)
	if err != nil {
		return err
	}
	return w.Exchange(ctx, to, r, w.verdict)
}

// target is the receiver's own URL and headers, and what templates make of them for this request.
func (w *receiver) target(r *notify.Request) (notify.Target, error) {
	to, err := notify.TargetOf(w.config.URL, w.config.Headers)
	if err != nil || w.templates == nil {
		return to, err
	}
	if err := w.templates.target(&to, r.Data); err != nil {
		return notify.Target{}, &notify.Error{Outcome: notify.BadPayload, Reason: "a template of the URL or of a header cannot be executed", Err: err}
	}
	return to, nil
}

func (w *receiver) verdict(a *notify.Answer) error {
	success := a.Status/100 == 2
	if len(w.config.Success.Status) > 0 {
		success = slices.Contains(w.config.Success.Status, a.Status)
	}
	switch {
	case !success:
		return a.ByStatus("the receiver")
	case len(w.config.Success.JSON) == 0 && a.IsHTML() && !w.asksForHTML():
		return a.Foreign("the receiver")
	case len(w.config.Success.JSON) == 0:
		return nil
	case a.Broken != nil:
		return a.Broken
	}
	var reply map[string]any
	if err := json.Unmarshal(a.Body, &reply); err != nil {
		return a.Fail(notify.Retry, "", "the answer is no JSON object, and success.json asks for one")
	}
	for _, key := range slices.Sorted(maps.Keys(w.config.Success.JSON)) {
		got, found := lookUp(reply, key)
		if found && sameJSON(got, w.config.Success.JSON[key]) {
			continue
		}
		// Whether such an answer is the message's fault is known only to who wrote the receiver.
		return a.Fail(notify.Retry, notify.Scalar(got), "the answer's %s is not what success.json asks for", key)
	}
	return nil
}

// asksForHTML reports whether a header of the configuration accepts pages for people, which nobody answers to a program
// unasked but a captive portal.
func (w *receiver) asksForHTML() bool {
	for name, value := range w.config.Headers {
		if text, err := value.Read(); err == nil && http.CanonicalHeaderKey(name) == "Accept" {
			return strings.Contains(strings.ToLower(text), "html")
		}
	}
	return false
}

// lookUp finds a value by its key, or by keys with dots between them.
func lookUp(object map[string]any, key string) (any, bool) {
	if value, ok := object[key]; ok {
		return value, true
	}
	head, rest, dotted := strings.Cut(key, ".")
	inner, ok := object[head].(map[string]any)
	if !dotted || !ok {
		return nil, false
	}
	return lookUp(inner, rest)
}

// sameJSON compares a value of an answer with one of the configuration, whose numbers may be integers.
func sameJSON(got, want any) bool {
	b, err := json.Marshal(want)
	if err != nil {
		return false
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return false
	}
	return reflect.DeepEqual(got, v)
}
