package notify_test

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
)

// subjects are all receivers that speak HTTP.
func subjects() []subject {
	return []subject{
		feishuSubject(), dingtalkSubject(), wecomSubject(), slackSubject(), telegramSubject(), worktileSubject(), teamsSubject(),
		webhookSubject(), alertmanagerSubject(), kafkaSubject(), cloudEventsSubject(),
	}
}

func bodySize(r *notify.Request) int { return len(r.Body) }

// allStrings returns every string in a JSON document, a line each.
func allStrings(body []byte) string {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return string(body)
	}
	var b strings.Builder
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			b.WriteString(v + "\n")
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(v[key])
			}
		}
	}
	walk(v)
	return b.String()
}

// markdownStrings leaves links alone in a text message, where they are none.
func markdownStrings(body []byte) string {
	text := allStrings(body)
	if strings.Contains(string(body), `"msgtype":"text"`) {
		text = strings.ReplaceAll(text, "](", "] (")
	}
	return text
}

const (
	feishuToken  = "0f3d1b2a-9c8e-4f57-a1b2-c3d4e5f60718"
	feishuSecret = "kR7wQ2vX9sLmN4pT"
)

func feishuSubject() subject {
	return subject{
		name: "feishu",
		platform: func() notifytest.Platform {
			return &notifytest.Feishu{Token: feishuToken, Secret: feishuSecret, Keyword: "shop-1"}
		},
		config: func(base string) configtest.Keys {
			return configtest.Keys{
				URL: notify.SecretValue(base + "/open-apis/bot/v2/hook/" + feishuToken), Secret: notify.SecretValue(feishuSecret),
				Mention: []string{"ou_18eac85d35a26f989317ad4f02e8bbbb"},
			}
		},
		secrets: []string{feishuToken, feishuSecret},
		taken:   []notifytest.Answer{body(notifytest.FeishuOK), body(notifytest.FeishuOKNew), body(notifytest.FeishuOKOld)},
		answers: []documented{
			{name: "bad-body", answer: body(notifytest.FeishuBadBody), outcome: notify.BadPayload, code: "9499"},
			{name: "rate-old", answer: status(400, notifytest.FeishuRateOld), outcome: notify.Retry, code: "9499", says: "fewer"},
			{name: "rate", answer: body(notifytest.FeishuRate), outcome: notify.Retry, code: "11232", says: "fewer"},
			{name: "card", answer: body(notifytest.FeishuCard), outcome: notify.BadPayload, code: "11246", says: "divider"},
			{name: "card-sub-code", answer: body(`{"code":11246,"msg":"ErrCode: 200410; ErrMsg: action components are not allowed"}`), outcome: notify.BadPayload, code: "11246"},
			{name: "11247", answer: body(`{"code":11247,"msg":"param invalid"}`), outcome: notify.BadPayload, code: "11247"},
			{name: "token", answer: body(notifytest.FeishuToken), outcome: notify.BadTarget, code: "19001", says: "token"},
			{name: "msgtype", answer: body(notifytest.FeishuMsgType), outcome: notify.BadPayload, code: "19002"},
			{name: "trap", answer: body(notifytest.FeishuTrap), outcome: notify.BadTarget, code: "19007", says: "not enabled"},
			{name: "sign", answer: body(notifytest.FeishuSign), outcome: notify.BadTarget, code: "19021", says: "secret is wrong"},
			{name: "ip", answer: body(notifytest.FeishuIP), outcome: notify.BadTarget, code: "19022", says: "IP"},
			{name: "keyword", answer: body(notifytest.FeishuKeyword), outcome: notify.BadPayload, code: "19024", says: "keyword"},
			{name: "big", answer: body(notifytest.FeishuBig), outcome: notify.BadPayload, code: "19036", says: "large"},
			{
				name: "gateway", answer: notifytest.Answer{Status: 429, Header: map[string]string{"X-Ogw-Ratelimit-Limit": "100", "X-Ogw-Ratelimit-Reset": "52"}, Body: notifytest.FeishuGateway},
				outcome: notify.Retry, code: "99991400", wait: 52 * time.Second,
			},
			{name: "unknown", answer: body(`{"code":12345,"msg":"what"}`), outcome: notify.Retry, code: "12345", says: "not documented"},
			{name: "code-is-text", answer: body(`{"code":"0"}`), outcome: notify.Retry},
			{name: "code-is-null", answer: body(`{"code":null,"msg":"success"}`), outcome: notify.Retry},
			{name: "ok-with-500", answer: status(500, notifytest.FeishuOK), outcome: notify.Retry},
		},
		size: func(r *notify.Request) int {
			return len(r.Body) + len(`"timestamp":"1599360473","sign":"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=",`)
		},
		limit: 20_000,
		live:  []string{"<at id=all", `<at user_id="all"`, "</at><at"},
		shown: allStrings,
	}
}

