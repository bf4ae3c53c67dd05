package template_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/notify/template"
)

// endless are templates that would take hours or gigabytes, and the bound that each one reaches.
func endless() map[string]error {
	return map[string]error{
		`{{ range 1000000000 }}{{ end }}`:                                                                          template.ErrSteps,
		`{{ range 1000000000 }}{{ else }}none{{ end }}`:                                                            template.ErrSteps,
		`{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}`:                                                   template.ErrSteps,
		`{{ range 1000000000 }}{{ continue }}{{ end }}`:                                                            template.ErrSteps,
		`{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}`:                                        template.ErrSteps,
		`{{ define "x" }}{{ template "y" }}{{ end }}{{ define "y" }}{{ template "x" }}{{ end }}{{ template "x" }}`: template.ErrSteps,
		`{{ define "x" }}{{ range 99 }}{{ template "y" }}{{ end }}{{ end }}{{ define "y" }}{{ range 99 }}{{ range 99 }}{{ end }}{{ end }}{{ end }}{{ template "x" }}`: template.ErrSteps,
		`{{ range 1000000 }}{{ $.Message }}{{ end }}`:                                                      template.ErrText,
		`{{ range 90000 }}{{ $.Message }}{{ end }}`:                                                        template.ErrText,
		`{{ range 20000 }}0123456789012345678901234567890123456789012345678901234567890123456789{{ end }}`: template.ErrText,
		`{{ $x := .Message }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}`:                                template.ErrText,
		`{{ $x := .Message }}{{ range 40 }}{{ $x = println $x $x }}{{ end }}`:                              template.ErrText,
		`{{ $x := .Message }}{{ range 40 }}{{ $x = printf "%s%s" $x $x }}{{ end }}`:                        template.ErrText,
		`{{ $x := .Message }}{{ range 40 }}{{ $x = printf "%[1]s%[1]s" $x }}{{ end }}`:                     template.ErrText,
		`{{ $x := .Message }}{{ range 40 }}{{ $x = $x | printf "%s%s" $x }}{{ end }}`:                      template.ErrText,
		`{{ $x := "<\"" }}{{ range 40 }}{{ $x = html $x | js }}{{ end }}`:                                  template.ErrText,
		`{{ $x := "<\"" }}{{ range 400 }}{{ $x = toJson $x | urlquery }}{{ end }}`:                         template.ErrText,
		`{{ $x := "%%" }}{{ range 9000 }}{{ $x = print $x $x | urlquery $x }}{{ end }}`:                    template.ErrText,
		`{{ $x := "Monday " }}{{ range 40 }}{{ $x = .LastSeen.Format (print $x $x) }}{{ end }}`:            nil,
		`{{ $x := "Monday " }}{{ range 40 }}{{ $x = $.LastSeen.Format (print $x $x) }}{{ end }}`:           template.ErrText,
		`{{ printf "%1000000d%1000000d%1000000d" 1 2 3 }}`:                                                 template.ErrText,
		`{{ printf "%*d%[1]*d%[1]*d" 1000000 1 }}`:                                                         template.ErrText,
		`{{ printf "%.1000000f%.1000000f" 1.5 1.5 }}`:                                                      template.ErrText,
		`{{ printf "%900000s" .Objects }}`:                                                                 template.ErrText,
		`{{ $x := printf "%900000d" 1 }}{{ $y := printf "%900000d" 1 }}`:                                   template.ErrText,
		`{{ $x := printf "%900000d" 1 }}{{ range 1000 }}{{ $y := upper $x }}{{ end }}`:                     template.ErrText,
		`{{ $x := printf "%900000d" 1 }}{{ print ` + strings.Repeat("$x ", 1000) + `}}`:                    template.ErrText,
		`{{ range 100000 }}{{ $x := truncate 1 $.Message }}{{ end }}`:                                      template.ErrSteps,
		`{{ range 100000 }}{{ $x := toJson $ }}{{ end }}`:                                                  template.ErrText,
	}
}

