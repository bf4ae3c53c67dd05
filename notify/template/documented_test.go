package template

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	standard "text/template"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
)

// TestDocumentedTemplatesRenderAsTextTemplateRendersThem takes every template of MIGRATING.md, and of the bodies that the guides of other
// exporters print, over events with all fields and with few.
func TestDocumentedTemplatesRenderAsTextTemplateRendersThem(t *testing.T) {
	sources := map[string]bool{}
	migrating, err := os.ReadFile("../MIGRATING.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, quoted := range regexp.MustCompile(`"(?:[^"\\\n]|\\.)*"`).FindAllString(string(migrating), -1) {
		if text, err := strconv.Unquote(quoted); err == nil {
			sources[text] = true
		}
	}
	for _, action := range regexp.MustCompile(`\{\{[^}]*\}\}`).FindAllString(string(migrating), -1) {
		if !strings.Contains(action, `\`) {
			sources[action] = true
		}
	}
	pasted, err := filepath.Glob("../testdata/pasted/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range pasted {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		leaves(tree, sources)
	}
	compared := 0
	for source := range sources {
		if !Is(source) {
			continue
		}
		compared++
		compareWithStandard(t, source)
	}
	if compared < 15 {
		t.Errorf("only %d templates: the test sees little", compared)
	}
}

func leaves(tree any, into map[string]bool) {
	switch v := tree.(type) {
	case map[string]any:
		for _, value := range v {
			leaves(value, into)
		}
	case []any:
		for _, value := range v {
			leaves(value, into)
		}
	case string:
		into[v] = true
	}
}

func compareWithStandard(t *testing.T, source string) {
	t.Helper()
	common := notify.Common{Cluster: "shop-1", Location: time.FixedZone("CST", 8*3600)}
	now := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for _, m := range []*notify.Message{notify.Sample("shop-1", now), notify.SparseSample("shop-1", now), {Now: now}} {
		data := NewData(&common, m, 1<<10)
		parsed, err := Parse("test", source, OptionsOf(&common))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		got, err := parsed.Execute(NewBudget(), data)
		if err != nil {
			t.Errorf("%s: %v", source, err)
		}
		theirs, err := standard.New("").Funcs(standard.FuncMap{"toJson": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		}, "upper": func(v any) string { return strings.ToUpper(fmt.Sprint(v)) }}).Parse(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		var want strings.Builder
		if err := theirs.Execute(&want, data); err != nil {
			t.Errorf("%s: text/template: %v", source, err)
		}
		if got != want.String() {
			t.Errorf("%s\ngot  %s\nwant %s", source, got, want.String())
		}
	}
}