const webhookToken = "tok-5d1c9a77e0b24c8f"

func webhookSubject() subject {
	return subject{
		name:     "webhook",
		platform: func() notifytest.Platform { return &notifytest.Webhook{Token: webhookToken} },
		config: func(base string) configtest.Keys {
			return configtest.Keys{
				URL:    notify.SecretValue(base + "/hooks/6f1e0d9c8b7a?key=zzz-url-key"),
				Header: map[string]notify.Secret{"Authorization": notify.SecretValue("Bearer " + webhookToken)},
			}
		},
		secrets: []string{webhookToken, "6f1e0d9c8b7a", "zzz-url-key"},
		taken: []notifytest.Answer{
			status(200, ""), status(200, "anything"), status(201, `{"id":1}`), status(202, ""), status(204, ""), body(`<?xml version="1.0"?><Response/>`),
		},
		answers: []documented{
			{name: "400", answer: status(400, "bad"), outcome: notify.BadPayload},
			{name: "401", answer: status(401, ""), outcome: notify.BadTarget},
			{name: "403", answer: status(403, ""), outcome: notify.BadTarget},
			{name: "404", answer: status(404, ""), outcome: notify.BadTarget},
			{name: "405", answer: status(405, ""), outcome: notify.BadTarget},
			{name: "410", answer: status(410, ""), outcome: notify.BadTarget},
			{name: "413", answer: status(413, ""), outcome: notify.BadPayload, says: "large"},
			{name: "415", answer: status(415, ""), outcome: notify.BadPayload},
			{name: "422", answer: status(422, ""), outcome: notify.BadPayload},
		},
		statusDecides: true,
		size:          bodySize,
		limit:         notify.DefaultBatchBytes,
		shown:         allStrings,
		structure:     true,
	}
}

const (
	dingtalkToken  = "d1n9f00d5c1b7a3e9f2d4c6b8a0e1f3d"
	dingtalkSecret = "SEC9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"
)

