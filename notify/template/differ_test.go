package template_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	standard "text/template"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/template"
)

// event has what templates see of an event: strings, numbers, times, a duration, lists, structs, and pointers that may be nil.
type event struct {
	Name, Namespace, Reason, Message, Empty string
	Count                                   int32
	Milliseconds64                          int64
	Ratio                                   float64
	FirstSeen, LastSeen, Never              time.Time
	Delay                                   time.Duration
	Objects, None                           []string
	InvolvedObject                          object
	Series                                  *series
	Missing                                 *series
	Own                                     bool
	Any                                     any
}

type object struct{ Kind, Namespace, Name string }

type series struct {
	Count            int
	LastObservedTime time.Time
}

func sample() *event {
	zone := time.FixedZone("CST", 8*3600)
	first := time.Date(2026, 11, 21, 12, 6, 7, 891_234_567, zone)
	return &event{
		Name: "web-7d9f8c6b5d-x2x4z", Namespace: "shop", Reason: "BackOff", Count: 312, Milliseconds64: -7, Ratio: 2.5,
		Message:   "Back-off \"restarting\" <failed> container & 容器\x00\xff\U0001F600\nweb",
		FirstSeen: first, LastSeen: first.Add(26 * time.Hour).UTC(), Delay: 90*time.Minute + 1500*time.Microsecond,
		Objects: []string{"a", "b<", ""}, InvolvedObject: object{"Pod", "shop", "web"},
		Series: &series{9, first}, Any: first,
	}
}

func truncate(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}

// standardFunctions are the functions of the package, without any bound.
func standardFunctions(zone *time.Location) standard.FuncMap {
	return standard.FuncMap{
		"toJson": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"truncate": func(limit int, v any) string { return truncate(fmt.Sprint(v), max(0, limit)) },
		"upper":    func(v any) string { return strings.ToUpper(fmt.Sprint(v)) },
		"lower":    func(v any) string { return strings.ToLower(fmt.Sprint(v)) },
		"default": func(other, v any) any {
			if truth, ok := standard.IsTrue(v); ok && truth {
				return v
			}
			return other
		},
		"timeIn": func(name string, t time.Time) (time.Time, error) {
			if name == "" {
				return t.In(zone), nil
			}
			location, err := time.LoadLocation(name)
			if err != nil {
				return t, err
			}
			return t.In(location), nil
		},
	}
}

// outcome is what became of a template.
type outcome struct {
	text           string
	parsed, worked bool
}

func ours(source string, zone *time.Location, data any) (outcome, error) {
	t, err := template.Parse("test", source, template.Options{Zone: zone, Truncate: truncate})
	if err != nil {
		return outcome{}, err
	}
	text, err := t.Execute(template.NewBudget(), data)
	return outcome{text, true, err == nil}, err
}

func theirs(source string, zone *time.Location, data any) (outcome, error) {
	t, err := standard.New("").Funcs(standardFunctions(zone)).Parse(source)
	if err != nil {
		return outcome{}, err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return outcome{parsed: true}, err
	}
	return outcome{b.String(), true, true}, nil
}

// compare fails unless both render the same, or both refuse. What our bounds refuse cannot be compared: it may never end. It reports whether
// the template worked.
func compare(t *testing.T, source string) bool {
	t.Helper()
	zone := time.FixedZone("CST", 8*3600)
	data := sample()
	got, err := ours(source, zone, data)
	if errors.Is(err, template.ErrSteps) || errors.Is(err, template.ErrText) {
		return false
	}
	want, wantErr := theirs(source, zone, data)
	if got != want {
		t.Errorf("%s\ngot  %+v %v\nwant %+v %v", source, got, err, want, wantErr)
	}
	return want.worked
}

// foreign reports a template that calls what the package does not offer on purpose: methods that take or return bytes.
func foreign(source string) bool {
	for _, name := range []string{"Marshal", "Unmarshal", "Gob", "Append"} {
		if strings.Contains(source, name) {
			return true
		}
	}
	return false
}

