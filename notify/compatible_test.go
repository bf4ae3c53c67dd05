package notify_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// compatibleSubjects are the platforms whose addresses type slack speaks to.
func compatibleSubjects() map[string]subject {
	const key = "xb1h9n3k7tgkmr5zcq8wq4d2ya"
	named := func(status int, id string) notifytest.Answer {
		return notifytest.Answer{Status: status, Body: `{"id":"` + id + `.app_error","message":"It is so.","detailed_error":"","request_id":"y","status_code":400}`}
	}
	coded := func(status int, code string) notifytest.Answer {
		return notifytest.Answer{Status: status, Body: `{"message": "It is so", "code": ` + code + `}`}
	}
	mattermost := subject{
		name:     "slack",
		platform: func() notifytest.Platform { return &notifytest.Mattermost{Key: key} },
		config: func(base string) configtest.Keys {
			return configtest.Keys{URL: notify.SecretValue(base + "/chat/hooks/" + key)}
		},
		secrets: []string{key},
		taken:   []notifytest.Answer{body("ok")},
		answers: []documented{
			{name: "parse", answer: named(400, "web.incoming_webhook.parse"), outcome: notify.BadPayload, code: "web.incoming_webhook.parse", says: "It is so"},
			{name: "text", answer: named(400, "web.incoming_webhook.text"), outcome: notify.BadPayload},
			{name: "props", answer: named(400, "web.incoming_webhook.split_props_length"), outcome: notify.BadPayload},
			{name: "incoming", answer: named(400, "api.webhook.incoming.error"), outcome: notify.BadPayload},
			{name: "large", answer: named(413, "something"), outcome: notify.BadPayload},
			{name: "invalid", answer: named(400, "web.incoming_webhook.invalid"), outcome: notify.BadTarget, says: "refuses every message"},
			{name: "user", answer: named(400, "web.incoming_webhook.user"), outcome: notify.BadTarget},
			{name: "locked", answer: named(403, "web.incoming_webhook.channel_locked"), outcome: notify.BadTarget},
			{name: "permissions", answer: named(403, "web.incoming_webhook.permissions"), outcome: notify.BadTarget},
			{name: "channel", answer: named(404, "web.incoming_webhook.channel"), outcome: notify.BadTarget},
			{name: "existing", answer: named(404, "app.channel.get.existing"), outcome: notify.BadTarget},
			{name: "disabled", answer: named(501, "web.incoming_webhook.disabled"), outcome: notify.BadTarget},
			{name: "500", answer: named(500, "app.post.save.app"), outcome: notify.Retry},
			{name: "rate", answer: notifytest.Answer{Status: 429, Header: map[string]string{"Retry-After": "1"}, Body: "limit exceeded\n"}, outcome: notify.Retry, wait: time.Second},
			{name: "unknown", answer: named(400, "new"), outcome: notify.Retry, code: "new"},
		},
		size: bodySize, limit: 16_000,
	}
	discord := subject{
		name:     "slack",
		platform: func() notifytest.Platform { return &notifytest.Discord{Token: key} },
		config: func(base string) configtest.Keys {
			return configtest.Keys{URL: notify.SecretValue(base + "/api/webhooks/1199887766554433221/" + key + "/slack")}
		},
		secrets: []string{key},
		taken:   []notifytest.Answer{body("ok")},
		answers: []documented{
			{name: "form", answer: coded(400, "50035"), outcome: notify.BadPayload, code: "50035", says: "It is so"},
			{name: "empty", answer: coded(400, "50006"), outcome: notify.BadPayload},
			{name: "large", answer: coded(413, "40005"), outcome: notify.BadPayload},
			{name: "token", answer: coded(401, "50027"), outcome: notify.BadTarget, code: "50027"},
			{name: "unknown webhook", answer: coded(404, "10015"), outcome: notify.BadTarget, says: "refuses every message"},
			{name: "unknown channel", answer: coded(404, "10003"), outcome: notify.BadTarget},
			{name: "forum", answer: coded(400, "220001"), outcome: notify.BadTarget},
			{name: "403", answer: coded(403, "50013"), outcome: notify.BadTarget},
			{name: "rate", answer: (&notifytest.Discord{}).TooFast(), outcome: notify.Retry, wait: 64*time.Second + 570*time.Millisecond},
			{name: "rate without end", answer: status(429, `{"message":"x","retry_after":1e300,"global":true}`), outcome: notify.Retry, wait: time.Hour},
			{name: "protection", answer: notifytest.Answer{Status: 429, Header: map[string]string{"Server": "cloudflare"}, Body: "error code: 1015"}, outcome: notify.Retry, wait: 10 * time.Minute},
			{name: "500", answer: coded(500, "0"), outcome: notify.Retry},
			{name: "unknown code", answer: coded(400, "77777"), outcome: notify.Retry, code: "77777"},
		},
		size: bodySize, limit: 64 << 10,
	}
	return map[string]subject{"mattermost": mattermost, "discord": discord}
}