func dingtalkSubject() subject {
	return subject{
		name: "dingtalk",
		platform: func() notifytest.Platform {
			return &notifytest.Dingtalk{Token: dingtalkToken, Secret: dingtalkSecret, Keyword: "shop-1"}
		},
		config: func(base string) configtest.Keys {
			return configtest.Keys{
				URL: notify.SecretValue(base + "/robot/send?access_token=" + dingtalkToken), Secret: notify.SecretValue(dingtalkSecret),
				Mention: []string{"manager4711", "13800000001"},
			}
		},
		secrets: []string{dingtalkToken, dingtalkSecret},
		taken:   []notifytest.Answer{body(notifytest.DingtalkOK)},
		answers: []documented{
			{name: "busy", answer: body(notifytest.DingtalkBusy), outcome: notify.Retry, code: "-1", says: "busy"},
			{name: "rate", answer: body(notifytest.DingtalkRate), outcome: notify.Retry, code: "130101", says: "fewer", wait: time.Minute},
			{name: "410100", answer: body(`{"errcode":410100,"errmsg":"发送速度太快而限流"}`), outcome: notify.Retry, code: "410100", wait: time.Minute},
			{name: "keyword", answer: body(notifytest.DingtalkKeyword), outcome: notify.BadPayload, code: "310000", says: "keyword"},
			{name: "sign", answer: body(notifytest.DingtalkSign), outcome: notify.BadTarget, code: "310000", says: "secret is wrong"},
			{name: "timestamp", answer: body(`{"errcode":310000,"errmsg":"invalid timestamp"}`), outcome: notify.BadTarget, code: "310000"},
			{name: "ip", answer: body(notifytest.DingtalkIP), outcome: notify.BadTarget, code: "310000", says: "IP"},
			{name: "300001", answer: body(`{"errcode":300001,"errmsg":"token is not exist"}`), outcome: notify.BadTarget, code: "300001"},
			{name: "300001-rate", answer: body(`{"errcode":300001,"errmsg":"send too fast"}`), outcome: notify.Retry, code: "300001", wait: time.Minute},
			{name: "token", answer: body(notifytest.DingtalkToken), outcome: notify.BadTarget, code: "300005", says: "access_token"},
			{name: "no-token", answer: body(notifytest.DingtalkNoToken), outcome: notify.BadTarget, code: "40035"},
			{name: "not-post", answer: body(notifytest.DingtalkNotPost), outcome: notify.BadPayload, code: "43002"},
			{name: "not-json", answer: body(notifytest.DingtalkNotJSON), outcome: notify.BadPayload, code: "43004"},
			{name: "400013", answer: body(`{"errcode":400013,"errmsg":"group is dissolved"}`), outcome: notify.BadTarget, code: "400013", says: "dissolved"},
			{name: "400101", answer: body(`{"errcode":400101,"errmsg":"access_token not exist"}`), outcome: notify.BadTarget, code: "400101"},
			{name: "400102", answer: body(`{"errcode":400102,"errmsg":"robot is stopped"}`), outcome: notify.BadTarget, code: "400102"},
			{name: "400105", answer: body(notifytest.DingtalkMsgType), outcome: notify.BadPayload, code: "400105"},
			{name: "400106", answer: body(`{"errcode":400106,"errmsg":"robot not exist"}`), outcome: notify.BadTarget, code: "400106"},
			{name: "big", answer: body(notifytest.DingtalkBig), outcome: notify.BadPayload, code: "460101", says: "large"},
			{name: "throttle", answer: body(notifytest.DingtalkThrottle), outcome: notify.Retry, code: "1111", says: "fewer", wait: time.Minute},
			{name: "throttle-long", answer: body(`{"status":1111,"wait":300,"punish":"deny"}`), outcome: notify.Retry, code: "1111", wait: 5 * time.Minute},
			{name: "throttle-with-code", answer: body(`{"errcode":130101,"errmsg":"too fast","status":1111,"wait":5}`), outcome: notify.Retry, code: "130101", wait: time.Minute},
			{name: "unknown", answer: body(`{"errcode":999999,"errmsg":"what"}`), outcome: notify.Retry, code: "999999", says: "not documented"},
		},
		size: bodySize, limit: 20_000,
		live:  []string{"<at", "@all", "](http"},
		shown: markdownStrings,
	}
}

const wecomKey = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"

