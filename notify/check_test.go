package notify_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
)

func TestEveryMistakeOfAConfigurationIsASentence(t *testing.T) {
	url := notify.SecretValue("https://receiver.example/hook")
	for _, c := range []struct {
		name string
		cfg  configtest.Keys
		want []string
	}{
		{"no url", configtest.Keys{Type: "feishu"}, []string{"url: must be set, or urlFile"}},
		{"url", configtest.Keys{Type: "feishu", URL: notify.SecretValue("ftp://secret")}, []string{"url: must begin with https:// or http:// and name a host"}},
		{"url without host", configtest.Keys{Type: "webhook", URL: notify.SecretValue("https:///hook")}, []string{"url: must begin with https:// or http:// and name a host"}},
		{"url file", configtest.Keys{Type: "feishu", URL: notify.SecretFile("/nowhere")}, nil},
		{"stdout needs nothing", configtest.Keys{Type: "stdout"}, nil},
		{"mentions", configtest.Keys{Type: "feishu", URL: url, Mention: []string{"all", "ou_1", "a<b", "me@example.com"}}, []string{
			"mention[2]: must be a user id of letters, digits and _.@-, or all",
			"mention[3]: must be an open_id or user_id of Feishu, or all; it takes no e-mail address",
		}},
		{"proxy", configtest.Keys{Type: "feishu", URL: url, Proxy: "10.0.0.1:3128"}, []string{"proxy: must be the URL of an HTTP proxy, such as http://10.0.0.1:3128"}},
		{"tls", configtest.Keys{Type: "feishu", URL: url, CAFile: "x", InsecureSkipVerify: true}, []string{"tls: caFile has no effect together with insecureSkipVerify; set one of them"}},
		{"half a client certificate", configtest.Keys{Type: "feishu", URL: url, CertFile: "x"}, []string{"tls: certFile and keyFile belong together; set both or none"}},
		{"server name", configtest.Keys{Type: "feishu", URL: url, ServerName: "a b"}, []string{"tls.serverName: must be the name or the IP address that stands in the server's certificate"}},
		{"server name is an address", configtest.Keys{Type: "feishu", URL: url, ServerName: "fd00::1"}, nil},
		{"batch", configtest.Keys{Type: "webhook", URL: url, BatchMax: 5000, BatchBytes: 100}, []string{"batch.max: must be 1 to 1000", "batch.maxBytes: must be 16Ki to 1Mi"}},
		{"method", configtest.Keys{Type: "webhook", URL: url, Method: "GET"}, []string{"method: must be POST or PUT"}},
		{"success", configtest.Keys{Type: "webhook", URL: url, SuccessStatus: []int{200, 302, 99}}, []string{
			"success.status[1]: must be an HTTP status, 200 to 599 and not a redirect",
			"success.status[2]: must be an HTTP status, 200 to 599 and not a redirect",
		}},
		{"headers", configtest.Keys{Type: "webhook", URL: url, Header: map[string]notify.Secret{
			"a b": notify.SecretValue("x"), "host": notify.SecretValue("x"), "X-Ok": notify.SecretValue("a\r\nb"),
		}}, []string{
			"headers.X-Ok: must not hold control characters", "headers.a b: is not the name of an HTTP header", "headers.host: is set by type webhook itself",
		}},
		{"templates", configtest.Keys{
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
		{"unknown fields", configtest.Keys{
			Type: "webhook", URL: notify.SecretValue("https://receiver.example/{{ .Nope }}"),
			Body: map[string]any{"a": "{{ .InvolvedObject.Labels }}", "b": []any{"ok", "line\n{{ bogus .Reason }}"[:5], "{{ .Reason | timeIn \"UTC\" }}"}},
		}, []string{
			"body.a: template line 1: <.InvolvedObject.Labels>: can't evaluate field Labels in Reference",
			`body.b[2]: template line 1: <"UTC">: wrong type for value; expected time.Time; got string`,
			"url: template line 1: <.Nope>: can't evaluate field Nope of the event",
		}},
		{"unguarded", configtest.Keys{Type: "webhook", URL: url, Body: map[string]any{"a": "{{ .Series.Count }}"}}, []string{
			"body.a: template line 1: <.Series.Count>: nil pointer evaluating *event.Series.Count",
		}},
		{"guarded", configtest.Keys{Type: "webhook", URL: url, Body: map[string]any{"a": "{{ with .Series }}{{ .Count }}{{ end }}"}}, nil},
		{"template in the host", configtest.Keys{Type: "webhook", URL: notify.SecretValue("https://{{ .Namespace }}.example/")}, []string{
			"url: must begin with https:// or http://, a host and a slash before the first template",
		}},
	} {
		got := configtest.Check(c.cfg)
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.want))
		if diff := cmp.Diff(want, got, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if _, err := configtest.New(c.cfg); (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: New: %v", c.name, err)
		}
	}
}
