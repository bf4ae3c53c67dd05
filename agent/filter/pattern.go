package filter

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// maxPattern bounds the text of one regular expression. RE2 programs grow with their text, and 200 of them have to fit
// beside everything else in 32 MiB.
const maxPattern = 1024

// Pattern is a regular expression that must match the whole of a text, line breaks included.
type Pattern struct {
	text string
	// re is nil for a text without special characters: it is compared, at a tenth of the cost.
	re *regexp.Regexp
}

// CompilePattern compiles a regular expression in RE2's syntax. A dot matches a line break too, since messages have many
// lines. It fails if the text is empty, longer than 1024 bytes or no regular expression.
func CompilePattern(text string) (*Pattern, error) {
	switch {
	case text == "":
		return nil, errors.New("must not be empty; leave the key out to match everything")
	case len(text) > maxPattern:
		return nil, fmt.Errorf("must be at most %d bytes, not %d", maxPattern, len(text))
	case regexp.QuoteMeta(text) == text:
		return &Pattern{text: text}, nil
	}
	// Compiled bare first, or "a)(b" would close the group that the anchors stand around.
	_, err := regexp.Compile(text)
	if err == nil {
		var re *regexp.Regexp
		if re, err = regexp.Compile("^(?s:" + text + ")$"); err == nil {
			return &Pattern{text: text, re: re}, nil
		}
	}
	if bad, ok := errors.AsType[*syntax.Error](err); ok {
		return nil, fmt.Errorf("is no regular expression (RE2): %s: %q", bad.Code, bad.Expr)
	}
	return nil, fmt.Errorf("is no regular expression (RE2): %w", err)
}

// Match reports whether the pattern matches the whole of text.
func (p *Pattern) Match(text string) bool {
	if p.re == nil {
		return text == p.text
	}
	return p.re.MatchString(text)
}

// String returns the text that was compiled.
func (p *Pattern) String() string { return p.text }