// forms are the forms that templates of other exporters have, and those that are easy to get wrong where a method becomes a function.
func forms() []string {
	return []string{
		"{{ .Reason }}: {{ .Message }} in {{ .InvolvedObject.Kind }}/{{ .InvolvedObject.Name }}",
		"**EventType:**  {{ .Reason }}\n**EventTime:**  {{ .LastSeen }}\n**EventMessage:**  {{ .Message }}",
		"{{ toJson . }}", "{{ .Message | toJson }}", "{{ . }}", "{{ .Series.LastObservedTime.Unix }}", "{{ .Missing.Count }}",
		"{{ .LastSeen.Format \"2006-01-02T15:04:05Z07:00\" }}", "{{ (timeIn \"Asia/Shanghai\" .LastSeen).Format \"15:04\" }}",
		"{{ \"15:04\" | .LastSeen.Format }}", "{{ printf \"%s\" (.LastSeen.UTC.Format \"15:04\") | upper }}",
		"{{ .LastSeen.UTC.Year }} {{ .LastSeen.Month.String }} {{ .LastSeen.Weekday }} {{ .FirstSeen.Location }} {{ .FirstSeen.Location.String }}",
		"{{ .Delay.Hours }} {{ .Delay.Round .Delay }} {{ .Delay.Truncate 1000000000 }} {{ .LastSeen.Truncate .Delay }} {{ .Delay.String | len }}",
		"{{ (.LastSeen.Sub .FirstSeen).Minutes }} {{ (.LastSeen.Add 3600000000000).Unix }} {{ .LastSeen.AddDate 1 -2 3 }}",
		"{{ if .LastSeen.After .FirstSeen }}after{{ else }}before{{ end }} {{ .FirstSeen.Equal .FirstSeen }} {{ .Never.IsZero }}",
		"{{ with .LastSeen }}{{ .Year }}-{{ .Day }} {{ $.FirstSeen.Hour }}{{ end }}", "{{ with $t := .LastSeen.UTC }}{{ $t.Unix }} {{ $t.Month.String }}{{ end }}",
		"{{ $t := .LastSeen }}{{ $t.UnixMilli }} {{ $t = $t.AddDate 0 0 1 }}{{ $t.Format \"Jan 2\" }}", "{{ (index .Objects 1) | printf \"%q\" }}",
		"{{ range $i, $o := .Objects }}{{ if $i }}, {{ end }}{{ $o }}{{ else }}none{{ end }}", "{{ range .None }}x{{ else }}none{{ end }}",
		"{{ range 3 }}{{ . }}{{ end }}{{ range $i := 3 }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ $i }}{{ break }}{{ end }}",
		"{{ define \"row\" }}<{{ .Year }}>{{ end }}{{ template \"row\" .LastSeen }}{{ template \"row\" .LastSeen.UTC }}",
		"{{ block \"b\" .Delay }}{{ .Seconds }}{{ end }}", "{{ .Any.Unix }} {{ (default .FirstSeen .LastSeen).Unix }} {{ (default .Empty .Name) }}",
		"{{ and .Own .Name }} {{ or .Own .Name }} {{ not .Own }} {{ or .LastSeen.IsZero .FirstSeen.Year }} {{ and 1 .Delay.Seconds }}",
		"{{ html .Message }} {{ js .Message }} {{ urlquery .Message }} {{ print 1 2 .Name 3 .Name }}{{ println .Message }}{{ slice .Message 2 5 }}",
		"{{ printf \"%5d|%-8s|%08.3f|%x|%q|%v|%+v|%#v|%T|%%|%*d\" .Count .Name .Ratio .Name .Message .InvolvedObject .Series.Count .Objects .Delay 7 3 }}",
		"{{ printf \"%[2]s %[1]s %d\" .Name .Reason }}{{ printf \"%d\" .Name }}{{ printf \"%s %s\" .Name }}{{ printf \"%!\" }}{{ printf }}",
		"{{ .Name.Format }}", "{{ .LastSeen.Format }}", "{{ .LastSeen.Format 1 }}", "{{ .LastSeen.Year 1 }}", "{{ .Count.String }}", "{{ .LastSeen.Nope }}",
		"{{ .LastSeen.Date }}", "{{ .LastSeen.Clock }}", "{{ .LastSeen.Zone }}", "{{ .LastSeen.ISOWeek }}", "{{ .Missing.LastObservedTime.Unix }}",
		"{{ .LastSeen.In nil }}", "{{ .LastSeen.In .FirstSeen.Location }}", "{{ .Objects.Round 1 }}", "{{ len .LastSeen.String }}", "{{ nil }}",
		"{{ Format .LastSeen \"15\" }}", "{{ _step 1 }}", "{{ _path .Name }}", "{{ 1.Format }}", "{{ call .Name }}", "{{ .Delay.Abs.Abs.Minutes }}",
		"{{- /* comment */ -}} a {{- \" b \" -}} c", "{{ `raw` }}{{ 'x' }}{{ 0x1F }}{{ 1e3 }}{{ true }}", "{{ .Delay.Round 1.0 }}", "{{ .Delay.Round 1.5 }}",
		"{{ .LastSeen.Add \"1h\" }}", "{{ eq .LastSeen .LastSeen }}", "{{ eq .LastSeen.Year 2026 }} {{ lt .FirstSeen.Unix .LastSeen.Unix }}",
		"{{ timeIn \"\" .LastSeen }}", "{{ timeIn \"Nowhere/Else\" .LastSeen }}", "{{ truncate 3 .Message }}{{ truncate -1 .Message }}", "{{ .LastSeen.GoString }}",
		"{{ if .Missing }}{{ .Missing.Count }}{{ else if .Series }}{{ .Series.Count }}{{ end }}", "{{ .Objects | len | printf \"%03d\" }}", "", "{{", "{{ end }}",
	}
}