// TestNoTemplateHoldsItsCaller: whatever a template does, it ends within its bounds, and says which one it reached.
func TestNoTemplateHoldsItsCaller(t *testing.T) {
	for source, want := range endless() {
		parsed, err := template.Parse("body.text", source, template.Options{Truncate: truncate})
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		text, err := parsed.Execute(template.NewBudget(), sample())
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		name := source[:min(len(source), 120)]
		if want != nil && !errors.Is(err, want) || want == nil && err == nil || text != "" {
			t.Errorf("%s: %d bytes and %v, want %v", name, len(text), err, want)
		}
		// All that it allocated, most of which was free again at once.
		made := after.TotalAlloc - before.TotalAlloc
		if made > 64<<20 {
			t.Errorf("%s: %d MiB allocated", name, made>>20)
		}
		t.Logf("%s: %v, %d KiB, %v", name, took.Round(time.Microsecond), made>>10, err)
	}
}

// TestABoundIsSaidInWordsOfTheConfiguration: an operator finds the leaf, the line and the bound, and no name of a function that nobody wrote.
func TestABoundIsSaidInWordsOfTheConfiguration(t *testing.T) {
	for source, want := range map[string]string{
		"\n{{ range 1000000000 }}{{ end }}":                                "body.text: template line 2: the templates take more than 100000 steps: is there a loop?",
		`{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`:    "body.text: template line 1: templates call each other more than 100 deep",
		`{{ $x := .Name }}{{ range 40 }}{{ $x = print $x $x }}{{ end }}`:   "body.text: template line 1: the result is larger than 1 MiB",
		`{{ range 30000 }}{{ end }}{{ range 30000 }}{{ $.Name }}{{ end }}`: "body.text: template line 1: the templates take more than 100000 steps: is there a loop?",
		`{{ range 10000 }}{{ $.Message }}{{ $.Message }}{{ end }}`:         "body.text: the result is larger than 1 MiB",
	} {
		parsed, err := template.Parse("body.text", source, template.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = parsed.Execute(template.NewBudget(), sample())
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
}

// TestTemplatesOfOneMessageShareTheBounds: two thousand leaves of a body do not make two thousand times as much.
func TestTemplatesOfOneMessageShareTheBounds(t *testing.T) {
	for source, want := range map[string]error{
		`{{ range 1500 }}{{ $.Message }}{{ end }}`: template.ErrText,
		`{{ range 9000 }}{{ end }}`:                template.ErrSteps,
	} {
		var leaves []any
		for range 100 {
			leaves = append(leaves, source)
		}
		tree, errs := template.ParseTree("body", leaves, template.Options{})
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		_, errs = tree.Execute(template.NewBudget(), sample())
		if len(errs) != 1 || !errors.Is(errs[0], want) {
			t.Errorf("%s: %d errors, %v, want %v once", source, len(errs), errs, want)
		}
	}
}

// TestLongTextsAreWithinTheBounds: what an honest template does with the longest message stays possible.
func TestLongTextsAreWithinTheBounds(t *testing.T) {
	e := sample()
	e.Message = strings.Repeat("long ", 50<<10)
	for range 256 {
		e.Objects = append(e.Objects, "web-7d9f8c6b5d-x2x4z")
	}
	for source, want := range map[string]int{
		`{{ .Message | upper | lower | printf "%s: %s" .Reason | truncate 100 }}`:                                 0,
		`{{ printf "%s/%s %s %s" .Namespace .Name .Reason .Message }}`:                                            len(e.Message),
		`{{ print .Namespace .Name .Reason .Message }}{{ toJson .Message }}`:                                      2 * len(e.Message),
		`{{ range $i, $o := .Objects }}{{ if $i }}, {{ end }}{{ upper $o | printf "%-30s" }}{{ end }}`:            256 * 30,
		`{{ define "row" }}{{ printf "%d: %s" 1 . }}{{ end }}{{ range .Objects }}{{ template "row" . }}{{ end }}`: 256 * 20,
	} {
		got, err := ours(source, time.UTC, e)
		if err != nil || len(got.text) < want {
			t.Errorf("%s: %d bytes, %v", source, len(got.text), err)
		}
	}
}
