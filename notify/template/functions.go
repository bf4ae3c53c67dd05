package template

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"strings"
	"time"

	text "github.com/DataDog/datadog-agent/pkg/template/text"
)

// names are the functions that the parser lets a template call.
func names() map[string]any {
	all := map[string]any{}
	for _, name := range []string{
		// Those of text/template that make no text are the executor's own.
		"and", "call", "index", "slice", "len", "not", "or", "eq", "ge", "gt", "le", "lt", "ne",
		"html", "js", "print", "printf", "println", "urlquery",
		"toJson", "truncate", "upper", "lower", "default", "timeIn",
	} {
		all[name] = true
	}
	return all
}

// functions are those of the used ones that are not the executor's own. All that make text are bounded.
func (r *run) functions(o Options, used map[string]bool) text.FuncMap {
	all := text.FuncMap{
		stepName:  r.step,
		enterName: r.enter,
		leaveName: r.leave,
		"print":   r.bounded(fmt.Sprint),
		"println": r.bounded(fmt.Sprintln),
		"printf":  r.printf,
		// The executor takes these three for text/template's own.
		"html":     r.bounded(text.HTMLEscaper),
		"js":       r.bounded(text.JSEscaper),
		"urlquery": r.bounded(text.URLQueryEscaper),
		"toJson":   r.toJSON,
		"truncate": func(limit int, v any) (string, error) {
			return r.textOf(v, func(s string) string { return o.Truncate(s, max(0, limit)) })
		},
		"upper":   func(v any) (string, error) { return r.textOf(v, strings.ToUpper) },
		"lower":   func(v any) (string, error) { return r.textOf(v, strings.ToLower) },
		pathName:  func(v any) (string, error) { return r.textOf(v, url.PathEscape) },
		queryName: func(v any) (string, error) { return r.textOf(v, url.QueryEscape) },
		levelName: func(v any) (string, error) { return r.textOf(v, topicLevel) },
		"default": defaultTo,
		"timeIn":  o.timeIn,
	}
	maps.Copy(all, methods())
	all["Format"] = r.format
	maps.DeleteFunc(all, func(name string, _ any) bool { return !used[name] })
	return all
}

// bounded charges what a function that makes text reads and makes.
func (r *run) bounded(make func(...any) string) func(...any) (string, error) {
	return func(args ...any) (string, error) {
		total := 0
		for _, arg := range args {
			total += 1 + sizeOf(arg, r.made-total)
			if total > r.made {
				break
			}
		}
		if err := r.read(total); err != nil {
			return "", err
		}
		return r.keep(make(args...))
	}
}

// textOf applies a function to the text of a value.
func (r *run) textOf(v any, make func(string) string) (string, error) {
	if err := r.read(sizeOf(v, r.made)); err != nil {
		return "", err
	}
	return r.keep(make(fmt.Sprint(v)))
}

// printf is fmt.Sprintf, if what it makes is short enough.
func (r *run) printf(format string, args ...any) (string, error) {
	if err := r.read(formattedSize(format, args, r.made)); err != nil {
		return "", err
	}
	return r.keep(fmt.Sprintf(format, args...))
}

func (r *run) toJSON(v any) (string, error) {
	if err := r.read(sizeOf(v, r.made)); err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return r.keep(string(b))
}

// format is Format of time.Time.
func (r *run) format(t time.Time, layout string) (string, error) {
	if err := r.read(len(layout)); err != nil {
		return "", err
	}
	return r.keep(t.Format(layout))
}

// defaultTo replaces an empty value.
func defaultTo(other, v any) any {
	if truth, ok := text.IsTrue(v); ok && truth {
		return v
	}
	return other
}

func (o Options) timeIn(name string, t time.Time) (time.Time, error) {
	if name == "" {
		if o.Zone == nil {
			return t.UTC(), nil
		}
		return t.In(o.Zone), nil
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return t, fmt.Errorf("no zone is called %q", name)
	}
	return t.In(location), nil
}

// scalarSize is more than what the text of a number, a time or a name of a field takes.
const scalarSize = 64

// sizeOf is about how many bytes the text of a value has, and stops counting beyond the limit. It never counts a string for less than it is.
func sizeOf(v any, limit int) int {
	if text, ok := v.(string); ok {
		return len(text)
	}
	return valueSize(reflect.ValueOf(v), limit)
}

