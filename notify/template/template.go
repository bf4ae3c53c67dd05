// Package template runs the templates of a configuration: the language of text/template, over the fields of an event.
//
// Its promise is that a template renders byte for byte as text/template renders it, and that no template holds its caller: the steps
// it takes and the text it makes are bounded by a Budget, and an error says which bound was reached. Neither a loop, nor a template that calls
// itself, nor a string that is doubled again and again, nor a width in printf gets beyond it.
//
// A template can call the functions of text/template, those that Options documents, and the methods of times, durations, months, weekdays
// and zones that need no bytes and return one value. It cannot call methods of other types: what a caller wants to show of its data, it
// puts into fields, and no field may have the name of such a method.
//
// DESIGN.md says how, and what it cost.
package template

import (
	"fmt"
	"strings"
	"sync"
	"text/template/parse"
	"time"

	text "github.com/DataDog/datadog-agent/pkg/template/text"
)

// Options are what the functions of a template need to know. The functions are, in the argument order that pipelines want:
//
//	toJson VALUE              the value as JSON
//	truncate LIMIT VALUE      at most so many characters of the value
//	upper VALUE, lower VALUE  the value in upper or lower case
//	default OTHER VALUE       the value, or the other one where it is empty
//	timeIn NAME TIME          the time in the zone with that IANA name; an empty name is Zone
type Options struct {
	// Zone is what timeIn takes for an empty name. Nil means UTC.
	Zone *time.Location
	// Truncate shortens a text to a number of characters, which is never negative. It must not be nil where a template calls truncate.
	Truncate func(text string, limit int) string
}

// Template is one parsed text. Several goroutines may use it; they execute it one after the other.
type Template struct {
	path string
	text *text.Template
	size int
	run  run
}

// run is the execution that is under way, which the functions of the template charge.
type run struct {
	mu sync.Mutex
	// The mutex guards these.
	budget *Budget
	depth  int
	made   int
}

// Is reports whether a text holds anything to execute.
func Is(text string) bool { return strings.Contains(text, "{{") }

// Parse parses a text. The path names it in errors; every error is an *Error.
func Parse(path, text string, o Options) (*Template, error) { return parseText(path, text, o, nil) }

// parseText parses, lets change rewrite the tree of each template in the text, and makes it bounded.
func parseText(path, source string, o Options, change func(*parse.ListNode)) (*Template, error) {
	trees, err := parse.Parse("", source, "", "", names())
	if err != nil {
		return nil, &Error{Path: path, Err: err}
	}
	t := &Template{path: path, text: text.New("")}
	w := rewriter{methods: methods(), used: make(map[string]bool)}
	for name, tree := range trees {
		if change != nil && name == "" {
			change(tree.Root)
		}
		size := w.list(tree.Root)
		if name == "" {
			t.size = size
		} else {
			w.enclose(tree.Root, size)
		}
	}
	t.text.Funcs(t.run.functions(o, w.used))
	for name, tree := range trees {
		if _, err := t.text.AddParseTree(name, tree); err != nil {
			return nil, &Error{Path: path, Err: err}
		}
	}
	return t, nil
}

// Execute renders the template over data and charges the budget. It fails with an *Error, which wraps ErrSteps or ErrText where the budget
// does not suffice.
func (t *Template) Execute(b *Budget, data any) (string, error) {
	t.run.mu.Lock()
	defer t.run.mu.Unlock()
	t.run.budget, t.run.depth, t.run.made = b, 0, maxMade
	defer func() { t.run.budget = nil }()
	err := b.take(t.size)
	w := writer{budget: b}
	if err == nil {
		err = t.text.Execute(&w, data)
	}
	if err != nil {
		return "", &Error{Path: t.path, Err: err, data: fmt.Sprintf("%T", data)}
	}
	return w.text.String(), nil
}

// writer collects what a template prints and refuses to grow beyond the budget.
type writer struct {
	text   strings.Builder
	budget *Budget
}

// Write fails where the budget does not suffice.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.budget.write(len(p)); err != nil {
		return 0, err
	}
	return w.text.Write(p)
}