func wecomSubject() subject {
	return subject{
		name:     "wecom",
		platform: func() notifytest.Platform { return &notifytest.Wecom{Key: wecomKey} },
		config: func(base string) configtest.Keys {
			return configtest.Keys{URL: notify.SecretValue(base + "/cgi-bin/webhook/send?key=" + wecomKey), Mention: []string{"zhangsan_wx"}}
		},
		secrets: []string{wecomKey},
		taken:   []notifytest.Answer{body(notifytest.WecomOK)},
		answers: []documented{
			{name: "busy", answer: body(notifytest.WecomBusy), outcome: notify.Retry, code: "-1"},
			{name: "rate", answer: body(notifytest.WecomRate), outcome: notify.Retry, code: "45009", says: "fewer", wait: time.Minute},
			{name: "key", answer: body(notifytest.WecomKey), outcome: notify.BadTarget, code: "93000", says: "key"},
			{name: "big", answer: body(`{"errcode":40058,"errmsg":"markdown.content exceed max length 4096. invalid Request Parameter"}`), outcome: notify.BadPayload, code: "40058", says: "4096"},
			{name: "empty", answer: body(notifytest.WecomEmpty), outcome: notify.BadPayload, code: "44004"},
			{name: "type", answer: body(notifytest.WecomType), outcome: notify.BadPayload, code: "40008"},
			{name: "unknown", answer: body(`{"errcode":40001,"errmsg":"what"}`), outcome: notify.Retry, code: "40001"},
		},
		size: func(r *notify.Request) int {
			var m struct {
				Text, Markdown *struct{ Content string }
			}
			_ = json.Unmarshal(r.Body, &m)
			if m.Text != nil {
				// A text message may have half as much.
				return 2 * len(m.Text.Content)
			}
			return len(m.Markdown.Content)
		},
		limit: 4096,
		live:  []string{"<@", "@all", "](http"},
		shown: markdownStrings,
	}
}

const slackPath = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"

func slackSubject() subject {
	var refused []documented
	for _, word := range []string{"invalid_payload", "no_text", "too_many_attachments", "invalid_blocks", "missing_text_or_fallback_or_attachments"} {
		refused = append(refused, documented{name: word, answer: status(400, word), outcome: notify.BadPayload, code: word})
	}
	for word, code := range map[string]int{
		"user_not_found": 400, "action_prohibited": 403, "channel_not_found": 404, "channel_is_archived": 410, "no_service": 404,
		"no_service_id": 404, "no_team": 404, "team_disabled": 403, "invalid_token": 403, "no_active_hooks": 404,
		"posting_to_general_channel_denied": 403,
	} {
		refused = append(refused, documented{name: word, answer: status(code, word), outcome: notify.BadTarget, code: word})
	}
	return subject{
		name:     "slack",
		platform: func() notifytest.Platform { return &notifytest.Slack{Path: slackPath} },
		config:   func(base string) configtest.Keys { return configtest.Keys{URL: notify.SecretValue(base + slackPath)} },
		secrets:  []string{slackPath, "XXXXXXXXXXXXXXXXXXXXXXXX", "B00000000"},
		taken:    []notifytest.Answer{body("ok"), body("ok\n")},
		answers: append(refused,
			documented{name: "rollup_error", answer: status(500, "rollup_error"), outcome: notify.Retry},
			documented{name: "unknown word", answer: body("fine"), outcome: notify.Retry},
			documented{name: "ok with 500", answer: status(500, "ok"), outcome: notify.Retry},
			documented{name: "json ok", answer: body(`{"ok":true}`), outcome: notify.Retry},
		),
		size: bodySize, limit: 16_000,
		live:  []string{"<!", "<@", "<http", "@all", "@here", "@channel", "@everyone"},
		shown: allStrings,
	}
}

const (
	telegramToken = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
	telegramChat  = "-1001234567890"
)

