package notifytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf16"
)

// Mattermost is an incoming webhook of Mattermost, at /hooks/KEY.
type Mattermost struct {
	// Key is checked if set.
	Key string
	// Disabled says that webhooks are switched off.
	Disabled bool
}

func mattermostError(status int, id, message string) Answer {
	text, _ := json.Marshal(map[string]any{"id": id + ".app_error", "message": message, "detailed_error": "", "request_id": "x", "status_code": status})
	return Answer{Status: status, Body: string(text)}
}

// TooFast is 429 with the text that Mattermost gives.
func (*Mattermost) TooFast() Answer {
	return Answer{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "1", "X-RateLimit-Limit": "100"}, Body: "limit exceeded\n"}
}

// Refusal is the answer to a key that nobody knows: 400, not 404.
func (*Mattermost) Refusal() Answer {
	return mattermostError(http.StatusBadRequest, "web.incoming_webhook.invalid", "Invalid webhook.")
}

// slackMessage is what both read of a message.
type slackMessage struct {
	Text        string
	Attachments []struct{ Fallback, Color, Pretext, Title, Text, Footer string }
}

// Judge checks a request. It refuses what would notify somebody: an @ or a mention of Slack's outside code.
func (p *Mattermost) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	var m slackMessage
	switch {
	case p.Disabled:
		return mattermostError(http.StatusNotImplemented, "web.incoming_webhook.disabled", "Incoming webhooks have been disabled by the system admin."), false
	case p.Key != "" && !strings.HasSuffix(r.URL.Path, "/hooks/"+p.Key):
		return p.Refusal(), false
	case json.Unmarshal(body, &m) != nil:
		return mattermostError(http.StatusBadRequest, "web.incoming_webhook.parse", "Unable to parse incoming data."), false
	case m.Text == "" && len(m.Attachments) == 0:
		return mattermostError(http.StatusBadRequest, "web.incoming_webhook.text", "No text specified."), false
	case len([]rune(m.Text)) > 16_383:
		return mattermostError(http.StatusInternalServerError, "split", "the text would become several posts"), false
	}
	for _, text := range m.texts() {
		if mistake := markdownMistake(text); mistake != "" {
			return mattermostError(http.StatusBadRequest, "api.webhook.incoming.error", mistake), false
		}
	}
	return Answer{Header: map[string]string{"Content-Type": "text/plain"}, Body: "ok"}, true
}

func (m *slackMessage) texts() []string {
	texts := []string{m.Text}
	for _, a := range m.Attachments {
		texts = append(texts, a.Pretext, a.Title, a.Text, a.Footer)
	}
	return texts
}

// markdownMistake finds what Markdown would not show as it stands there: mentions, links, images, headings and code without an end.
func markdownMistake(text string) string {
	outside := regexp.MustCompile("(?s)```\n.*?\n```").ReplaceAllString(text, "")
	for _, live := range []string{"```", "`", "@", "<", "](", "**", "~~", "||"} {
		if strings.Contains(outside, live) {
			return fmt.Sprintf("live %q in %q", live, text)
		}
	}
	if found := regexp.MustCompile(`(?m)^(#|>|-|=|\+)`).FindString(outside); found != "" {
		return fmt.Sprintf("a line that begins with %q", found)
	}
	return ""
}

// Discord is the address of a Discord webhook that speaks like Slack: /api/webhooks/ID/TOKEN/slack.
type Discord struct {
	// Token is checked if set.
	Token string
}

func discordError(status, code int, message string) Answer {
	return Answer{Status: status, Body: fmt.Sprintf(`{"message": %q, "code": %d}`, message, code)}
}

// TooFast is 429 with a wait in JSON.
func (*Discord) TooFast() Answer {
	return Answer{Status: http.StatusTooManyRequests, Body: `{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}`}
}

// Refusal is the answer to a wrong token.
func (*Discord) Refusal() Answer {
	return discordError(http.StatusUnauthorized, 50027, "Invalid Webhook Token")
}

// Judge checks a request: the texts as Markdown, and the limits of a message and its embeds in characters.
func (p *Discord) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	var m slackMessage
	switch {
	case p.Token != "" && !strings.HasSuffix(r.URL.Path, "/"+p.Token+"/slack"):
		return p.Refusal(), false
	case json.Unmarshal(body, &m) != nil:
		return discordError(http.StatusBadRequest, 50109, "The request body contains invalid JSON."), false
	case m.Text == "" && len(m.Attachments) == 0:
		return discordError(http.StatusBadRequest, 50006, "Cannot send an empty message"), false
	}
	length := func(text string) int { return len(utf16.Encode([]rune(text))) }
	sum, tooLong := 0, length(m.Text) > 2000 || len(m.Attachments) > 10
	for _, a := range m.Attachments {
		sum += length(a.Title) + length(a.Text) + length(a.Footer)
		tooLong = tooLong || length(a.Title) > 256 || length(a.Text) > 4096 || length(a.Footer) > 2048
	}
	if tooLong || sum > 6000 {
		return discordError(http.StatusBadRequest, 50035, "Invalid Form Body"), false
	}
	for _, text := range m.texts() {
		if mistake := markdownMistake(text); mistake != "" {
			return discordError(http.StatusBadRequest, 50035, mistake), false
		}
	}
	return Answer{Body: "ok"}, true
}
