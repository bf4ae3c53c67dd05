package matcher

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
)

// Subject is an incident as matchers see it.
type Subject struct {
	Incident *incident.Incident
	Severity notify.Severity
}

// Names returns the labels that a subject has.
func Names() []string {
	return []string{"alertname", "component", "host", "kind", "message", "name", "namespace", "node", "reason", "severity", "workload"}
}

// Label returns the value of a label, empty where the incident does not have it. The latest event speaks for the incident.
func (s *Subject) Label(name string) string {
	e := &s.Incident.Event
	switch name {
	case "alertname", "reason":
		return e.Reason
	case "component":
		return e.Reporter()
	case "host":
		return e.Host()
	case "kind":
		return e.InvolvedObject.Kind
	case "message":
		return e.Message
	case "name":
		return e.InvolvedObject.Name
	case "namespace":
		return e.InvolvedObject.Namespace
	case "node":
		if e.InvolvedObject.Kind == "Node" {
			return e.InvolvedObject.Name
		}
		return e.Host()
	case "severity":
		return string(s.Severity)
	case "workload":
		return s.Incident.Workload
	}
	return ""
}

// Matcher holds one label against a value.
type Matcher struct {
	// Name is one of Names.
	Name string
	// Value is a text, or a regular expression where Regexp is set.
	Value string
	// Regexp distinguishes =~ and !~ from = and !=, Not the second of each pair from the first.
	Regexp, Not bool

	pattern *filter.Pattern
}

// New returns a matcher. It fails for an unknown name and for what is no regular expression.
func New(name, value string, isRegexp, not bool) (*Matcher, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("%q is no label; there are %s", name, strings.Join(Names(), ", "))
	}
	m := &Matcher{Name: name, Value: value, Regexp: isRegexp, Not: not}
	if isRegexp && value != "" {
		pattern, err := filter.CompilePattern(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %q %w", name, value, err)
		}
		m.pattern = pattern
	}
	return m, nil
}

// Match reports whether the matcher takes the value of its label.
func (m *Matcher) Match(value string) bool {
	if m.pattern != nil {
		return m.pattern.Match(value) != m.Not
	}
	return (value == m.Value) != m.Not
}

// String returns the matcher as Parse takes it, with the value in quotes.
func (m *Matcher) String() string {
	return m.Name + m.operator() + `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(m.Value) + `"`
}

func (m *Matcher) operator() string {
	switch {
	case m.Regexp && m.Not:
		return "!~"
	case m.Regexp:
		return "=~"
	case m.Not:
		return "!="
	}
	return "="
}

// List is a list of matchers of which all must match.
type List []*Matcher

// Match reports whether all of the list match the subject. An empty list matches all.
func (l List) Match(s *Subject) bool {
	for _, m := range l {
		if !m.Match(s.Label(m.Name)) {
			return false
		}
	}
	return true
}

// MatchesNothingSet reports whether the list would match an incident without any label: such a list means everything, which nobody does.
func (l List) MatchesNothingSet() bool {
	return !slices.ContainsFunc(l, func(m *Matcher) bool { return !m.Match("") })
}

// Texts returns the matchers as texts.
func (l List) Texts() []string {
	texts := make([]string, len(l))
	for i, m := range l {
		texts[i] = m.String()
	}
	return texts
}

// String returns the list as amtool prints it, with spaces in between.
func (l List) String() string { return strings.Join(l.Texts(), " ") }

// wire is a matcher as Alertmanager's API writes it.
type wire struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual *bool  `json:"isEqual,omitempty"`
}

// MarshalJSON writes the matcher as Alertmanager's API does.
func (m *Matcher) MarshalJSON() ([]byte, error) {
	equal := !m.Not
	return json.Marshal(wire{m.Name, m.Value, m.Regexp, &equal})
}

// UnmarshalJSON reads what MarshalJSON writes. A matcher without isEqual is one for equality.
func (m *Matcher) UnmarshalJSON(data []byte) error {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	read, err := New(w.Name, w.Value, w.IsRegex, w.IsEqual != nil && !*w.IsEqual)
	if err != nil {
		return err
	}
	*m = *read
	return nil
}

// quoted shows a text in a mistake, at most 60 bytes of it.
func quoted(text string) string {
	if len(text) > 60 {
		return strconv.Quote(strings.ToValidUTF8(text[:60], "")) + "…"
	}
	return strconv.Quote(text)
}
