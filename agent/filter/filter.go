package filter

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

const (
	// maxRules bounds a list of rules: an event is held against each of them.
	maxRules = 200
	// maxText bounds the text of a rule as metrics show it.
	maxText = 256
)

// Match is what an event must be like. Each field that is set must match; the zero value matches every event. The fields are
// regular expressions in RE2's syntax, anchored at both ends.
type Match struct {
	// Namespace, Kind and Name are those of the involved object. The events of an object without a namespace, such as a
	// node, are stored in the namespace default, but a rule for that namespace does not mean them.
	Namespace string `yaml:"namespace"`
	Kind      string `yaml:"kind"`
	Name      string `yaml:"name"`
	Reason    string `yaml:"reason"`
	Message   string `yaml:"message"`
	// Component is the reporter, such as kubelet, and Host the node it runs on.
	Component string `yaml:"component"`
	Host      string `yaml:"host"`
	// MinCount is how often the event must have been observed, as the event itself says. 0: any number of times.
	MinCount int `yaml:"minCount"`
}

// Rule keeps or drops the events that it matches: exactly one of Keep and Drop is set.
type Rule struct {
	Keep *Match `yaml:"keep"`
	Drop *Match `yaml:"drop"`
}

// Mistake is a reason why a list of rules is refused.
type Mistake struct {
	// Path is where the mistake is, such as [2].drop.reason; empty: in the list as a whole.
	Path string
	// Text says what is allowed.
	Text string
}

// Mistakes is the error of New and NewMatcher.
type Mistakes []Mistake

// Error lists the mistakes.
func (m Mistakes) Error() string {
	texts := make([]string, len(m))
	for i, one := range m {
		texts[i] = cmp.Or(one.Path, "the list") + ": " + one.Text
	}
	return strings.Join(texts, "; ")
}

func (m *Mistakes) add(path, format string, args ...any) {
	*m = append(*m, Mistake{Path: path, Text: fmt.Sprintf(format, args...)})
}

// Count is how often a rule decided.
type Count struct {
	// Index is the rule's place in its list, from 0.
	Index int
	// Text is the rule as a person would write it, at most 256 bytes: drop: {reason: Unhealthy}.
	Text string
	// Hits counts the events that the rule decided since it was compiled.
	Hits uint64
}

// Filter is an ordered list of compiled rules. The zero Filter keeps everything.
type Filter struct{ rules []rule }