func telegramSubject() subject {
	pre := regexp.MustCompile(`(?s)<pre>.*?</pre>`)
	tags := regexp.MustCompile(`<[^>]*>`)
	return subject{
		name:     "telegram",
		platform: func() notifytest.Platform { return &notifytest.Telegram{Token: telegramToken, ChatID: telegramChat} },
		config: func(base string) configtest.Keys {
			return configtest.Keys{URL: notify.SecretValue(base), Token: notify.SecretValue(telegramToken), ChatID: telegramChat}
		},
		secrets: []string{telegramToken, "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"},
		taken:   []notifytest.Answer{body(`{"ok":true,"result":{"message_id":1}}`)},
		answers: []documented{
			{name: "rate", answer: notifytest.TelegramError(429, "Too Many Requests: retry after 35", `{"retry_after":35}`), outcome: notify.Retry, code: "429", wait: 35 * time.Second},
			{name: "rate-long", answer: notifytest.TelegramError(429, "Too Many Requests", `{"retry_after":99999}`), outcome: notify.Retry, code: "429", wait: time.Hour},
			{name: "entities", answer: notifytest.TelegramError(400, "Bad Request: can't parse entities: Character '-' is reserved and must be escaped with the preceding '\\'", ""), outcome: notify.BadPayload, code: "400", says: "entities"},
			{name: "long", answer: notifytest.TelegramError(400, "Bad Request: message is too long", ""), outcome: notify.BadPayload, code: "400"},
			{name: "empty", answer: notifytest.TelegramError(400, "Bad Request: message text is empty", ""), outcome: notify.BadPayload, code: "400"},
			{name: "chat", answer: notifytest.TelegramError(400, "Bad Request: chat not found", ""), outcome: notify.BadTarget, code: "400", says: "chat not found"},
			{name: "rights", answer: notifytest.TelegramError(400, "Bad Request: not enough rights to send text messages to the chat", ""), outcome: notify.BadTarget, code: "400"},
			{name: "token", answer: notifytest.TelegramError(401, "Unauthorized", ""), outcome: notify.BadTarget, code: "401", says: "token"},
			{name: "topic", answer: notifytest.TelegramError(400, "Bad Request: TOPIC_CLOSED", ""), outcome: notify.BadTarget, code: "400", says: "TOPIC_CLOSED"},
			{name: "topic-gone", answer: notifytest.TelegramError(400, "Bad Request: message thread not found", ""), outcome: notify.BadTarget, code: "400"},
			{name: "kicked", answer: notifytest.TelegramError(403, "Forbidden: bot was kicked from the supergroup chat", ""), outcome: notify.BadTarget, code: "403", says: "kicked"},
			{name: "blocked", answer: notifytest.TelegramError(403, "Forbidden: bot was blocked by the user", ""), outcome: notify.BadTarget, code: "403"},
			{name: "404", answer: notifytest.TelegramError(404, "Not Found", ""), outcome: notify.BadTarget, code: "404"},
			{name: "500", answer: notifytest.TelegramError(500, "Internal Server Error", ""), outcome: notify.Retry, code: "500"},
			{name: "ok-false-with-200", answer: body(`{"ok":false,"error_code":400,"description":"Bad Request"}`), outcome: notify.BadPayload},
			{name: "ok-true-with-500", answer: status(500, `{"ok":true}`), outcome: notify.Retry},
		},
		size: func(r *notify.Request) int {
			var m struct {
				Text      string
				ParseMode string `json:"parse_mode"`
			}
			_ = json.Unmarshal(r.Body, &m)
			if m.ParseMode != "" {
				m.Text = html.UnescapeString(tags.ReplaceAllString(m.Text, ""))
			}
			return len(utf16.Encode([]rune(m.Text)))
		},
		limit: 4096,
		live:  []string{"@all", "@here", "@z", "@1", "<a ", "<script", "@"},
		// A name in a pre element is no mention.
		shown: func(b []byte) string {
			text := allStrings(b)
			if !strings.Contains(string(b), `"parse_mode"`) {
				return strings.ReplaceAll(text, "<", "")
			}
			return pre.ReplaceAllString(text, "")
		},
	}
}

const worktilePath = "/incoming/f0e1d2c3b4a5968778695a4b3c2d1e0f"

