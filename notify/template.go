package notify

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/template"
)

// templateData is what templates see: the event by the Go names of core/v1, and what the agent knows besides. Times are
// in the configured zone. Times that the API server did not set show when the event was first or last seen, since
// templates in use name lastTimestamp and would print year 1.
type templateData struct {
	Event

	// Cluster, Workload, Severity and so on are as in Incident.
	Cluster     string
	Workload    string
	Severity    string
	Occurrences int
	Untold      int
	FirstSeen   time.Time
	LastSeen    time.Time
	// Delay is how long ago the event was last seen.
	Delay   time.Duration
	ID      string
	Objects []string
	// ClusterName is what kubernetes-event-exporter calls Cluster.
	ClusterName string

	// GetTimestampMs and GetTimestampISO8601 are when the event was last seen in milliseconds, and as RFC 3339 in UTC. In
	// kubernetes-event-exporter they are methods; a template calls no methods but those of times, and cannot tell them from fields.
	GetTimestampMs      int64  `json:"-"`
	GetTimestampISO8601 string `json:"-"`
	// Observed, Reporter and Host are as the methods of Event.
	Observed int    `json:"-"`
	Reporter string `json:"-"`
	Host     string `json:"-"`
}

// newTemplateData is the first incident of m, with the losses above its message. A message without incidents is one of
// the agent's own, so that losses reach a receiver that knows only events.
func newTemplateData(cfg *Config, m *Message, textLimit int) *templateData {
	in := lossIncident(cfg, m)
	if len(m.Incidents) > 0 {
		in = m.Incidents[0]
	}
	var text strings.Builder
	for _, line := range lossLines(cfg, m) {
		text.WriteString(line + "\n")
	}
	short := func(text string) string { return nameText(text, 1024) }
	d := &templateData{
		Event:       in.Event,
		Cluster:     short(cmp.Or(in.Cluster, cfg.Cluster)),
		Workload:    short(in.Workload),
		Severity:    string(in.Severity),
		Occurrences: in.Occurrences,
		Untold:      in.Untold,
		FirstSeen:   in.FirstSeen.In(cfg.Location),
		LastSeen:    in.LastSeen.In(cfg.Location),
		Delay:       max(0, m.Now.Sub(in.LastSeen)).Truncate(time.Second),
		ID:          short(in.ID),
	}
	d.ClusterName = d.Cluster
	for _, name := range in.Objects {
		d.Objects = append(d.Objects, short(name))
	}
	e := &d.Event
	e.Message = messageText(text.String()+e.Message, textLimit)
	for _, field := range []*string{
		&e.Name, &e.Namespace, &e.UID, &e.ResourceVersion, &e.Reason, &e.Source.Component, &e.Source.Host, &e.Type, &e.Action,
		&e.ReportingController, &e.ReportingInstance,
	} {
		*field = short(*field)
	}
	e.InvolvedObject = shortReference(e.InvolvedObject, short)
	if e.Related != nil {
		related := shortReference(*e.Related, short)
		e.Related = &related
	}
	e.Source.Component = cmp.Or(e.Source.Component, e.ReportingController)
	e.Source.Host = cmp.Or(e.Source.Host, e.ReportingInstance)
	d.GetTimestampMs = d.LastSeen.UnixMilli()
	d.GetTimestampISO8601 = d.LastSeen.UTC().Format("2006-01-02T15:04:05.000Z")
	d.Reporter, d.Host = e.Reporter(), e.Host()
	e.Count = int32(min(in.Observed(), 1<<31-1))
	d.Observed = e.Observed()
	first, last := in.Event.FirstSeen(), in.Event.LastSeen()
	e.FirstTimestamp = firstSet(e.FirstTimestamp, first).In(cfg.Location)
	e.LastTimestamp = firstSet(e.LastTimestamp, last).In(cfg.Location)
	e.EventTime = firstSet(e.EventTime, last).In(cfg.Location)
	e.CreationTimestamp = firstSet(e.CreationTimestamp, first).In(cfg.Location)
	return d
}

