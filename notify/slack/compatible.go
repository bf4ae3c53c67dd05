package slack

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// dialect is what stands behind an address that speaks like Slack's. It decides how texts are made harmless and how large they may be.
type dialect int

const (
	slackItself dialect = iota
	// mattermost parses Markdown in every text and notifies whoever's name follows an @:
	// https://developers.mattermost.com/integrate/webhooks/incoming/.
	mattermost
	// discord makes the text a message's content and each attachment an embed: https://docs.discord.com/developers/resources/webhook.
	discord
)

const (
	// discordAttachments, discordContent, discordTitle, discordText and discordSum are what Discord takes, in characters, with some room for what its
	// translation adds: 10 embeds, 2000, 256, 4096, 6000 in all embeds.
	discordAttachments = 10
	discordContent     = 1900
	discordTitle       = 250
	discordText        = 4000
	discordSum         = 5800
	// banned is how long to wait when not Discord but what protects it answers: it counts refused requests, and bans an address for an hour.
	banned = 10 * time.Minute
)

// dialectOf tells by the path: Mattermost's is /hooks/KEY below any address, Discord's ends with /slack. A secret that cannot be read is
// looked at when it is sent.
func dialectOf(address notify.Secret) dialect {
	text, err := address.Read()
	if err != nil {
		return slackItself
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
	case strings.Contains(u.Path, "/hooks/"):
		return mattermost
	case strings.HasSuffix(u.Path, "/slack"):
		return discord
	}
	return slackItself
}

// escape makes a text show itself.
func (d dialect) escape(text string) string {
	if d == slackItself {
		return escapeSlack(text)
	}
	lines := strings.Split(chat.Twins(strings.ReplaceAll(text, "@", "＠")), "\n")
	for i, line := range lines {
		// What begins a heading, a quote or a list begins a line.
		for _, begin := range []string{"#", ">", "-", "+", "="} {
			if rest, ok := strings.CutPrefix(line, begin); ok {
				lines[i] = map[string]string{"#": "＃", ">": "＞", "-": "－", "+": "＋", "=": "＝"}[begin] + rest
			}
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), "||", "｜｜")
}

// quote is the message of an event: in Markdown a fenced block, in which nothing is parsed and nobody notified.
func (d dialect) quote(text string) string {
	if d == slackItself || text == "" {
		return d.escape(text)
	}
	return "```\n" + strings.ReplaceAll(text, "```", "｀｀｀") + "\n```"
}

// attachments is how many a message may have.
func (d dialect) attachments() int {
	if d == discord {
		return discordAttachments
	}
	return batch
}

// size measures a message: its body in bytes, or for Discord in characters by what is fullest, as a part of limit.
func (d dialect) size(m *message, body []byte) int {
	if d != discord {
		return len(body)
	}
	of := func(n, most int) int { return n * limit / most }
	sum, fullest := 0, of(untrusted.Width(m.Text, untrusted.UTF16), discordContent)
	for _, a := range m.Attachments {
		title, text := untrusted.Width(a.Title, untrusted.UTF16), untrusted.Width(a.Text, untrusted.UTF16)
		sum += title + text + untrusted.Width(a.Footer, untrusted.UTF16)
		fullest = max(fullest, of(title, discordTitle), of(text, discordText))
	}
	return max(fullest, of(sum, discordSum))
}

// compatible reads the answer of Mattermost or Discord, which are JSON; nil and false for one that is neither's.
func compatible(a *notify.Answer) (*notify.Error, bool) {
	var reply struct {
		ID         string
		StatusCode int `json:"status_code"`
		Message    string
		Code       *int64
		RetryAfter float64 `json:"retry_after"`
	}
	if json.Unmarshal(a.Body, &reply) != nil {
		if a.Status == http.StatusTooManyRequests && a.Header.Get("Retry-After") == "" && strings.Contains(a.Header.Get("Server"), "cloudflare") {
			return a.Fail(notify.Retry, "", "what protects Discord asks for fewer requests").AtLeast(banned), true
		}
		return nil, false
	}
	switch {
	case strings.HasSuffix(reply.ID, ".app_error") && reply.StatusCode != 0:
		return ofMattermost(a, strings.TrimSuffix(reply.ID, ".app_error"), untrusted.Quoted(reply.Message)), true
	case reply.Message == "":
		return nil, false
	case a.Status == http.StatusTooManyRequests:
		wait := time.Duration(min(reply.RetryAfter, time.Hour.Seconds()) * float64(time.Second)).Round(time.Millisecond)
		return a.Fail(notify.Retry, "", "Discord asks for fewer requests").AtLeast(wait), true
	case reply.Code != nil && a.Status/100 == 4:
		return ofDiscord(a, *reply.Code, untrusted.Quoted(reply.Message)), true
	}
	return nil, false
}

// ofMattermost judges by the ids of server/channels/app/webhook.go and server/channels/web/webhook.go.
func ofMattermost(a *notify.Answer, id, text string) *notify.Error {
	code := untrusted.CutRunes(untrusted.CleanLine(id), 64)
	switch {
	case slices.Contains([]string{
		"web.incoming_webhook.parse", "web.incoming_webhook.text", "web.incoming_webhook.split_props_length", "api.webhook.incoming.error",
	}, id), a.Status == http.StatusRequestEntityTooLarge:
		return a.Fail(notify.BadPayload, code, "Mattermost refused the message: %s", text)
	case slices.Contains([]string{
		"web.incoming_webhook.invalid", "web.incoming_webhook.user", "web.incoming_webhook.channel", "web.incoming_webhook.channel_locked",
		"web.incoming_webhook.permissions", "web.incoming_webhook.disabled", "app.channel.get.existing", "api.incoming_webhook.disabled",
	}, id), a.Status == http.StatusForbidden, a.Status == http.StatusNotFound, a.Status == http.StatusUnauthorized:
		return a.Fail(notify.BadTarget, code, "Mattermost refuses every message at this URL: %s", text)
	}
	return a.Fail(notify.Retry, code, "Mattermost is not available: %s", text)
}

// ofDiscord judges by https://docs.discord.com/developers/topics/opcodes-and-status-codes.
func ofDiscord(a *notify.Answer, code int64, text string) *notify.Error {
	name := strconv.FormatInt(code, 10)
	switch {
	case code == 50035, code == 50006, code == 40005, a.Status == http.StatusRequestEntityTooLarge:
		return a.Fail(notify.BadPayload, name, "Discord refused the message: %s", text)
	case slices.Contains([]int64{50027, 10015, 10003, 220001}, code),
		a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden, a.Status == http.StatusNotFound:
		return a.Fail(notify.BadTarget, name, "Discord refuses every message at this URL: %s", text)
	}
	return a.Fail(notify.Retry, name, "Discord answered with a code that is not documented: %s", text)
}