// New compiles rules, at most 200. Its error is of type Mistakes.
func New(rules []Rule) (*Filter, error) {
	var mistakes Mistakes
	if len(rules) > maxRules {
		return nil, tooMany(len(rules))
	}
	f := &Filter{rules: make([]rule, 0, len(rules))}
	for i := range rules {
		path := fmt.Sprintf("[%d]", i)
		keep, drop := rules[i].Keep, rules[i].Drop
		if (keep == nil) == (drop == nil) {
			mistakes.add(path, "must have exactly one of keep and drop")
			continue
		}
		verb, match := "keep", keep
		if drop != nil {
			verb, match = "drop", drop
		}
		f.rules = append(f.rules, compile(verb, path+"."+verb, match, &mistakes))
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return f, nil
}

// Keep reports whether the event is kept: what the first rule that matches says, else true. It counts the rule's hit.
func (f *Filter) Keep(e *event.Event) bool {
	r := first(f.rules, e)
	if r == nil {
		return true
	}
	r.hits.Add(1)
	return r.keep
}

// WouldKeep is Keep without counting.
func (f *Filter) WouldKeep(e *event.Event) bool {
	r := first(f.rules, e)
	return r == nil || r.keep
}

// Rules returns the rules in their order with how often each decided.
func (f *Filter) Rules() []Count { return counts(f.rules) }

// Matcher is a list of compiled matches of which any may match. The zero Matcher matches everything.
type Matcher struct{ rules []rule }

// NewMatcher compiles matches, at most 200. Its error is of type Mistakes.
func NewMatcher(matches []Match) (*Matcher, error) {
	var mistakes Mistakes
	if len(matches) > maxRules {
		return nil, tooMany(len(matches))
	}
	m := &Matcher{rules: make([]rule, 0, len(matches))}
	for i := range matches {
		m.rules = append(m.rules, compile("", fmt.Sprintf("[%d]", i), &matches[i], &mistakes))
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return m, nil
}

// Match reports whether any of the rules matches the event; with no rules it is true. It counts the first one's hit.
func (m *Matcher) Match(e *event.Event) bool {
	r := first(m.rules, e)
	if r != nil {
		r.hits.Add(1)
	}
	return r != nil || len(m.rules) == 0
}

// WouldMatch is Match without counting.
func (m *Matcher) WouldMatch(e *event.Event) bool {
	return len(m.rules) == 0 || first(m.rules, e) != nil
}

// Rules returns the rules in their order with how often each was the first to match.
func (m *Matcher) Rules() []Count { return counts(m.rules) }

// rule is a compiled Match with what it decides.
type rule struct {
	text     string
	keep     bool
	minCount int
	hits     *atomic.Uint64

	namespace, kind, name, reason, message, component, host *Pattern
}

func compile(verb, path string, m *Match, mistakes *Mistakes) rule {
	r := rule{text: text(verb, m), keep: verb != "drop", minCount: m.MinCount, hits: new(atomic.Uint64)}
	for _, f := range []struct {
		key  string
		text string
		to   **Pattern
	}{
		{"namespace", m.Namespace, &r.namespace},
		{"kind", m.Kind, &r.kind},
		{"name", m.Name, &r.name},
		{"reason", m.Reason, &r.reason},
		{"message", m.Message, &r.message},
		{"component", m.Component, &r.component},
		{"host", m.Host, &r.host},
	} {
		if f.text == "" {
			continue
		}
		p, err := CompilePattern(f.text)
		if err != nil {
			mistakes.add(path+"."+f.key, "%v", err)
			continue
		}
		*f.to = p
	}
	if m.MinCount < 0 {
		mistakes.add(path+".minCount", "must be 1 or more")
	}
	return r
}

// first returns the first of the rules that matches the event, or nil.
func first(rules []rule, e *event.Event) *rule {
	for i := range rules {
		if rules[i].match(e) {
			return &rules[i]
		}
	}
	return nil
}

// match holds the short texts against their patterns first; the message is the longest.
func (r *rule) match(e *event.Event) bool {
	return (r.minCount == 0 || e.Observed() >= r.minCount) &&
		(r.reason == nil || r.reason.Match(e.Reason)) &&
		(r.kind == nil || r.kind.Match(e.InvolvedObject.Kind)) &&
		(r.namespace == nil || r.namespace.Match(e.InvolvedObject.Namespace)) &&
		(r.name == nil || r.name.Match(e.InvolvedObject.Name)) &&
		(r.component == nil || r.component.Match(e.Reporter())) &&
		(r.host == nil || r.host.Match(e.Host())) &&
		(r.message == nil || r.message.Match(e.Message))
}

// tooMany is the only mistake that is looked for in a list that is too long.
func tooMany(n int) error {
	return Mistakes{{Text: fmt.Sprintf("must have at most %d rules, not %d", maxRules, n)}}
}

func counts(rules []rule) []Count {
	all := make([]Count, len(rules))
	for i := range rules {
		all[i] = Count{Index: i, Text: rules[i].text, Hits: rules[i].hits.Load()}
	}
	return all
}

// text writes a rule in the order of the documentation.
func text(verb string, m *Match) string {
	var parts []string
	for _, f := range [][2]string{
		{"namespace", m.Namespace}, {"kind", m.Kind}, {"name", m.Name}, {"reason", m.Reason},
		{"message", m.Message}, {"component", m.Component}, {"host", m.Host},
	} {
		if f[1] != "" {
			parts = append(parts, f[0]+": "+f[1])
		}
	}
	if m.MinCount != 0 {
		parts = append(parts, "minCount: "+strconv.Itoa(m.MinCount))
	}
	s := "{" + strings.Join(parts, ", ") + "}"
	if verb != "" {
		s = verb + ": " + s
	}
	if len(s) <= maxText {
		return s
	}
	s = s[:maxText-len("…")]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// Hits returns how often each rule decided.
func Hits(rules []Count) []uint64 {
	hits := make([]uint64, len(rules))
	for i, r := range rules {
		hits[i] = r.Hits
	}
	return hits
}