func TestTemplatesRenderAsTextTemplateRendersThem(t *testing.T) {
	worked := 0
	for _, source := range forms() {
		if compare(t, source) {
			worked++
		}
	}
	if worked < 35 {
		t.Errorf("only %d of %d templates work: little was compared", worked, len(forms()))
	}
}

func TestGeneratedTemplatesRenderAsTextTemplateRendersThem(t *testing.T) {
	worked := 0
	const count = 5000
	for seed := range uint64(count) {
		if compare(t, generate(seed)) {
			worked++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d of %d templates worked", worked, count)
	if worked < count/5 {
		t.Errorf("only %d of %d templates work: little was compared", worked, count)
	}
}

// FuzzTemplate compares with text/template whatever a configuration may hold.
func FuzzTemplate(f *testing.F) {
	for _, source := range forms() {
		f.Add(source)
	}
	for seed := range uint64(50) {
		f.Add(generate(seed))
	}
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) <= 4<<10 && !foreign(source) {
			compare(t, source)
		}
	})
}

// FuzzTemplateGenerated compares templates that are mostly well formed.
func FuzzTemplateGenerated(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { compare(t, generate(seed)) })
}

// generator makes templates of all forms.
type generator struct {
	*rand.Rand

	variables int
	left      int
}

func generate(seed uint64) string {
	g := generator{Rand: rand.New(rand.NewPCG(seed, 1)), left: 1}
	g.left += g.IntN(9)
	text := g.list(0)
	if strings.Contains(text, `template "t"`) {
		g.variables, g.left = 0, 10
		text += `{{ define "t" }}` + strings.ReplaceAll(g.list(1), `{{ template "t" }}`, "") + `{{ end }}`
	}
	return text
}

func pick[T any](g *generator, all ...T) T { return all[g.IntN(len(all))] }

func (g *generator) list(depth int) string {
	var b strings.Builder
	for range 1 + g.IntN(3) {
		g.left--
		if g.left < 0 || depth > 4 {
			return b.String() + "."
		}
		b.WriteString(g.node(depth))
	}
	return b.String()
}