func valueSize(v reflect.Value, limit int) int {
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Interface, reflect.Pointer:
		return scalarSize + valueSize(v.Elem(), limit)
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		// The largest has 309 digits before the point.
		return 1 << 10
	case reflect.Struct:
		size := scalarSize
		if v.Type() == reflect.TypeFor[time.Time]() {
			return size
		}
		for i := 0; i < v.NumField() && size <= limit; i++ {
			size += scalarSize + valueSize(v.Field(i), limit-size)
		}
		return size
	case reflect.Slice, reflect.Array:
		size := scalarSize
		for i := 0; i < v.Len() && size <= limit; i++ {
			size += 4 + valueSize(v.Index(i), limit-size)
		}
		return size
	case reflect.Map:
		size := scalarSize
		for key, value := range v.Seq2() {
			if size > limit {
				break
			}
			size += 4 + valueSize(key, limit-size) + valueSize(value, limit-size)
		}
		return size
	}
	return scalarSize
}

// formattedSize is at least what fmt.Sprintf makes, and more only where verbs have flags, quotes, or indexes of arguments.
func formattedSize(format string, args []any, limit int) int {
	sizes := make([]argument, len(args))
	// A star takes its width from an argument; an index in brackets may name any argument again and again.
	var widest argument
	total, star := len(format), 0
	for i, arg := range args {
		sizes[i] = argumentOf(arg, limit)
		widest.size, widest.parts = max(widest.size, sizes[i].size), max(widest.parts, sizes[i].parts)
		star = max(star, sizes[i].width)
		// What no verb takes is shown too, with its type.
		total += scalarSize
	}
	next := 0
	indexed := strings.Contains(format, "[")
	for i := 0; i < len(format) && total <= limit; i++ {
		if format[i] != '%' {
			continue
		}
		verb := parseVerb(format[i+1:])
		i += verb.length
		next += verb.stars
		if verb.percent {
			continue
		}
		arg := widest
		if !indexed {
			arg = argument{parts: 1}
			if next < len(sizes) {
				arg = sizes[next]
			}
		}
		next++
		total += scalarSize + (verb.width+verb.stars*star)*arg.parts + verb.factor*arg.size
	}
	for ; next < len(sizes) && total <= limit; next++ {
		total += sizes[next].size
	}
	return total
}

// argument is what matters of an argument of printf: the size of its text, how many parts of it may be padded each, and the width that a star
// would take from it.
type argument struct{ size, parts, width int }

func argumentOf(arg any, limit int) argument {
	a := argument{size: sizeOf(arg, limit), parts: 1}
	switch v := reflect.ValueOf(arg); {
	case v.CanInt():
		a.width = maxWidth(v.Int())
	case v.CanUint():
		a.width = maxWidth(int64(min(v.Uint(), 1<<20)))
	case v.Kind() != reflect.String && v.IsValid():
		// Each part of a list or a struct has counted four bytes or more.
		a.parts = 1 + a.size/4
	}
	return a
}

// maxWidth is the width that fmt makes of a number: beyond a million it shows a mistake instead.
func maxWidth(n int64) int {
	if n < 0 {
		n = -n
	}
	if n < 0 || n > 1e6 {
		return 0
	}
	return int(n)
}

// verb is what stands after a percent sign.
type verb struct {
	// length is that of all of it, width the sum of the numbers in it, stars how many arguments it takes for numbers.
	length, width, stars int
	// factor is how many times as long as the argument the result may be.
	factor  int
	percent bool
}

func parseVerb(s string) verb {
	v := verb{factor: 1}
	number, spread := 0, false
	for v.length < len(s) {
		c := s[v.length]
		v.length++
		switch {
		case c >= '0' && c <= '9':
			number = min(number*10+int(c-'0'), 1<<21)
			continue
		case strings.IndexByte("+-# .*[]", c) >= 0:
			v.width += number
			number = 0
			if c == '*' {
				v.stars++
			}
			spread = spread || c == '#' || c == ' ' || c == '+'
			continue
		case c == 'q', c == 'x', c == 'X':
			spread = true
		case c == '%':
			v.percent = true
		}
		break
	}
	v.width += number
	if spread {
		// Five bytes in hexadecimal with a sign and a space, four in quotes.
		v.factor = 5
	}
	return v
}
