package notify_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// pasted are the bodies that the guides of kubernetes-event-exporter and kube-eventer print, with the platform they are for.
func pasted(t *testing.T) map[string]struct {
	platform notifytest.Platform
	path     string
	success  map[string]any
	tree     any
} {
	t.Helper()
	all := map[string]struct {
		platform notifytest.Platform
		path     string
		success  map[string]any
		tree     any
	}{}
	add := func(name string, platform notifytest.Platform, path string, success map[string]any) {
		text, err := os.ReadFile("testdata/pasted/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(text, &tree); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = struct {
			platform notifytest.Platform
			path     string
			success  map[string]any
			tree     any
		}{platform, path, success, tree}
	}
	add("kubernetes-event-exporter-feishu", &notifytest.Feishu{}, "/open-apis/bot/v2/hook/x", map[string]any{"code": 0})
	add("kube-eventer-feishu", &notifytest.Feishu{}, "/open-apis/bot/v2/hook/x", map[string]any{"code": 0})
	add("kube-eventer-dingtalk", &notifytest.Dingtalk{}, "/robot/send?access_token=x", map[string]any{"errcode": 0})
	add("kube-eventer-wecom", &notifytest.Wecom{}, "/cgi-bin/webhook/send?key=x", map[string]any{"errcode": 0})
	add("kube-eventer-slack", &notifytest.Slack{}, "/services/T/B/X", nil)
	add("kube-eventer-slack-attachment", &notifytest.Slack{}, "/services/T/B/X", nil)
	add("kube-eventer-bearychat", &notifytest.Webhook{}, "/=bwXYZ/incoming/x", nil)
	add("kube-eventer-worktile", &notifytest.Worktile{}, "/incoming/x", nil)
	add("kube-eventer-default", &notifytest.Webhook{}, "/", nil)
	return all
}

func TestConfigurationsOfOtherExportersWorkWhenPasted(t *testing.T) {
	for name, c := range pasted(t) {
		server := notifytest.Start(notifytest.New(c.platform))
		t.Cleanup(server.Close)
		cfg := configtest.Keys{
			Name: name, Type: "webhook", URL: notify.SecretValue(server.URL() + c.path), Body: c.tree, SuccessJSON: c.success,
			Header: map[string]notify.Secret{"Content-Type": notify.SecretValue("application/json")}, Location: shanghai(t),
		}
		if mistakes := configtest.Check(cfg); len(mistakes) > 0 {
			t.Errorf("%s: %q", name, mistakes)
			continue
		}
		r, err := configtest.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		scheduler := plainIncident()
		// The scheduler sets eventTime only.
		scheduler.EventTime, scheduler.FirstTimestamp, scheduler.LastTimestamp = now, time.Time{}, time.Time{}
		for _, in := range []notify.Incident{plainIncident(), scheduler} {
			if err := r.Send(t.Context(), render(t, r, message(in), notify.Full)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, got := range server.Received() {
			text := allStrings(got.Body)
			if !strings.Contains(text, "Back-off restarting failed container web") || strings.Contains(text, "0001-01-01") || strings.Contains(text, "{{") {
				t.Errorf("%s: %s", name, text)
			}
		}
		golden(t, "testdata/pasted/"+name+".golden.json", render(t, r, message(plainIncident()), notify.Full))
		for hostileName, text := range hostile {
			request := render(t, r, message(hostileEverywhere(text)), notify.Full)
			shown := strings.ToLower(allStrings(request.Body))
			for _, live := range []string{"<at", "<!", "<@", "@all", "@everyone"} {
				if !json.Valid(request.Body) || strings.Contains(shown, live) {
					t.Errorf("%s, %s: %q in %s", name, hostileName, live, request.Body)
				}
			}
		}
	}
}

func TestTemplateFunctions(t *testing.T) {
	for template, want := range map[string]string{
		"{{ .Reason | upper }} {{ lower .Reason }}":                              "BACKOFF backoff",
		"{{ .Message | truncate 100 }}":                                          plainIncident().Message,
		"{{ .Action | default \"none\" }} {{ .Reason | default \"none\" }}":      "none BackOff",
		"{{ toJson .InvolvedObject.Name }}":                                      `"web-7d9f8c6b5d-x2x4z"`,
		"{{ timeIn \"UTC\" .LastTimestamp }}":                                    "2026-11-21 04:06:00 +0000 UTC",
		"{{ (timeIn \"\" .LastSeen).Format \"15:04\" }}":                         "12:06",
		"{{ .LastTimestamp }}":                                                   "2026-11-21 12:06:00 +0800 CST",
		"{{ .Cluster }} {{ .Workload }} {{ .Severity }} {{ .Occurrences }}":      "shop-1 web warning 312",
		"{{ .Delay }} {{ .Count }} {{ .Untold }} {{ .ClusterName }}":             "1h0m0s 312 9 shop-1",
		"{{ .FirstSeen.Unix }} {{ .GetTimestampMs }} {{ .GetTimestampISO8601 }}": "1795226760 1795233960000 2026-11-21T04:06:00.000Z",
		"{{ .InvolvedObject.Kind }}/{{ .Namespace }} {{ .Source.Component }}":    "Pod/shop kubelet",
		"{{ with .Series }}series{{ else }}single{{ end }}":                      "single",
	} {
		s := webhookSubject()
		r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) {
			c.Body, c.Location = map[string]any{"a": []any{template, 7, nil, true}}, time.FixedZone("CST", 8*3600)
		})
		var got struct{ A []any }
		if err := json.Unmarshal(render(t, r, message(plainIncident()), notify.Full).Body, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]any{want, 7.0, nil, true}, got.A); diff != "" {
			t.Errorf("%s (-want +got):\n%s", template, diff)
		}
	}
}