func worktileSubject() subject {
	return subject{
		name:     "worktile",
		platform: func() notifytest.Platform { return &notifytest.Worktile{Path: worktilePath} },
		config: func(base string) configtest.Keys {
			return configtest.Keys{URL: notify.SecretValue(base + worktilePath)}
		},
		secrets: []string{worktilePath, "f0e1d2c3b4a5968778695a4b3c2d1e0f"},
		taken:   []notifytest.Answer{status(200, ""), body(`{"code":200}`), body(`{"code":0}`), body(`{"code":"200"}`), body(`{"code":"0"}`), status(204, ""), body("{}")},
		answers: []documented{
			{name: "code is text", answer: body(`{"code":"400"}`), outcome: notify.Retry, code: "400"},
			{name: "code is an object", answer: body(`{"code":{}}`), outcome: notify.Retry},
			{name: "400", answer: status(400, ""), outcome: notify.BadTarget},
			{name: "403", answer: status(403, ""), outcome: notify.BadTarget},
			{name: "404", answer: status(404, ""), outcome: notify.BadTarget},
			{name: "413", answer: status(413, ""), outcome: notify.BadPayload},
			{name: "code", answer: body(`{"code":1001}`), outcome: notify.Retry, code: "1001"},
			{name: "portal", answer: body("<html>"), outcome: notify.Retry, says: "captive portal"},
		},
		lenient: true,
		size:    bodySize, limit: 8_000,
		live:  []string{"[http", "<at", "<!", "<@", "@all", "@everyone"},
		shown: allStrings,
	}
}

const teamsSig = "iBzLxkZ3rJvT0hQm8wYdN5c2fUeXoPaS7gKlR1qVt4M"

func teamsSubject() subject {
	refused := func(code int, name string) notifytest.Answer {
		return status(code, fmt.Sprintf(`{"error":{"code":%q,"message":"The thing is so."}}`, name))
	}
	return subject{
		name:     "teams",
		platform: func() notifytest.Platform { return &notifytest.Teams{Sig: teamsSig} },
		config: func(base string) configtest.Keys {
			return configtest.Keys{URL: notify.SecretValue(base +
				"/powerautomate/automations/direct/workflows/3f1c0a9be7d24c5d/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=" + teamsSig)}
		},
		secrets: []string{teamsSig, "3f1c0a9be7d24c5d"},
		taken:   []notifytest.Answer{status(202, ""), status(200, ""), body("{}"), body(`"posted"`), status(202, "{")},
		answers: []documented{
			{name: "schema", answer: refused(400, "TriggerInputSchemaMismatch"), outcome: notify.BadPayload, code: "TriggerInputSchemaMismatch", says: "thing is so"},
			{name: "content", answer: refused(400, "InvalidRequestContent"), outcome: notify.BadPayload, code: "InvalidRequestContent"},
			{name: "large", answer: refused(413, "RequestEntityTooLarge"), outcome: notify.BadPayload},
			{name: "large without a code", answer: status(413, ""), outcome: notify.BadPayload, says: "large"},
			{name: "off", answer: refused(400, "WorkflowTriggerIsNotEnabled"), outcome: notify.BadTarget, code: "WorkflowTriggerIsNotEnabled", says: "switched off"},
			{name: "who", answer: refused(401, "DirectApiAuthorizationRequired"), outcome: notify.BadTarget, says: "Anyone"},
			{name: "claims", answer: refused(401, "MisMatchingOAuthClaims"), outcome: notify.BadTarget},
			{name: "not found", answer: refused(404, "WorkflowNotFound"), outcome: notify.BadTarget},
			{name: "403", answer: refused(403, "Forbidden"), outcome: notify.BadTarget},
			{name: "401 without a code", answer: status(401, ""), outcome: notify.BadTarget},
			{name: "404 without a code", answer: status(404, "gone"), outcome: notify.BadTarget},
			{name: "400 without a code", answer: status(400, "no"), outcome: notify.Retry, says: "captive portal"},
			{name: "422 without a code", answer: status(422, "no"), outcome: notify.Retry, says: "captive portal"},
			{name: "unknown", answer: refused(400, "SomethingNew"), outcome: notify.Retry, code: "SomethingNew", says: "not documented"},
			{name: "rate", answer: refused(429, "WorkflowRunActionRateLimit"), outcome: notify.Retry, code: "WorkflowRunActionRateLimit", wait: time.Minute},
			{name: "rate until", answer: notifytest.Answer{Status: 429, Header: map[string]string{"Retry-After": "7"}, Body: `{"error":{"code":"x"}}`}, outcome: notify.Retry, wait: 7 * time.Second},
			{name: "502", answer: refused(502, "NoResponse"), outcome: notify.Retry},
			{name: "error in 200", answer: refused(200, "Whatever"), outcome: notify.Retry, code: "Whatever"},
			{name: "429 in 200", answer: body("Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x"), outcome: notify.Retry},
			{name: "204", answer: status(204, ""), outcome: notify.Retry},
		},
		lenient: true,
		size:    bodySize, limit: 20_000,
		live: []string{"<at", "{{", "${", "@all", "@everyone", "@channel", "<!", "\"entities\""},
		// No text is Markdown.
		shown: allStrings,
	}
}

