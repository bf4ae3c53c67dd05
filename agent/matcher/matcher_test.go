package matcher_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/notify"
)

func subject() *matcher.Subject {
	return &matcher.Subject{
		Incident: &incident.Incident{
			Event: event.Event{
				InvolvedObject: event.Reference{Kind: "Pod", Namespace: "shop", Name: "web-7d9f8c6b5d-x2x4z"},
				Reason:         "BackOff",
				Message:        "Back-off restarting failed container\n\"web\"",
				Source:         event.Source{Component: "kubelet", Host: "pi-1"},
			},
			Workload: "web",
		},
		Severity: notify.Warning,
	}
}

func TestMatchersMeanWhatTheyMeanToAlertmanager(t *testing.T) {
	for text, want := range map[string]bool{
		"reason=BackOff":          true,
		"alertname=BackOff":       true,
		` reason = "BackOff" `:    true,
		"reason=Back":             false,
		"reason!=BackOff":         false,
		"reason=~Back":            false,
		"reason=~Back.*":          true,
		"reason=~Back|Off":        false,
		`namespace=~"shop|kiosk"`: true,
		"namespace!~shop|kiosk":   false,
		"workload=web":            true,
		"severity=warning":        true,
		"severity=critical":       false,
		"node=pi-1":               true,
		"host!=pi-2":              true,
		"component=kubelet":       true,
		"kind=Pod":                true,
		"name=~web-.*":            true,
		`message="Back-off restarting failed container\n\"web\""`: true,
		"message=~.*web.*":                     true,
		"{reason=BackOff,namespace=shop,}":     true,
		`reason="BackOff", namespace="kiosk"`:  false,
		`message!="a,b", reason=BackOff`:       true,
		`message=~"Back-off.*", namespace!=""`: true,
		"namespace=":                           false,
		"host!~":                               true,
	} {
		list, err := matcher.ParseList(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := list.Match(subject()); got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
		again, err := matcher.ParseList(strings.Join(list.Texts(), ","))
		if err != nil || again.String() != list.String() {
			t.Errorf("%s is written as %s, which reads as %s, %v", text, list, again, err)
		}
	}
}

// A label that an incident does not have is the empty text.
func TestAbsentLabelIsTheEmptyText(t *testing.T) {
	node := subject()
	node.Incident.Event.InvolvedObject = event.Reference{Kind: "Node", Name: "pi-2"}
	node.Incident.Event.Source.Host = ""
	for text, want := range map[string]bool{
		`namespace=""`: true, `namespace!="shop"`: true, `namespace!~"shop"`: true, `namespace=~".+"`: false, `namespace=~""`: true,
		`node="pi-2"`: true, `host=""`: true,
	} {
		list, err := matcher.ParseList(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := list.Match(node); got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

func TestWhatIsNoMatcherIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"BackOff":                              "is no matcher; write NAME=VALUE",
		"reason":                               "is no matcher",
		"reason!BackOff":                       "the operators are = != =~ !~",
		"=BackOff":                             "is no label",
		"reson=BackOff":                        `"reson" is no label; there are alertname, component, host`,
		`reason="BackOff`:                      "the quote at the end of the value is missing",
		`reason=Back"Off`:                      `a quote within the value must be written \"`,
		`reason="Back"Off"`:                    `a quote within the value must be written \"`,
		"reason=~(":                            "is no regular expression",
		"reason=~a)(b":                         "is no regular expression",
		"reason=\xff":                          "is no valid UTF-8",
		"reason=~" + strings.Repeat("a", 2000): "must be at most 1024 bytes",
		"reason=a,,kind=b":                     "is no matcher",
	} {
		if _, err := matcher.ParseList(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
}

func TestOneMatcherOfTheCommandLineMayHaveCommas(t *testing.T) {
	m, err := matcher.Parse("message=~a{1,3}, b")
	if err != nil || m.Value != "a{1,3}, b" {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestListThatMeansEverythingIsKnown(t *testing.T) {
	for text, want := range map[string]bool{
		`reason=""`: true, `reason!="x"`: true, `reason=~".*"`: true, `reason=~".*", kind=Pod`: false, `reason=~".+"`: false, "": true,
	} {
		list, err := matcher.ParseList(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := list.MatchesNothingSet(); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestMatcherIsWrittenAsAlertmanagersAPIDoes(t *testing.T) {
	list, err := matcher.ParseList(`reason!~"a|b", kind=Pod`)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"reason","value":"a|b","isRegex":true,"isEqual":false},{"name":"kind","value":"Pod","isRegex":false,"isEqual":true}]`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var read matcher.List
	if err := json.Unmarshal(data, &read); err != nil || read.String() != list.String() || read[0].Match("a") {
		t.Errorf("read back as %s, %v", read, err)
	}
	if err := json.Unmarshal([]byte(`[{"name":"kind","value":"Pod","isRegex":false}]`), &read); err != nil || read[0].Not {
		t.Errorf("without isEqual it is %s, %v", read, err)
	}
}
