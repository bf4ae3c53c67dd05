package filter_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/filter"
)

func sample() *event.Event {
	return &event.Event{
		ObjectMeta:     event.ObjectMeta{Namespace: "shop", Name: "web-1.17a"},
		InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: "web-7d9f8c6b5d-x2x4z"},
		Reason:         "Unhealthy",
		Message:        "Readiness probe failed:\ndial tcp 10.42.0.7:8080",
		Source:         event.Source{Component: "kubelet", Host: "pi-4b-01"},
		Count:          7,
	}
}

func newFilter(t *testing.T, rules ...filter.Rule) *filter.Filter {
	t.Helper()
	f, err := filter.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEachMatcherLooksAtItsField(t *testing.T) {
	for _, tt := range []struct {
		name  string
		match filter.Match
		want  bool
	}{
		{"nothing set", filter.Match{}, true},
		{"namespace", filter.Match{Namespace: "shop"}, true},
		{"other namespace", filter.Match{Namespace: "shop2"}, false},
		{"kind", filter.Match{Kind: "Pod|Node"}, true},
		{"other kind", filter.Match{Kind: "Node"}, false},
		{"kind is case-sensitive", filter.Match{Kind: "pod"}, false},
		{"name of the object", filter.Match{Name: "web-.*"}, true},
		{"not the event's own name", filter.Match{Name: `web-1\.17a`}, false},
		{"reason", filter.Match{Reason: "Unhealthy"}, true},
		{"reason is anchored in front", filter.Match{Reason: "healthy"}, false},
		{"reason is anchored behind", filter.Match{Reason: "Unhealth"}, false},
		{"alternatives are anchored as a whole", filter.Match{Reason: "Un|healthy"}, false},
		{"flags stay inside", filter.Match{Reason: "(?i)UNHEALTHY"}, true},
		{"message over lines", filter.Match{Message: ".*dial tcp.*"}, true},
		{"message is anchored over lines", filter.Match{Message: "(?m)^dial tcp.*"}, false},
		{"component", filter.Match{Component: "kubelet"}, true},
		{"other component", filter.Match{Component: "default-scheduler"}, false},
		{"host", filter.Match{Host: "pi-4b-[0-9]+"}, true},
		{"other host", filter.Match{Host: "pi-5.*"}, false},
		{"count reached", filter.Match{MinCount: 7}, true},
		{"count not reached", filter.Match{MinCount: 8}, false},
		{"all must match", filter.Match{Namespace: "shop", Reason: "BackOff"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := filter.NewMatcher([]filter.Match{tt.match})
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Match(sample()); got != tt.want {
				t.Errorf("%+v matches: %v, want %v", tt.match, got, tt.want)
			}
			if got := newFilter(t, filter.Rule{Drop: &tt.match}).Keep(sample()); got == tt.want {
				t.Errorf("drop %+v keeps: %v, want %v", tt.match, got, !tt.want)
			}
		})
	}
}

func TestReporterAndSeriesOfNewEventsMatch(t *testing.T) {
	e := sample()
	e.Source = event.Source{}
	e.ReportingController, e.ReportingInstance = "default-scheduler", "server-1"
	e.Count, e.Series = 0, &event.Series{Count: 30}
	m, err := filter.NewMatcher([]filter.Match{{Component: "default-scheduler", Host: "server-1", MinCount: 30}})
	if err != nil {
		t.Fatal(err)
	}
	if !m.Match(e) {
		t.Error("an event written through events.k8s.io/v1 does not match by its reporter and series")
	}
}

func TestNamespaceOfANodeIsNotDefault(t *testing.T) {
	e := sample()
	e.Namespace = "default"
	e.InvolvedObject = event.Reference{Kind: "Node", Name: "pi-4b-01"}
	if !newFilter(t, filter.Rule{Drop: &filter.Match{Namespace: "default"}}).Keep(e) {
		t.Error("a rule for namespace default drops the events of nodes")
	}
}

func TestFirstRuleThatMatchesDecides(t *testing.T) {
	f := newFilter(t,
		filter.Rule{Keep: &filter.Match{Name: "web-.*"}},
		filter.Rule{Drop: &filter.Match{Reason: "Unhealthy"}},
		filter.Rule{Drop: &filter.Match{}},
	)
	e := sample()
	if !f.Keep(e) {
		t.Error("the keep rule in front does not decide")
	}
	e.InvolvedObject.Name = "db-0"
	if f.Keep(e) {
		t.Error("the drop rule does not decide")
	}
	want := []filter.Count{
		{Index: 0, Text: "keep: {name: web-.*}", Hits: 1},
		{Index: 1, Text: "drop: {reason: Unhealthy}", Hits: 1},
		{Index: 2, Text: "drop: {}"},
	}
	if diff := cmp.Diff(want, f.Rules()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

func TestNoRuleKeepsAndMatchesEverything(t *testing.T) {
	var f filter.Filter
	var m filter.Matcher
	if !f.Keep(sample()) || !m.Match(sample()) || !newFilter(t).Keep(sample()) {
		t.Error("without a rule an event is not kept")
	}
	if !newFilter(t, filter.Rule{Drop: &filter.Match{Reason: "BackOff"}}).Keep(sample()) {
		t.Error("an event that no rule matches is not kept")
	}
}

func TestAnyRuleOfAMatcherMatches(t *testing.T) {
	m, err := filter.NewMatcher([]filter.Match{{Reason: "BackOff"}, {Kind: "Pod"}, {Namespace: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	if !m.Match(sample()) {
		t.Error("the second rule does not match")
	}
	want := []filter.Count{{Text: "{reason: BackOff}"}, {Index: 1, Text: "{kind: Pod}", Hits: 1}, {Index: 2, Text: "{namespace: shop}"}}
	if diff := cmp.Diff(want, m.Rules()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

func TestEveryMistakeIsReportedWithItsPlace(t *testing.T) {
	_, err := filter.New([]filter.Rule{
		{},
		{Keep: &filter.Match{}, Drop: &filter.Match{}},
		{Drop: &filter.Match{Reason: "a)(b", Message: "[", MinCount: -1}},
		{Keep: &filter.Match{Host: strings.Repeat("x", 1025)}},
	})
	mistakes, ok := errors.AsType[filter.Mistakes](err)
	if !ok {
		t.Fatalf("error is %v", err)
	}
	want := filter.Mistakes{
		{Path: "[0]", Text: "must have exactly one of keep and drop"},
		{Path: "[1]", Text: "must have exactly one of keep and drop"},
		{Path: "[2].drop.reason", Text: `is no regular expression (RE2): unexpected ): "a)(b"`},
		{Path: "[2].drop.message", Text: `is no regular expression (RE2): missing closing ]: "["`},
		{Path: "[2].drop.minCount", Text: "must be 1 or more"},
		{Path: "[3].keep.host", Text: "must be at most 1024 bytes, not 1025"},
	}
	if diff := cmp.Diff(want, mistakes); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

func TestNumberOfRulesIsBounded(t *testing.T) {
	if _, err := filter.NewMatcher(make([]filter.Match, 200)); err != nil {
		t.Errorf("200 rules: %v", err)
	}
	if _, err := filter.NewMatcher(make([]filter.Match, 201)); err == nil {
		t.Error("201 rules are accepted")
	}
}

func TestTextOfARuleIsBounded(t *testing.T) {
	f := newFilter(t, filter.Rule{Drop: &filter.Match{Message: strings.Repeat("错误", 150)}})
	text := f.Rules()[0].Text
	if len(text) > 256 || !utf8.ValidString(text) || !strings.HasSuffix(text, "…") {
		t.Errorf("the text has %d bytes: %q", len(text), text)
	}
}

func TestMatchingAllocatesNothing(t *testing.T) {
	literal := filter.Match{Namespace: "shop", Kind: "Pod", Component: "kubelet", Host: "pi-4b-01", Reason: "Other", MinCount: 2}
	rules := []filter.Rule{{Drop: &literal}}
	if !raceDetector {
		for _, text := range []string{".*deprecated.*", "(a|b)*c", ".*10\\.42\\.0\\.[0-9]+:8081"} {
			rules = append(rules, filter.Rule{Drop: &filter.Match{Message: text, Name: "web-.*"}})
		}
	}
	f := newFilter(t, rules...)
	m, err := filter.NewMatcher([]filter.Match{literal, {Reason: "Unhealthy"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{sample().Message, strings.Repeat("a line\n", 4000)} {
		e := sample()
		e.Message = message
		allocs := testing.AllocsPerRun(200, func() {
			if !f.Keep(e) || !m.Match(e) {
				t.Error("the event is not kept")
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations for a message of %d bytes, want none", allocs, len(message))
		}
	}
}

func TestManyGoroutinesMayMatch(t *testing.T) {
	f := newFilter(t, filter.Rule{Drop: &filter.Match{Message: ".*probe.*"}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 250 {
				if f.Keep(sample()) {
					t.Error("the event is kept")
				}
			}
		})
	}
	wg.Wait()
	if hits := f.Rules()[0].Hits; hits != 1000 {
		t.Errorf("%d hits, want 1000", hits)
	}
}

func BenchmarkKeep(b *testing.B) {
	var rules []filter.Rule
	for range 20 {
		rules = append(rules, filter.Rule{Drop: &filter.Match{Reason: "BackOff|FailedMount", Message: ".*deprecated.*"}})
	}
	f, err := filter.New(rules)
	if err != nil {
		b.Fatal(err)
	}
	e := sample()
	b.ReportAllocs()
	for b.Loop() {
		f.Keep(e)
	}
}