func (g *generator) node(depth int) string {
	switch g.IntN(10) {
	case 0:
		return pick(g, "text ", "\n", "{{- /* c */ -}}")
	case 1:
		return "{{ if " + g.pipe(depth) + " }}" + g.scope(depth) + "{{ else }}" + g.scope(depth) + "{{ end }}"
	case 2:
		return "{{ with " + g.pipe(depth) + " }}" + g.scope(depth) + "{{ end }}"
	case 3:
		inner := g.scope(depth) + pick(g, "", "", "{{ break }}", "{{ continue }}")
		return "{{ range " + pick(g, ".Objects", "$.Objects", ".None", "3", g.pipe(depth)) + " }}" + inner + "{{ else }}" + g.scope(depth) + "{{ end }}"
	case 4:
		text := fmt.Sprintf("{{ $v%d := %s }}", g.variables, g.pipe(depth))
		g.variables++
		return text
	case 5:
		if g.variables > 0 {
			return fmt.Sprintf("{{ $v%d = %s }}", g.IntN(g.variables), g.pipe(depth))
		}
	case 6:
		return pick(g, `{{ template "t" . }}`, `{{ template "t" $ }}`, `{{ template "t" .LastSeen.UTC }}`)
	}
	return "{{ " + g.pipe(depth) + " }}"
}

// scope is a list whose variables end with it.
func (g *generator) scope(depth int) string {
	variables := g.variables
	text := g.list(depth + 1)
	g.variables = variables
	return text
}

func (g *generator) pipe(depth int) string {
	text := g.command(depth)
	for g.IntN(4) == 0 {
		text += " | " + pick(g, "upper", "lower", "toJson", "html", "js", "urlquery", "print", "println", "len", "not", "truncate 3", "default 7",
			"printf \"%v|%6s\" 1", "$.LastSeen.Format", "timeIn \"\"", "slice")
	}
	return text
}

func (g *generator) command(depth int) string {
	switch g.IntN(5) {
	case 0:
		name := pick(g, "print", "printf \"%5v %q\"", "println", "html", "and", "or", "eq", "lt", "ne", "index .Objects", "default", "toJson", "timeIn \"\"", "len")
		return name + " " + g.operand(depth) + pick(g, "", " "+g.operand(depth))
	case 1:
		method := pick(g, "Format \"Jan _2 15:04:05.000\"", "Add", "Sub", "After", "Before", "AddDate 0 1", "In .FirstSeen.Location", "Round", "Truncate", "Compare")
		return g.time(depth) + "." + method + pick(g, "", " "+g.operand(depth))
	}
	return g.operand(depth)
}

func (g *generator) operand(depth int) string {
	switch g.IntN(6) {
	case 0:
		return pick(g, "1", "2.5", "\"15:04\"", "true", "nil", "'x'", "1000000000", "-3")
	case 1, 2:
		return g.time(depth) + pick(g, "", ".Year", ".Month", ".Month.String", ".Weekday.String", ".Unix", ".UTC.Hour", ".IsZero", ".Location.String",
			".YearDay", ".UnixNano", ".Local.Equal", ".Clock", ".Zone")
	case 3:
		return pick(g, ".Delay", "$.Delay") + pick(g, "", ".Hours", ".String", ".Abs.Minutes", ".Milliseconds", ".Nope")
	case 4:
		if depth < 4 {
			return "(" + g.pipe(depth+2) + ")" + pick(g, "", "", ".Year", ".Unix", ".Name")
		}
	}
	return pick(g, ".", "$", "$.Name", "$.Name", "$.Message", "$.Count", ".Objects", ".InvolvedObject", "$.InvolvedObject.Kind", ".Series.Count", ".Missing",
		".Missing.Count", ".Any", ".Ratio", ".Own", ".Empty", ".Nope")
}

func (g *generator) time(depth int) string {
	if g.variables > 0 && g.IntN(4) == 0 {
		return fmt.Sprintf("$v%d", g.IntN(g.variables))
	}
	if depth < 4 && g.IntN(6) == 0 {
		return "(" + g.pipe(depth+2) + ")"
	}
	return pick(g, "$.LastSeen", "$.FirstSeen", "$.Series.LastObservedTime", "$.Never", "$.Any", ".LastSeen.UTC", ".Missing.LastObservedTime", "")
}

// TestStandardFunctionsAreThePackages holds the comparison itself: it would be no evidence with other functions.
func TestStandardFunctionsAreThePackages(t *testing.T) {
	for name := range maps.Keys(standardFunctions(time.UTC)) {
		if _, err := template.Parse("test", "{{ "+name+" }}", template.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