// TestSlackSpeaksToMattermostAndDiscord: their fakes refuse what would notify, break the message, or exceed what they take.
func TestSlackSpeaksToMattermostAndDiscord(t *testing.T) {
	for name, s := range compatibleSubjects() {
		t.Run(name, func(t *testing.T) {
			takesEveryMessage(t, &s)
			judgesEveryAnswer(t, &s)
			r := s.receiver(t, "http://127.0.0.1:1")
			for _, m := range []string{"critical", "digest", "hostile-markdown"} {
				golden(t, filepath.Join("testdata", "slack", name+"-"+m+".golden.json"), render(t, r, messages()[m], notify.Full))
			}
			server, large := s.start(t)
			for text, in := range hostile {
				all := hostileEverywhere(strings.Repeat(in, 400))
				m := &notify.Message{Now: now, Incidents: []notify.Incident{all, all, all}, Losses: losses()}
				request := render(t, large, m, notify.Full)
				if err := large.Send(t.Context(), request); err != nil {
					t.Errorf("%s: %v", text, err)
				}
			}
			if len(server.Received()) != len(hostile) {
				t.Errorf("%d of %d were taken", len(server.Received()), len(hostile))
			}
		})
	}
}

// TestConfigurationsForNtfyAndPagerDutyWork loads those of the guide, and sends what they render to fakes that check the documented limits.
func TestConfigurationsForNtfyAndPagerDutyWork(t *testing.T) {
	page, err := os.ReadFile("RECEIVERS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## ntfy and PagerDuty\n")
	section, _, _ = strings.Cut(section, "\n## ")
	header := filepath.Join(t.TempDir(), "authorization")
	writeFile(t, header, []byte("Bearer tk_secret"))
	platforms := []notifytest.Platform{notifytest.Ntfy{}, &notifytest.Alertmanager{}, notifytest.PagerDuty{}}
	for i, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(section, -1) {
		server := notifytest.Start(notifytest.New(platforms[i]))
		t.Cleanup(server.Close)
		text := regexp.MustCompile(`url: https?://[^/\s]+`).ReplaceAllLiteralString(block[1], "url: "+server.URL())
		c, err := config.Parse([]byte(strings.ReplaceAll(text, "/run/secrets/edge-eventer/ntfy-authorization", header)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Receivers[0].New(c.Receivers[0].Common(c))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		all := messages()
		for name, text := range hostile {
			all[name+"-long"] = message(hostileEverywhere(strings.Repeat(text, 300)))
		}
		for name, m := range all {
			if len(m.Incidents) == 0 {
				continue
			}
			request := render(t, r, m, notify.Full)
			if err := r.Send(t.Context(), request); err != nil {
				t.Errorf("configuration %d, %s: %v\n%s", i, name, err, request.Body)
			}
		}
		if i == len(platforms)-1 {
			return
		}
	}
	t.Error("the guide has fewer configurations than platforms")
}