func TestTemplatesInURLAndHeadersAreEscapedForWhereTheyStand(t *testing.T) {
	server := notifytest.Start(notifytest.New(&notifytest.Webhook{}))
	t.Cleanup(server.Close)
	r, err := configtest.New(configtest.Keys{
		Name: "w", Type: "webhook", Cluster: "shop 1/é",
		URL: notify.SecretValue(server.URL() + "/{{ .Cluster }}/{{ if .Reason }}{{ .Reason }}{{ end }}?m={{ .Message }}&k={{ .InvolvedObject.Kind | lower }}"),
		Header: map[string]notify.Secret{
			"X-Message": notify.SecretValue("m: {{ .Message }}"), "X-Plain": notify.SecretValue("plain"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	in := withText("a&b=c#d\r\nX-Evil: 1\n%2e é")
	in.Cluster, in.Reason = "", "../..?x=/"
	request := render(t, r, message(in, plainIncident()), notify.Full)
	if request.Incidents != 1 || r.Limits().Batch != 1 {
		t.Errorf("%d incidents: a URL is made for one", request.Incidents)
	}
	if err := r.Send(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	got := server.Received()[0]
	if want := "/shop%201%2F%C3%A9/..%2F..%3Fx=%2F?m=a%26b%3Dc%23d%0AX-Evil%3A+1%0A%252e+%C3%A9&k=pod"; got.Path != want {
		t.Errorf("path %s, want %s", got.Path, want)
	}
	if want := "m: a&b=c#d X-Evil: 1 %2e é"; got.Header.Get("X-Message") != want || got.Header.Get("X-Evil") != "" || got.Header.Get("X-Plain") != "plain" {
		t.Errorf("headers %q", got.Header)
	}
}

func TestTemplatedBodyTellsLosses(t *testing.T) {
	s := webhookSubject()
	r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.Body = map[string]any{"text": "{{ .Reason }}: {{ .Message }}"} })
	with := render(t, r, &notify.Message{Now: now, Incidents: []notify.Incident{plainIncident()}, Losses: losses()}, notify.Full)
	if text := allStrings(with.Body); !strings.HasPrefix(text, "BackOff: lost 3 incidents, 40 events") || !strings.Contains(text, "Back-off restarting") || with.Incidents != 1 {
		t.Errorf("with an incident: %s", text)
	}
	alone := render(t, r, &notify.Message{Now: now, Losses: losses()}, notify.Full)
	if text := allStrings(alone.Body); !strings.HasPrefix(text, "EventsLost: lost 3 incidents, 40 events") || alone.Incidents != 0 {
		t.Errorf("alone: %s", text)
	}
}

func TestTemplatedBodyIsWithinTheBatch(t *testing.T) {
	s := webhookSubject()
	loop := "{{ range .Objects }}{{ $.Message }}{{ end }}"
	r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.Body, c.BatchBytes = map[string]any{"a": loop, "b": loop}, 16<<10 })
	request := render(t, r, message(withText(strings.Repeat("long ", 20<<10))), notify.Full)
	if len(request.Body) > 16<<10 || !strings.Contains(string(request.Body), "… [cut ") {
		t.Errorf("%d bytes", len(request.Body))
	}
}

// TestLongMessageIsCutWhereATemplateRepeatsIt: what reaches the bound on text with the whole message is tried with less of it, and is no dead
// letter.
func TestLongMessageIsCutWhereATemplateRepeatsIt(t *testing.T) {
	s := webhookSubject()
	r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) { c.Body = "{{ range 8 }}{{ $.Message | printf \"%s\" }}{{ end }}" })
	request := render(t, r, message(withText(strings.Repeat("long ", 60<<10))), notify.Full)
	if len(request.Body) > 256<<10 || strings.Count(string(request.Body), "… [cut ") != 8 {
		t.Errorf("%d bytes with %d cuts", len(request.Body), strings.Count(string(request.Body), "… [cut "))
	}
}

