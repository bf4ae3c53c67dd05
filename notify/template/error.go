package template

import (
	"errors"
	"strings"
)

// Error says which template is wrong, and what is wrong with it, in fewer words than text/template.
type Error struct {
	// Path is where the template stands in the configuration.
	Path string
	Err  error
	// data is the type of the data, which an operator knows as the event.
	data string
}

// Error returns the path and what is wrong.
func (e *Error) Error() string { return e.Path + ": " + e.Text() }

// Unwrap returns the error of the parser or the executor.
func (e *Error) Unwrap() error { return e.Err }

// Text returns what is wrong, without the path.
func (e *Error) Text() string {
	text := strings.TrimPrefix(e.Err.Error(), "template: :")
	text = strings.Replace(text, `executing "" at `, "", 1)
	if e.data != "" {
		text = strings.Replace(text, " in type "+e.data, " of the event", 1)
	}
	text = strings.Replace(text, "in type event.", "in ", 1)
	bound, bounded := errors.AsType[*boundError](e.Err)
	if position, rest, ok := strings.Cut(text, ": "); ok && strings.Trim(position, "0123456789:") == "" {
		line, _, _ := strings.Cut(position, ":")
		if bounded {
			// Where it was reached is a function that no operator knows.
			rest = bound.Error()
		}
		return "template line " + line + ": " + rest
	}
	return text
}
