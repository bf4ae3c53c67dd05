package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/template"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// templates are the templates of one webhook. Nothing is parsed where the configuration holds none.
type templates struct {
	body   template.Tree
	url    *template.Template
	header map[string]*template.Template
}

// inline returns the text of a secret that stands in the configuration itself. One from a file is taken as it is.
func inline(s notify.Secret) string {
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
	for _, value := range cfg.Headers {
		if template.Is(inline(value)) {
			return true
		}
	}
	return false
}

// parseAll parses everything that is a template, and returns all errors.
func parseAll(cfg *Config, common *notify.Common) (*templates, []error) {
	t := &templates{header: make(map[string]*template.Template)}
	options := template.OptionsOf(common)
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
	for _, name := range slices.Sorted(maps.Keys(cfg.Headers)) {
		text := inline(cfg.Headers[name])
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
	if err != nil || !notify.IsWebURL(fixed) || u.Path == "" && u.RawQuery == "" && !strings.HasSuffix(fixed, "?") {
		return nil, &template.Error{
			Path: "url", Err: errors.New("must begin with https:// or http://, a host and a slash before the first template"),
		}
	}
	return template.ParseURL("url", text, o)
}

// render renders the body for the first incident. It is the message of the event that is cut where the result would be larger than a batch
// may be.
func (t *templates) render(cfg *Config, common *notify.Common, m *notify.Message) (*notify.Request, error) {
	limit := int(cfg.Batch.MaxBytes)
	for text := limit; ; text /= 2 {
		tree, errs := t.body.Execute(template.NewBudget(), template.NewData(common, m, text))
		err := errors.Join(errs...)
		if err != nil && (text == 0 || !errors.Is(err, template.ErrText)) {
			return nil, fmt.Errorf("execute template: %w", err)
		}
		if err != nil {
			continue
		}
		body := notify.JSON(tree)
		if len(body) <= limit {
			r := &notify.Request{Body: body, Incidents: min(len(m.Incidents), 1)}
			if showsLosses(common, m, body) {
				r.Losses = m.LossesIn(notify.LossesWhole)
			}
			return r, nil
		}
		if text == 0 {
			return nil, fmt.Errorf("execute template: the body is larger than batch.maxBytes even without the event's message")
		}
	}
}

// showsLosses reports whether each line that template.NewData puts above the message is in the body. A template may leave the
// message out, cut it or take only its end, and a loss that nobody can read there was not told. Case is not compared, for upper.
func showsLosses(common *notify.Common, m *notify.Message, body []byte) bool {
	if len(m.Losses) == 0 {
		return false
	}
	shown := bytes.ToLower(body)
	for _, line := range template.LossLines(common, m) {
		line = strings.Trim(string(notify.JSON(untrusted.Message(line, template.MaxText))), `"`)
		if !bytes.Contains(shown, bytes.ToLower([]byte(line))) {
			return false
		}
	}
	return true
}

// target executes the templates of the URL and the headers.
func (t *templates) target(to *notify.Target, data any) error {
	budget := template.NewBudget()
	if t.url != nil {
		text, err := t.url.Execute(budget, data)
		if err != nil {
			return err
		}
		to.URL = text
	}
	if len(t.header) == 0 {
		return nil
	}
	to.Header = maps.Clone(to.Header)
	for _, name := range slices.Sorted(maps.Keys(t.header)) {
		text, err := t.header[name].Execute(budget, data)
		if err != nil {
			return err
		}
		to.Header[name] = notify.SecretValue(headerText(text))
	}
	return nil
}

// headerText makes a text fit for a header's value: one line without control characters.
func headerText(text string) string {
	return untrusted.CutBytes(untrusted.CleanLine(strings.ReplaceAll(text, "\uFFFD", "?")), 1024)
}

// checkTemplates parses all templates and executes them on two events, one with every field set and one with none that
// can be missing, so that an unknown field is found before an alert needs it.
func checkTemplates(cfg *Config, add notify.AddMistake) {
	report := func(errs []error) {
		for _, err := range errs {
			if e, ok := errors.AsType[*template.Error](err); ok {
				add(e.Path, "%s", e.Text())
			}
		}
	}
	common := &notify.Common{Location: time.UTC}
	t, errs := parseAll(cfg, common)
	if len(errs) > 0 {
		report(errs)
		return
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range []*notify.Message{notify.Sample("", now), notify.SparseSample("", now)} {
		data := template.NewData(common, m, chat.TextLimit(1))
		_, errs := t.body.Execute(template.NewBudget(), data)
		to := notify.Target{Header: cfg.Headers}
		if err := t.target(&to, data); err != nil {
			errs = append(errs, err)
		} else if to.URL != "" && !notify.IsWebURL(to.URL) {
			errs = append(errs, &template.Error{Path: "url", Err: errors.New("its templates make no URL")})
		}
		if len(errs) > 0 {
			report(errs)
			return
		}
	}
}