func shortReference(o ObjectReference, short func(string) string) ObjectReference {
	return ObjectReference{
		short(o.Kind), short(o.Namespace), short(o.Name), short(o.UID), short(o.APIVersion), short(o.ResourceVersion), short(o.FieldPath),
	}
}

// lossIncident stands for the losses of a message where only events can be told.
func lossIncident(cfg *Config, m *Message) Incident {
	return Incident{
		Event: Event{
			InvolvedObject:      ObjectReference{Kind: "EdgeEventer", Name: cfg.Cluster},
			Reason:              "EventsLost",
			Source:              EventSource{Component: "edge-eventer"},
			Type:                "Warning",
			Count:               1,
			FirstTimestamp:      m.Now,
			LastTimestamp:       m.Now,
			ReportingController: "edge-eventer",
		},
		ID:          "losses-" + batchID(nil, m.Losses),
		Cluster:     cfg.Cluster,
		Workload:    cfg.Cluster,
		Severity:    Warning,
		Occurrences: 1,
		Untold:      1,
		FirstSeen:   m.Now,
		LastSeen:    m.Now,
		Own:         true,
	}
}

// templateOptions are what the functions of templates know of a receiver.
func templateOptions(cfg *Config) template.Options {
	return template.Options{Zone: cfg.Location, Truncate: cutRunes}
}

// webhookTemplates are the templates of one webhook. Nothing is parsed where the configuration holds none.
type webhookTemplates struct {
	body   template.Tree
	url    *template.Template
	header map[string]*template.Template
}

// inline returns the text of a secret that stands in the configuration itself. One from a file is taken as it is.
func inline(s Secret) string {
	if s.File() != "" {
		return ""
	}
	text, _ := s.Read()
	return text
}

func usesTemplates(cfg *Config) bool {
	if cfg.Body != nil || template.Is(inline(cfg.URL)) {
		return true
	}
	for _, value := range cfg.Header {
		if template.Is(inline(value)) {
			return true
		}
	}
	return false
}

// parseWebhookTemplates parses everything that is a template, and returns all errors.
func parseWebhookTemplates(cfg *Config) (*webhookTemplates, []error) {
	t := &webhookTemplates{header: make(map[string]*template.Template)}
	options := templateOptions(cfg)
	var errs []error
	if cfg.Body != nil {
		t.body, errs = template.ParseTree("body", cfg.Body, options)
	}
	if text := inline(cfg.URL); template.Is(text) {
		url, err := parseURL(text, options)
		if err != nil {
			errs = append(errs, err)
		}
		t.url = url
	}
	for _, name := range sortedKeys(cfg.Header) {
		text := inline(cfg.Header[name])
		if !template.Is(text) {
			continue
		}
		header, err := template.Parse("headers."+name, text, options)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		t.header[name] = header
	}
	return t, errs
}

// parseURL parses a URL with templates in its path or query. Where requests go is not for an event to decide.
func parseURL(text string, o template.Options) (*template.Template, error) {
	fixed, _, _ := strings.Cut(text, "{{")
	u, err := url.Parse(fixed)
	if err != nil || !isWebURL(fixed) || u.Path == "" && u.RawQuery == "" && !strings.HasSuffix(fixed, "?") {
		return nil, &template.Error{
			Path: "url", Err: errors.New("must begin with https:// or http://, a host and a slash before the first template"),
		}
	}
	return template.ParseURL("url", text, o)
}

// render renders the body for the first incident. It is the message of the event that is cut where the result would be larger than a batch
// may be.
func (t *webhookTemplates) render(cfg *Config, m *Message) (*Request, error) {
	limit := int(cfg.BatchBytes)
	for text := limit; ; text /= 2 {
		tree, errs := t.body.Execute(template.NewBudget(), newTemplateData(cfg, m, text))
		err := errors.Join(errs...)
		if err != nil && (text == 0 || !errors.Is(err, template.ErrText)) {
			return nil, fmt.Errorf("execute template: %w", err)
		}
		if err != nil {
			continue
		}
		body := toJSON(tree)
		if len(body) <= limit {
			r := &Request{Body: body, Incidents: min(len(m.Incidents), 1)}
			if showsLosses(cfg, m, body) {
				r.Losses = m.lossesIn(LossesWhole)
			}
			return r, nil
		}
		if text == 0 {
			return nil, fmt.Errorf("execute template: the body is larger than batch.maxBytes even without the event's message")
		}
	}
}