const machineToken = "tok-machine-77e0b24c8f5d1c9a"

// machineConfig is for the receivers that post to a program.
func machineConfig(path string) func(base string) configtest.Keys {
	return func(base string) configtest.Keys {
		return configtest.Keys{
			URL:    notify.SecretValue(base + path),
			Header: map[string]notify.Secret{"Authorization": notify.SecretValue("Bearer " + machineToken)},
		}
	}
}

// machineAnswers are judged by their status alone.
func machineAnswers() []documented {
	return []documented{
		{name: "401", answer: status(401, ""), outcome: notify.BadTarget},
		{name: "403", answer: status(403, ""), outcome: notify.BadTarget},
		{name: "404", answer: status(404, ""), outcome: notify.BadTarget},
		{name: "413", answer: status(413, ""), outcome: notify.BadPayload},
	}
}

func alertmanagerSubject() subject {
	return subject{
		name:     "alertmanager",
		platform: func() notifytest.Platform { return &notifytest.Alertmanager{} },
		config:   machineConfig("/secret-prefix"),
		secrets:  []string{machineToken, "secret-prefix"},
		taken:    []notifytest.Answer{status(200, ""), body("{}")},
		answers: append(machineAnswers(),
			documented{name: "400", answer: status(400, `"invalid label set: invalid name \"a b\""`), outcome: notify.BadPayload, says: "invalid name"},
			documented{name: "422", answer: status(422, ""), outcome: notify.BadPayload},
			documented{name: "portal", answer: body("<html>"), outcome: notify.Retry},
			documented{name: "204", answer: status(204, ""), outcome: notify.Retry},
		),
		lenient: true,
		size:    bodySize, limit: notify.DefaultBatchBytes,
		shown: allStrings, structure: true,
	}
}

