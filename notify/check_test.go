package notify_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/notify"
)

func TestEveryMistakeOfAConfigurationIsASentence(t *testing.T) {
	url := notify.SecretValue("https://receiver.example/hook")
	for _, c := range []struct {
		name string
		cfg  notify.Config
		want []string
	}{
		{"no type", notify.Config{}, []string{"type: must be set; allowed: " + strings.Join(notify.Types(), ", ")}},
		{"unknown type", notify.Config{Type: "feishuu"}, []string{`type: "feishuu" is unknown; allowed: ` + strings.Join(notify.Types(), ", ")}},
		{"no url", notify.Config{Type: "feishu"}, []string{"url: must be set, or urlFile"}},
		{"url", notify.Config{Type: "feishu", URL: notify.SecretValue("ftp://secret")}, []string{"url: must begin with https:// or http:// and name a host"}},
		{"url without host", notify.Config{Type: "webhook", URL: notify.SecretValue("https:///hook")}, []string{"url: must begin with https:// or http:// and name a host"}},
		{"url file", notify.Config{Type: "feishu", URL: notify.SecretFile("/nowhere")}, nil},
		{"stdout needs nothing", notify.Config{Type: "stdout"}, nil},
		{"defaults of a file", notify.Config{Type: "feishu", URL: url, Topic: notify.DefaultTopic, Method: "POST", BatchMax: 100, BatchBytes: 256 << 10}, nil},
		{"stdout uses no url", notify.Config{Type: "stdout", URL: url}, nil},
		{"mentions", notify.Config{Type: "feishu", URL: url, Mention: []string{"all", "ou_1", "a<b", "me@example.com"}}, []string{
			"mention[2]: must be a user id of letters, digits and _.@-, or all",
			"mention[3]: must be an open_id or user_id of Feishu, or all; it takes no e-mail address",
		}},
		{"proxy", notify.Config{Type: "feishu", URL: url, Proxy: "10.0.0.1:3128"}, []string{"proxy: must be the URL of an HTTP proxy, such as http://10.0.0.1:3128"}},
		{"tls", notify.Config{Type: "feishu", URL: url, CAFile: "x", InsecureSkipVerify: true}, []string{"tls: caFile has no effect together with insecureSkipVerify; set one of them"}},
		{"half a client certificate", notify.Config{Type: "feishu", URL: url, CertFile: "x"}, []string{"tls: certFile and keyFile belong together; set both or none"}},
		{"server name", notify.Config{Type: "feishu", URL: url, ServerName: "a b"}, []string{"tls.serverName: must be the name or the IP address that stands in the server's certificate"}},
		{"server name is an address", notify.Config{Type: "feishu", URL: url, ServerName: "fd00::1"}, nil},
		{"batch", notify.Config{Type: "webhook", URL: url, BatchMax: 5000, BatchBytes: 100}, []string{"batch.max: must be 1 to 1000", "batch.maxBytes: must be 16Ki to 1Mi"}},
		{"method", notify.Config{Type: "webhook", URL: url, Method: "GET"}, []string{"method: must be POST or PUT"}},
		{"success", notify.Config{Type: "webhook", URL: url, SuccessStatus: []int{200, 302, 99}}, []string{
			"success.status[1]: must be an HTTP status, 200 to 599 and not a redirect",
			"success.status[2]: must be an HTTP status, 200 to 599 and not a redirect",
		}},
		{"headers", notify.Config{Type: "webhook", URL: url, Header: map[string]notify.Secret{
			"a b": notify.SecretValue("x"), "host": notify.SecretValue("x"), "X-Ok": notify.SecretValue("a\r\nb"),
		}}, []string{
			"headers.X-Ok: must not hold control characters", "headers.a b: is not the name of an HTTP header", "headers.host: is set by type webhook itself",
		}},
		{"language", notify.Config{Type: "feishu", URL: url, Language: "fr", KeyExchange: "rsa"}, []string{
			`language: "fr" is unknown; allowed: en, zh`, `keyExchange: "rsa" is unknown; allowed: x25519, hybrid`,
		}},
		{"templates", notify.Config{
			Type: "webhook",
			URL:  notify.SecretValue("https://receiver.example/{{ .Nope }}"),
			Header: map[string]notify.Secret{
				"X-Reason": notify.SecretValue("{{ .Reason"),
			},
			Body: map[string]any{"card": map[string]any{"elements": []any{map[string]any{"text": map[string]any{"content": "{{ .Foo }} {{"}}}}},
		}, []string{
			"body.card.elements[0].text.content: template line 1: unclosed action",
			"headers.X-Reason: template line 1: unclosed action",
		}},
		{"unknown fields", notify.Config{
			Type: "webhook", URL: notify.SecretValue("https://receiver.example/{{ .Nope }}"),
			Body: map[string]any{"a": "{{ .InvolvedObject.Labels }}", "b": []any{"ok", "line\n{{ bogus .Reason }}"[:5], "{{ .Reason | timeIn \"UTC\" }}"}},
		}, []string{
			"body.a: template line 1: <.InvolvedObject.Labels>: can't evaluate field Labels in ObjectReference",
			`body.b[2]: template line 1: <"UTC">: wrong type for value; expected time.Time; got string`,
			"url: template line 1: <.Nope>: can't evaluate field Nope of the event",
		}},
		{"unguarded", notify.Config{Type: "webhook", URL: url, Body: map[string]any{"a": "{{ .Series.Count }}"}}, []string{
			"body.a: template line 1: <.Series.Count>: nil pointer evaluating *notify.EventSeries.Count",
		}},
		{"guarded", notify.Config{Type: "webhook", URL: url, Body: map[string]any{"a": "{{ with .Series }}{{ .Count }}{{ end }}"}}, nil},
		{"template in the host", notify.Config{Type: "webhook", URL: notify.SecretValue("https://{{ .Namespace }}.example/")}, []string{
			"url: must begin with https:// or http://, a host and a slash before the first template",
		}},
	} {
		got := notify.Check(c.cfg)
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.want))
		if diff := cmp.Diff(want, got, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if _, err := notify.New(c.cfg); (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: New: %v", c.name, err)
		}
	}
}
