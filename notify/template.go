package notify

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"text/template/parse"
	"time"

	template "github.com/edge-eventer/edge-eventer/notify/texttemplate"
)

const (
	// maxRendered bounds what one template may write.
	maxRendered = 1 << 20
	// maxTree bounds the nodes of a body, maxDepth how deep they lie.
	maxTree  = 2000
	maxDepth = 32
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
}

// GetTimestampMs returns when the event was last seen in milliseconds, as in kubernetes-event-exporter.
func (d *templateData) GetTimestampMs() int64 { return d.LastSeen.UnixMilli() }

// GetTimestampISO8601 returns when the event was last seen as RFC 3339 in UTC, as in kubernetes-event-exporter.
func (d *templateData) GetTimestampISO8601() string {
	return d.LastSeen.UTC().Format("2006-01-02T15:04:05.000Z")
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
	e.Count = int32(min(in.Observed(), 1<<31-1))
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

// functions are what templates can call, in the argument order that pipelines want.
func functions(zone *time.Location) template.FuncMap {
	return template.FuncMap{
		"toJson": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		// truncate cuts to a number of characters, with a mark of how much is missing.
		"truncate": func(limit int, v any) string { return cutRunes(fmt.Sprint(v), max(0, limit)) },
		"upper":    func(v any) string { return strings.ToUpper(fmt.Sprint(v)) },
		"lower":    func(v any) string { return strings.ToLower(fmt.Sprint(v)) },
		// default replaces an empty value.
		"default": func(alternative, v any) any {
			if truth, ok := template.IsTrue(v); ok && truth {
				return v
			}
			return alternative
		},
		// timeIn shows a time in a zone by its IANA name; an empty name is the configured zone.
		"timeIn": func(name string, t time.Time) (time.Time, error) {
			if name == "" {
				return t.In(zone), nil
			}
			location, err := time.LoadLocation(name)
			if err != nil {
				return t, fmt.Errorf("no zone is called %q", name)
			}
			return t.In(location), nil
		},
	}
}

// leaf is a parsed string of a body, a header or a URL.
type leaf struct {
	path     string
	template *template.Template
}

func parseLeaf(path, text string, zone *time.Location) (*leaf, error) {
	t, err := template.New("").Funcs(functions(zone)).Parse(text)
	if err != nil {
		return nil, &templateError{path, err}
	}
	return &leaf{path, t}, nil
}

// execute runs the template.
func (l *leaf) execute(data *templateData) (string, error) {
	b := limitedBuffer{left: maxRendered}
	if err := l.template.Execute(&b, data); err != nil {
		return "", &templateError{l.path, err}
	}
	return b.String(), nil
}

// limitedBuffer refuses to grow beyond a limit, because a template can loop.
type limitedBuffer struct {
	bytes.Buffer

	left int
}

// Write fails when the limit is reached.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, fmt.Errorf("the result is larger than %s", sizeText(maxRendered))
	}
	return b.Buffer.Write(p)
}

// templateError names the leaf, and says what is wrong in fewer words than text/template.
type templateError struct {
	path string
	err  error
}

// Error returns the path of the leaf and what is wrong with it.
func (e *templateError) Error() string { return e.path + ": " + e.text() }

// Unwrap returns the error of text/template.
func (e *templateError) Unwrap() error { return e.err }

func (e *templateError) text() string {
	text := strings.TrimPrefix(e.err.Error(), "template: :")
	text = strings.Replace(text, `executing "" at `, "", 1)
	text = strings.Replace(text, " in type *notify.templateData", " of the event", 1)
	text = strings.Replace(text, "in type notify.", "in ", 1)
	if position, rest, ok := strings.Cut(text, ": "); ok && strings.Trim(position, "0123456789:") == "" {
		line, _, _ := strings.Cut(position, ":")
		return "template line " + line + ": " + rest
	}
	return text
}

// webhookTemplates are the templates of one webhook. Nothing is parsed where the configuration holds none.
type webhookTemplates struct {
	// tree is the body with *leaf in place of every string that is a template.
	tree   any
	url    *leaf
	header map[string]*leaf
}

func isTemplate(text string) bool { return strings.Contains(text, "{{") }

// inline returns the text of a secret that stands in the configuration itself. One from a file is taken as it is.
func inline(s Secret) string {
	if s.File() != "" {
		return ""
	}
	text, _ := s.Read()
	return text
}

func usesTemplates(cfg *Config) bool {
	if cfg.Body != nil || isTemplate(inline(cfg.URL)) {
		return true
	}
	for _, value := range cfg.Header {
		if isTemplate(inline(value)) {
			return true
		}
	}
	return false
}

// parseWebhookTemplates parses everything that is a template, and returns all errors.
func parseWebhookTemplates(cfg *Config) (*webhookTemplates, []error) {
	t := &webhookTemplates{header: make(map[string]*leaf)}
	p := treeParser{zone: cmp.Or(cfg.Location, time.UTC)}
	if cfg.Body != nil {
		t.tree = p.parse(cfg.Body, "body", 0)
		if p.nodes > maxTree {
			p.errs = append(p.errs, &templateError{"body", fmt.Errorf("has more than %d values", maxTree)})
		}
	}
	if text := inline(cfg.URL); isTemplate(text) {
		l, err := parseURL(text, p.zone)
		if err != nil {
			p.errs = append(p.errs, err)
		}
		t.url = l
	}
	for _, name := range sortedKeys(cfg.Header) {
		text := inline(cfg.Header[name])
		if !isTemplate(text) {
			continue
		}
		l, err := parseLeaf("headers."+name, text, p.zone)
		if err != nil {
			p.errs = append(p.errs, err)
			continue
		}
		t.header[name] = l
	}
	return t, p.errs
}

