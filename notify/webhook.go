package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// webhook posts JSON to any URL: its own document, described in DESIGN.md, or a body made of templates.
//
// Delivered is what the answer's status says, 2xx unless configured otherwise, and what SuccessJSON finds in it; a page of
// HTML is no yes unless an Accept header asks for one. 408, 429 and 5xx are Retry, 401, 403, 404, 405 and 410 BadTarget,
// other 4xx BadPayload unless they are a page. With SuccessJSON, a 2xx that does not show what is asked
// for is Retry. Each request carries an Idempotency-Key, which is the same for the same content.
type webhook struct {
	*poster

	cfg       Config
	templates *webhookTemplates
}

func newWebhook(cfg Config, p *poster) Receiver {
	w := &webhook{poster: p, cfg: cfg}
	if usesTemplates(&cfg) {
		// Check has parsed and executed them.
		w.templates, _ = parseWebhookTemplates(&cfg)
	}
	return w
}

func checkWebhook(cfg *Config, add addMistake) {
	if !slices.Contains([]string{"", http.MethodPost, http.MethodPut}, cfg.Method) {
		add("method", "must be POST or PUT")
	}
	for i, status := range cfg.SuccessStatus {
		if status < 200 || status > 599 || status/100 == 3 {
			add(fmt.Sprintf("success.status[%d]", i), "must be an HTTP status, 200 to 599 and not a redirect")
		}
	}
	if usesTemplates(cfg) {
		checkWebhookTemplates(cfg, add)
	}
}

// Limits bounds a batch by the configuration; one request tells one incident if there are templates.
func (w *webhook) Limits() Limits {
	l := Limits{Batch: w.cfg.BatchMax, BatchBytes: w.cfg.BatchBytes}
	if w.templates != nil {
		l.Batch = 1
	}
	return l
}

// Render builds the document. Both forms are the same.
func (w *webhook) Render(m *Message, form Form) (*Request, error) {
	r, err := w.render(m, form)
	if err != nil {
		return nil, err
	}
	r.Method = w.cfg.Method
	r.Time = m.Now
	r.Header = map[string]string{"Content-Type": "application/json", "Idempotency-Key": batchID(m.Incidents[:r.Incidents], m.Losses)}
	if w.templates != nil {
		r.data = newTemplateData(&w.cfg, m, int(w.cfg.BatchBytes))
	}
	return r, nil
}

func (w *webhook) render(m *Message, _ Form) (*Request, error) {
	if w.cfg.Body != nil {
		return w.templates.render(&w.cfg, m)
	}
	// The frame around the incidents is bounded: 5 causes of loss, a cluster's name.
	d := document{
		Version: 1, Cluster: w.cfg.Cluster, Batch: strings.Repeat("0", 32),
		Incidents: []json.RawMessage{}, Losses: lossDocuments(m.Losses),
	}
	records := records(m, nil, w.Limits().Batch, int(w.cfg.BatchBytes)-len(toJSON(d)))
	for _, b := range records {
		d.Incidents = append(d.Incidents, b)
	}
	d.Batch = batchID(m.Incidents[:len(records)], m.Losses)
	return &Request{Body: toJSON(d), Incidents: len(records), Losses: m.lossesIn(LossesWhole)}, nil
}

// records encodes leading incidents, each followed by a comma or a bracket, as many as limit and most allow, but at least
// the first if there is one. Losses are added to the first.
func records(m *Message, losses []Loss, most, limit int) [][]byte {
	var all [][]byte
	size := 0
	for i := range m.Incidents[:min(len(m.Incidents), most)] {
		b := record(&m.Incidents[i], losses, limit-1)
		if size += len(b) + 1; size > limit {
			break
		}
		all = append(all, b)
		losses = nil
	}
	return all
}

// Send posts the request.
func (w *webhook) Send(ctx context.Context, r *Request) error {
	to, err := w.target(r)
	if err != nil {
		return err
	}
	a, err := w.post(ctx, to, r)
	if err != nil {
		return err
	}
	return w.verdict(a)
}

// target is the receiver's own URL and headers, and what templates make of them for this request.
func (w *webhook) target(r *Request) (target, error) {
	to, err := ownTarget(&w.cfg)
	if err != nil || w.templates == nil {
		return to, err
	}
	if err := w.templates.target(&to, r.data); err != nil {
		return target{}, &Error{Outcome: BadPayload, Reason: "a template of the URL or of a header cannot be executed", Err: err}
	}
	return to, nil
}

// ownTarget is the URL and the headers as they are configured.
func ownTarget(cfg *Config) (target, error) {
	text, err := cfg.URL.Read()
	if err != nil {
		return target{}, &Error{Outcome: BadTarget, Reason: "the URL cannot be read", Err: err}
	}
	return target{url: text, header: cfg.Header}, nil
}

func (w *webhook) verdict(a *answer) error {
	success := a.status/100 == 2
	if len(w.cfg.SuccessStatus) > 0 {
		success = slices.Contains(w.cfg.SuccessStatus, a.status)
	}
	switch {
	case !success:
		return a.byStatus("the receiver")
	case len(w.cfg.SuccessJSON) == 0 && a.isHTML() && !w.asksForHTML():
		return a.foreign("the receiver")
	case len(w.cfg.SuccessJSON) == 0:
		return nil
	case a.broken != nil:
		return a.broken
	}
	var reply map[string]any
	if err := json.Unmarshal(a.body, &reply); err != nil {
		return a.fail(Retry, "", "the answer is no JSON object, and success.json asks for one")
	}
	for _, key := range sortedKeys(w.cfg.SuccessJSON) {
		got, found := lookUp(reply, key)
		if found && sameJSON(got, w.cfg.SuccessJSON[key]) {
			continue
		}
		// Whether such an answer is the message's fault is known only to who wrote the receiver.
		return a.fail(Retry, jsonText(got), "the answer's %s is not what success.json asks for", key)
	}
	return nil
}

// asksForHTML reports whether a header of the configuration accepts pages for people, which nobody answers to a program
// unasked but a captive portal.
func (w *webhook) asksForHTML() bool {
	for name, value := range w.cfg.Header {
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

// jsonText is a scalar of an answer as an error shows it.
func jsonText(v any) string {
	switch v := v.(type) {
	case string:
		return cutRunes(cleanLine(v), 64)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