// showsLosses reports whether each line that newTemplateData puts above the message is in the body. A template may leave the
// message out, cut it or take only its end, and a loss that nobody can read there was not told. Case is not compared, for upper.
func showsLosses(cfg *Config, m *Message, body []byte) bool {
	if len(m.Losses) == 0 {
		return false
	}
	shown := bytes.ToLower(body)
	for _, line := range lossLines(cfg, m) {
		line = strings.Trim(string(toJSON(messageText(line, template.MaxText))), `"`)
		if !bytes.Contains(shown, bytes.ToLower([]byte(line))) {
			return false
		}
	}
	return true
}

// lossLines are the losses as a receiver that knows only events shows them.
func lossLines(cfg *Config, m *Message) []string {
	w := wordsOf(cfg.Language)
	var lines []string
	for i := range m.Losses[:min(len(m.Losses), 10)] {
		lines = append(lines, w.loss(&m.Losses[i], cfg.Location))
	}
	return lines
}

// target executes the templates of the URL and the headers.
func (t *webhookTemplates) target(to *target, data *templateData) error {
	budget := template.NewBudget()
	if t.url != nil {
		text, err := t.url.Execute(budget, data)
		if err != nil {
			return err
		}
		to.url = text
	}
	if len(t.header) == 0 {
		return nil
	}
	to.header = maps.Clone(to.header)
	for _, name := range sortedKeys(t.header) {
		text, err := t.header[name].Execute(budget, data)
		if err != nil {
			return err
		}
		to.header[name] = SecretValue(headerText(text))
	}
	return nil
}

// headerText makes a text fit for a header's value: one line without control characters.
func headerText(text string) string {
	return cutBytes(cleanLine(strings.ReplaceAll(text, "\uFFFD", "?")), 1024)
}

// checkWebhookTemplates parses all templates and executes them on two events, one with every field set and one with none that
// can be missing, so that an unknown field is found before an alert needs it.
func checkWebhookTemplates(cfg *Config, add addMistake) {
	report := func(errs []error) {
		for _, err := range errs {
			if e, ok := errors.AsType[*template.Error](err); ok {
				add(e.Path, "%s", e.Text())
			}
		}
	}
	t, errs := parseWebhookTemplates(cfg)
	if len(errs) > 0 {
		report(errs)
		return
	}
	checked := *cfg
	checked.Location = cmp.Or(cfg.Location, time.UTC)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range []*Message{Sample(checked, now), sparseSample(checked, now)} {
		data := newTemplateData(&checked, m, textLimit(1))
		_, errs := t.body.Execute(template.NewBudget(), data)
		to := target{header: checked.Header}
		if err := t.target(&to, data); err != nil {
			errs = append(errs, err)
		} else if to.url != "" && !isWebURL(to.url) {
			errs = append(errs, &template.Error{Path: "url", Err: errors.New("its templates make no URL")})
		}
		if len(errs) > 0 {
			report(errs)
			return
		}
	}
}

// checkTopic parses and executes the template of a topic.
func checkTopic(cfg *Config, add addMistake) {
	cfg.Location = cmp.Or(cfg.Location, time.UTC)
	topic, err := template.Parse("topic", cfg.Topic, templateOptions(cfg))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range []*Message{Sample(*cfg, now), sparseSample(*cfg, now)} {
		if err == nil {
			_, err = topic.Execute(template.NewBudget(), newTemplateData(cfg, m, textLimit(1)))
		}
	}
	if e, ok := errors.AsType[*template.Error](err); ok {
		add(e.Path, "%s", e.Text())
	}
}
