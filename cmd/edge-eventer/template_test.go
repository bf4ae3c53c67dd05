package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestNoTemplateHoldsCheckConfig: templates that would take hours or gigabytes are refused at once, with where they stand and which bound they
// reach.
func TestNoTemplateHoldsCheckConfig(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"{{ range 1000000000 }}{{ end }}":                                              "receivers[0].body.text: template line 1: the templates take more than 100000 steps: is there a loop?",
		"{{ $x := .Message }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}":            "receivers[0].body.text: template line 1: the result is larger than 1 MiB",
		`{{ printf "%1000000d%1000000d%1000000d" 1 2 3 }}`:                             "receivers[0].body.text: template line 1: the result is larger than 1 MiB",
		`{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}`:                "receivers[0].body.text: template line 1: templates call each other more than 100 deep",
		"{{ range 1000000000 }}{{ $.Message }}{{ $.Message }}{{ $.Message }}{{ end }}": "receivers[0].body.text: the result is larger than 1 MiB",
	} {
		d := newDesk(t, "{name: hook, type: webhook, url: 'http://127.0.0.1:1/', body: {text: '"+body+"'}}")
		_, errOut := d.run("", exitUsage, "check-config", d.config)
		if !strings.Contains(errOut, want) {
			t.Errorf("%s: it says:\n%s\nwant %s", body, errOut, want)
		}
	}
}

// loopsFor is a body that no check can refuse, since it loops for one event only.
func loopsFor(name string) string {
	return `{text: '{{ if eq .InvolvedObject.Name "` + name + `" }}{{ range 2000000000 }}{{ end }}{{ end }}{{ .InvolvedObject.Name }}'}`
}

func TestNoTemplateHoldsRender(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "{name: hook, type: webhook, url: 'http://127.0.0.1:1/', body: "+loopsFor("web-7d9f8c6b5d-x2x4z")+"}")
	_, errOut := d.run(eventJSON, exitFailed, "render", "--config", d.config)
	if !strings.Contains(errOut, "body.text: template line 1: the templates take more than 100000 steps") {
		t.Errorf("it says: %s", errOut)
	}
}

// TestNoTemplateHoldsTheAgent: the event for which a template loops becomes a dead letter, and the others are delivered.
func TestNoTemplateHoldsTheAgent(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	delivered := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var message struct{ Text string }
		mu.Lock()
		defer mu.Unlock()
		if json.Unmarshal(body, &message) == nil {
			delivered[message.Text] = true
		}
	}))
	t.Cleanup(server.Close)
	d := newDesk(t, "{name: ops, type: webhook, url: '"+server.URL+"', body: "+loopsFor("web2")+"}")
	d.put(5)
	b := runBeside(t, d)
	until(t, "the other events are delivered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return delivered["web1"] && delivered["web3"] && delivered["web4"]
	})
	until(t, "the event for which the template loops is a dead letter", func() bool {
		for _, e := range b.queue() {
			if strings.Contains(e.Reason, "more than 100000 steps") {
				return true
			}
		}
		return false
	})
	mu.Lock()
	defer mu.Unlock()
	if delivered["web2"] {
		t.Error("an event for which the template loops was delivered")
	}
}
