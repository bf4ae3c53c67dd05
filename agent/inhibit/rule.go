package inhibit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/agent/matcher"
)

const (
	// maxRules bounds the configured rules, each of which is asked for each incident.
	maxRules = 64
	// maxMatchers bounds the matchers of one side of a rule.
	maxMatchers = 16
)

// Spec is an entry of Alertmanager's inhibit_rules.
type Spec struct {
	// Source and Target are matchers, several of which may stand in one text with commas between them. All must match.
	Source []string `yaml:"source_matchers"`
	Target []string `yaml:"target_matchers"`
	// Equal are labels whose values must be the same in both.
	Equal []string `yaml:"equal"`
}

// Mistake is one thing that is wrong with a list of specs.
type Mistake struct {
	// Path is that of the key below the list, such as [0].source_matchers[1].
	Path string
	// Text says what is wrong and what is allowed.
	Text string
}

// Mistakes are all that is wrong with a list of specs.
type Mistakes []Mistake

// Error returns one line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].Path + ": " + m[i].Text
	}
	return strings.Join(lines, "\n")
}

func (m *Mistakes) add(path, format string, args ...any) {
	*m = append(*m, Mistake{Path: path, Text: fmt.Sprintf(format, args...)})
}

// rule knows the two sides of an inhibition.
type rule struct {
	name string
	// source returns the group that an incident is the source of, target that in which it is held; false: it is none.
	source, target func(*matcher.Subject) (group string, ok bool)
	// near, if set, reports whether an incident whose group nobody can tell is a target all the same, of whichever source began together with
	// it.
	near func(*matcher.Subject) bool
	// folds says that an incident that matches both sides may be held by another one that does.
	folds bool
	// spares says that what is critical is not held by what is not.
	spares bool
}

// Rules are the rules that incidents are held against. The zero value has none.
type Rules struct{ all []rule }

// New returns the rules of at most 64 specs, and those that are built in before them unless they are switched off. Its error is of type
// Mistakes and holds every mistake.
func New(specs []Spec, builtIn bool) (*Rules, error) {
	var mistakes Mistakes
	rules := &Rules{}
	if builtIn {
		rules.all = builtInRules()
	}
	if len(specs) > maxRules {
		mistakes.add("", "must be at most %d", maxRules)
	}
	for i := range specs[:min(len(specs), maxRules)] {
		rules.all = append(rules.all, compile(fmt.Sprintf("[%d]", i), &specs[i], &mistakes))
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return rules, nil
}

func compile(path string, s *Spec, mistakes *Mistakes) rule {
	source := parse(path+".source_matchers", s.Source, mistakes)
	target := parse(path+".target_matchers", s.Target, mistakes)
	for i, name := range s.Equal {
		if !slices.Contains(matcher.Names(), name) {
			mistakes.add(fmt.Sprintf("%s.equal[%d]", path, i), "%q is no label; there are %s", name, strings.Join(matcher.Names(), ", "))
		}
	}
	side := func(l matcher.List) func(*matcher.Subject) (string, bool) {
		return func(subject *matcher.Subject) (string, bool) {
			if !l.Match(subject) {
				return "", false
			}
			var group strings.Builder
			for _, name := range s.Equal {
				value := subject.Label(name)
				fmt.Fprintf(&group, "%d:%s", len(value), value)
			}
			return group.String(), true
		}
	}
	return rule{name: "inhibit" + path, source: side(source), target: side(target)}
}

func parse(path string, texts []string, mistakes *Mistakes) matcher.List {
	var all matcher.List
	for i, text := range texts {
		list, err := matcher.ParseList(text)
		if err != nil {
			mistakes.add(fmt.Sprintf("%s[%d]", path, i), "%v", err)
			// One that stands for it keeps a second mistake away.
			list = matcher.List{nil}
		}
		all = append(all, list...)
	}
	switch {
	case len(all) == 0:
		mistakes.add(path, "must have at least one matcher")
	case len(all) > maxMatchers:
		mistakes.add(path, "must have at most %d matchers", maxMatchers)
	}
	return all
}