// treeParser replaces templates in a tree by their parsed form.
type treeParser struct {
	zone  *time.Location
	nodes int
	errs  []error
}

func (p *treeParser) parse(v any, path string, depth int) any {
	p.nodes++
	if p.nodes > maxTree {
		return nil
	}
	if depth > maxDepth {
		p.errs = append(p.errs, &templateError{path, fmt.Errorf("is more than %d levels deep", maxDepth)})
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		tree := make(map[string]any, len(v))
		for _, key := range sortedKeys(v) {
			tree[key] = p.parse(v[key], path+"."+key, depth+1)
		}
		return tree
	case []any:
		tree := make([]any, len(v))
		for i := range v {
			tree[i] = p.parse(v[i], path+"["+strconv.Itoa(i)+"]", depth+1)
		}
		return tree
	case string:
		if !isTemplate(v) {
			return v
		}
		l, err := parseLeaf(path, v, p.zone)
		if err != nil {
			p.errs = append(p.errs, err)
		}
		return l
	case nil, bool, int, int64, uint64, float64:
		return v
	}
	p.errs = append(p.errs, &templateError{path, errors.New("must be a mapping, a list, a string, a number, true, false or null")})
	return nil
}

// execute returns the tree with every leaf executed, and all errors.
func execute(tree any, data *templateData) (any, []error) {
	var errs []error
	switch v := tree.(type) {
	case map[string]any:
		done := make(map[string]any, len(v))
		for _, key := range sortedKeys(v) {
			value, more := execute(v[key], data)
			done[key] = value
			errs = append(errs, more...)
		}
		return done, errs
	case []any:
		done := make([]any, len(v))
		for i := range v {
			value, more := execute(v[i], data)
			done[i] = value
			errs = append(errs, more...)
		}
		return done, errs
	case *leaf:
		if v == nil {
			return nil, nil
		}
		text, err := v.execute(data)
		if err != nil {
			return nil, []error{err}
		}
		return validText(text), nil
	}
	return tree, nil
}

// body renders the first incident. It is the message of the event that is cut where the result would be larger than a batch may be.
func (t *webhookTemplates) body(cfg *Config, m *Message) (*Request, error) {
	limit := int(cfg.BatchBytes)
	for text := limit; ; text /= 2 {
		tree, errs := execute(t.tree, newTemplateData(cfg, m, text))
		if len(errs) > 0 {
			return nil, fmt.Errorf("execute template: %w", errors.Join(errs...))
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
		line = strings.Trim(string(toJSON(messageText(line, maxRendered))), `"`)
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
	if t.url != nil {
		text, err := t.url.execute(data)
		if err != nil {
			return err
		}
		to.url = text
	}
	if len(t.header) == 0 {
		return nil
	}
	to.header = maps.Clone(to.header)
	for name, l := range t.header {
		text, err := l.execute(data)
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

// parseURL parses a URL whose path and query hold templates. What an action prints is escaped for where it stands.
func parseURL(text string, zone *time.Location) (*leaf, error) {
	fixed, _, _ := strings.Cut(text, "{{")
	u, err := url.Parse(fixed)
	if err != nil || !isWebURL(fixed) || u.Path == "" && u.RawQuery == "" && !strings.HasSuffix(fixed, "?") {
		return nil, &templateError{"url", errors.New("must begin with https:// or http://, a host and a slash before the first template")}
	}
	t, err := template.New("").Funcs(functions(zone)).Funcs(template.FuncMap{
		"_path":  func(v any) string { return url.PathEscape(fmt.Sprint(v)) },
		"_query": func(v any) string { return url.QueryEscape(fmt.Sprint(v)) },
	}).Parse(text)
	if err != nil {
		return nil, &templateError{"url", err}
	}
	e := urlEscaper{place: "_path"}
	e.list(t.Root)
	return &leaf{"url", t}, nil
}

// urlEscaper adds the escaping function to the end of each pipeline that prints, as html/template does it.
type urlEscaper struct{ place string }

func (e *urlEscaper) list(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.TextNode:
			if bytes.ContainsRune(n.Text, '?') {
				e.place = "_query"
			}
		case *parse.ActionNode:
			if len(n.Pipe.Decl) == 0 {
				n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
					NodeType: parse.NodeCommand,
					Args:     []parse.Node{parse.NewIdentifier(e.place).SetPos(n.Pos)},
				})
			}
		case *parse.IfNode:
			e.list(n.List)
			e.list(n.ElseList)
		case *parse.RangeNode:
			e.list(n.List)
			e.list(n.ElseList)
		case *parse.WithNode:
			e.list(n.List)
			e.list(n.ElseList)
		}
	}
}

// checkWebhookTemplates parses all templates and executes them on two events, one with every field set and one with none that
// can be missing, so that an unknown field is found before an alert needs it.
func checkWebhookTemplates(cfg *Config, add addMistake) {
	report := func(errs []error) {
		for _, err := range errs {
			if e, ok := errors.AsType[*templateError](err); ok {
				add(e.path, "%s", e.text())
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
		_, errs := execute(t.tree, data)
		to := target{header: checked.Header}
		if err := t.target(&to, data); err != nil {
			errs = append(errs, err)
		} else if to.url != "" && !isWebURL(to.url) {
			errs = append(errs, &templateError{"url", errors.New("its templates make no URL")})
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
	topic, err := parseLeaf("topic", cfg.Topic, cfg.Location)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range []*Message{Sample(*cfg, now), sparseSample(*cfg, now)} {
		if err == nil {
			_, err = topic.execute(newTemplateData(cfg, m, textLimit(1)))
		}
	}
	if e, ok := errors.AsType[*templateError](err); ok {
		add(e.path, "%s", e.text())
	}
}
