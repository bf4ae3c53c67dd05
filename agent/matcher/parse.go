package matcher

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const space = " \t\r\n"

// Parse reads one matcher: a name, one of = != =~ !~, and a value, which may stand in double quotes. In the value \" \\ and \n stand for
// a quote, a backslash and a line break; any other backslash for itself.
func Parse(text string) (*Matcher, error) {
	rest := strings.Trim(text, space)
	end := strings.IndexAny(rest, "=!")
	if end < 0 {
		return nil, fmt.Errorf("%s is no matcher; write NAME=VALUE, with one of = != =~ !~ in between", quoted(text))
	}
	name, rest := strings.TrimRight(rest[:end], space), rest[end:]
	var isRegexp, not bool
	switch {
	case strings.HasPrefix(rest, "=~"):
		isRegexp = true
	case strings.HasPrefix(rest, "!~"):
		isRegexp, not = true, true
	case strings.HasPrefix(rest, "!="):
		not = true
	case !strings.HasPrefix(rest, "="):
		return nil, fmt.Errorf("%s is no matcher; the operators are = != =~ !~", quoted(text))
	}
	rest = rest[1:]
	if isRegexp || not {
		rest = rest[1:]
	}
	value, err := unquote(strings.TrimLeft(rest, space))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", quoted(text), err)
	}
	return New(name, value, isRegexp, not)
}

// unquote reads a value with or without quotes around it.
func unquote(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("the value is no valid UTF-8")
	}
	inner, isQuoted := strings.CutPrefix(text, `"`)
	var value strings.Builder
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == '"' && isQuoted && i == len(inner)-1:
			return value.String(), nil
		case c == '"':
			return "", errors.New(`a quote within the value must be written \"`)
		case c == '\\' && i+1 < len(inner) && strings.IndexByte(`n"\`, inner[i+1]) >= 0:
			i++
			if inner[i] == 'n' {
				value.WriteByte('\n')
			} else {
				value.WriteByte(inner[i])
			}
		default:
			value.WriteByte(c)
		}
	}
	if isQuoted {
		return "", errors.New("the quote at the end of the value is missing")
	}
	return value.String(), nil
}

// ParseList reads matchers with commas between them, as they stand in Alertmanager's configuration: braces may be around them and a comma
// behind the last one. A comma in quotes is part of the value.
func ParseList(text string) (List, error) {
	var list List
	rest := strings.TrimSuffix(strings.TrimPrefix(strings.Trim(text, space), "{"), "}")
	for strings.Trim(rest, space) != "" {
		end := comma(rest)
		m, err := Parse(rest[:end])
		if err != nil {
			return nil, err
		}
		list = append(list, m)
		rest = rest[min(end+1, len(rest)):]
	}
	return list, nil
}

// comma returns where the first comma outside of quotes is, or the length of text.
func comma(text string) int {
	inside := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case text[i] == '"':
			inside = !inside
		case text[i] == ',' && !inside:
			return i
		}
	}
	return len(text)
}
