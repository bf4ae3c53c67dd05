package notify

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/template"
)

// Template is a text of the configuration with templates over an incident, such as a topic.
type Template struct {
	cfg  *Config
	text *template.Template
}

// ParseTemplate parses the text. path names its key in errors.
func ParseTemplate(path, text string, c Common) (*Template, error) {
	cfg := c.config()
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	parsed, err := template.Parse(path, text, templateOptions(cfg))
	if err != nil {
		return nil, fmt.Errorf("parse template: %w", err)
	}
	return &Template{cfg: cfg, text: parsed}, nil
}

// Execute returns the text for an incident. The namespace of what has none, such as a node, is default.
func (t *Template) Execute(in *Incident, now time.Time) (string, error) {
	data := newTemplateData(t.cfg, &Message{Now: now, Incidents: []Incident{*in}}, 256)
	if data.Namespace == "" {
		data.Namespace = "default"
	}
	text, err := t.text.Execute(template.NewBudget(), data)
	if err != nil {
		return "", fmt.Errorf("execute template: %w", err)
	}
	return text, nil
}

// CheckTemplate adds a mistake unless the text is a template that executes for a full and for a sparse incident.
func CheckTemplate(path, text string, add AddMistake) {
	parsed, err := ParseTemplate(path, text, Common{})
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range []*Message{Sample(Config{}, now), sparseSample(Config{}, now)} {
		if err == nil {
			_, err = parsed.Execute(&m.Incidents[0], now)
		}
	}
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*template.Error](err); ok {
		add(path, "%s", e.Text())
		return
	}
	add(path, "%v", err)
}

// KafkaTopic makes a text a legal topic: 1 to 249 letters, digits and ._-, but not . or ..
func KafkaTopic(text string) string { return kafkaTopic(text) }