// TestTemplateThatNeverEndsIsRefused goes through the check of a configuration; notify/template tests the same while the agent runs.
func TestTemplateThatNeverEndsIsRefused(t *testing.T) {
	for body, want := range map[string]string{
		`{{ define "x" }}{{ .Message }}{{ template "x" . }}{{ end }}{{ template "x" . }}`: "body: template line 1: templates call each other more than 100 deep",
		`{{ range 20000 }}{{ $.Message }}{{ end }}`:                                       "body: the result is larger than 1 MiB",
		`{{ range 1000000000 }}{{ end }}`:                                                 "body: template line 1: the templates take more than 100000 steps: is there a loop?",
		`{{ $x := .Message }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}`:               "body: template line 1: the result is larger than 1 MiB",
	} {
		start := time.Now()
		mistakes := configtest.Check(configtest.Keys{Type: "webhook", URL: notify.SecretValue("https://a.example/"), Body: []any{body, body}})
		if diff := cmp.Diff([]string{strings.Replace(want, "body", "body[0]", 1)}, mistakes); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
		t.Logf("%s: %v", body, time.Since(start))
	}
}

func TestTopicTemplateIsChecked(t *testing.T) {
	url := notify.SecretValue("https://bridge.example")
	got := configtest.Check(configtest.Keys{Type: "kafka-rest", URL: url, Topic: "events-{{ .Nope }}"})
	if diff := cmp.Diff([]string{"topic: template line 1: <.Nope>: can't evaluate field Nope of the event"}, got); diff != "" {
		t.Error(diff)
	}
	if got := configtest.Check(configtest.Keys{Type: "kafka-rest", URL: url}); got != nil {
		t.Errorf("default topic: %q", got)
	}
}

func TestTemplateThatFailsOnOneEventIsThatMessagesFault(t *testing.T) {
	s := webhookSubject()
	r := s.receiver(t, "http://127.0.0.1:1", func(c *configtest.Keys) {
		c.Body = map[string]any{"a": `{{ if eq .Reason "FailedMount" }}{{ index .Objects 7 }}{{ end }}`}
	})
	bad := plainIncident()
	bad.Reason = "FailedMount"
	if _, err := r.Render(message(bad), notify.Full); err == nil || !strings.Contains(err.Error(), "body.a") {
		t.Errorf("%v, want an error that names the leaf", err)
	}
	if _, err := r.Render(message(plainIncident()), notify.Full); err != nil {
		t.Errorf("another event: %v", err)
	}
}

func TestErrorsOfTemplatesAreFound(t *testing.T) {
	_, err := configtest.New(configtest.Keys{Name: "w", Type: "webhook", URL: notify.SecretValue("https://a.example/"), Body: map[string]any{"a": []any{map[string]any{"b": "{{ .X }}"}}}})
	if err == nil || !strings.Contains(err.Error(), "receiver w: body.a[0].b: template line 1: <.X>") || errors.Unwrap(err) != nil {
		t.Errorf("%v", err)
	}
}