func kafkaSubject() subject {
	return subject{
		name:     "kafka-rest",
		platform: func() notifytest.Platform { return &notifytest.KafkaRest{} },
		config:   machineConfig("/secret-bridge"),
		secrets:  []string{machineToken, "secret-bridge"},
		taken: []notifytest.Answer{
			body(`{"offsets":[{"partition":2,"offset":0}]}`),
			body(`{"offsets":[{"partition":0,"offset":5,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}`),
		},
		answers: []documented{
			{name: "strimzi-404", answer: body(`{"offsets":[{"error_code":404,"message":"Topic my-topic not present in metadata after 60000 ms."}]}`), outcome: notify.Retry, code: "404", says: "metadata"},
			{name: "strimzi-500", answer: body(`{"offsets":[{"error_code":500,"message":"broker"}]}`), outcome: notify.Retry, code: "500"},
			{name: "confluent-50003", answer: body(`{"offsets":[{"partition":null,"offset":null,"error_code":50003,"error":"timeout"}]}`), outcome: notify.Retry, code: "50003", says: "timeout"},
			{name: "confluent-50002", answer: body(`{"offsets":[{"partition":null,"offset":null,"error_code":50002,"error":"kafka"}]}`), outcome: notify.Retry, code: "50002"},
			{name: "confluent-old-1", answer: body(`{"offsets":[{"partition":null,"offset":null,"error_code":1,"error":"non-retriable"}]}`), outcome: notify.Retry, code: "1"},
			{name: "confluent-40101", answer: status(401, `{"offsets":[{"partition":null,"offset":null,"error_code":40101,"error":"authentication"}]}`), outcome: notify.BadTarget, code: "40101"},
			{name: "confluent-40301", answer: status(403, `{"offsets":[{"partition":null,"offset":null,"error_code":40301,"error":"authorization"}]}`), outcome: notify.BadTarget, code: "40301"},
			{name: "negative-offset", answer: body(`{"offsets":[{"partition":2,"offset":-1}]}`), outcome: notify.Retry},
			{name: "no-offset", answer: body(`{"offsets":[{"partition":2}]}`), outcome: notify.Retry},
			{name: "too-few", answer: body(`{"offsets":[]}`), outcome: notify.Retry},
			{name: "too-many", answer: body(`{"offsets":[{"partition":2,"offset":0},{"partition":2,"offset":1}]}`), outcome: notify.Retry},
			{name: "async", answer: status(204, ""), outcome: notify.Retry},
			{name: "400", answer: status(400, `{"error_code":400,"message":"Validation error","validation_errors":["x"]}`), outcome: notify.BadPayload, code: "400"},
			{name: "404", answer: status(404, `{"error_code":404,"message":"Not Found"}`), outcome: notify.BadTarget, code: "404"},
			{name: "40401", answer: status(404, `{"error_code":40401,"message":"Topic not found."}`), outcome: notify.BadTarget, code: "40401", says: "topic"},
			{name: "401", answer: status(401, `{"error_code":401,"message":"Unauthorized"}`), outcome: notify.BadTarget, code: "401"},
			{name: "422", answer: status(422, `{"error_code":42201,"message":"bad data"}`), outcome: notify.BadPayload, code: "42201"},
			{name: "429", answer: status(429, `{"error_code":429,"message":"rate"}`), outcome: notify.Retry, code: "429"},
			{name: "500", answer: status(500, `{"error_code":500,"message":"no converter"}`), outcome: notify.Retry, code: "500"},
			{name: "503", answer: status(503, `{"error_code":503,"message":"Bridge is overloaded, please retry later"}`), outcome: notify.Retry, code: "503"},
		},
		size: bodySize, limit: notify.DefaultBatchBytes,
		shown: allStrings, structure: true,
	}
}

func cloudEventsSubject() subject {
	return subject{
		name:     "cloudevents",
		platform: func() notifytest.Platform { return &notifytest.CloudEvents{} },
		config:   machineConfig("/secret-sink"),
		secrets:  []string{machineToken, "secret-sink"},
		taken:    []notifytest.Answer{status(200, ""), status(201, ""), status(202, ""), status(204, ""), body("{}")},
		answers: append(machineAnswers(),
			documented{name: "400", answer: status(400, ""), outcome: notify.BadPayload},
			documented{name: "410", answer: status(410, ""), outcome: notify.BadTarget, says: "retired"},
			documented{name: "415", answer: status(415, ""), outcome: notify.BadTarget, says: "format"},
			documented{name: "206", answer: status(206, ""), outcome: notify.Retry},
			documented{name: "portal", answer: body("<html>"), outcome: notify.Retry},
		),
		lenient: true,
		size:    bodySize, limit: 64 << 10,
		shown: allStrings, structure: true,
	}
}
