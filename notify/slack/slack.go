package slack

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// limit bounds the whole body. Slack documents no limit for it; it cuts a text at 40,000 characters.
	limit = 16_000
	// batch is how many attachments Slack advises at most.
	batch = 20
	// noticeColor is of what the agent tells when all is well.
	noticeColor = "#3370ff"
)

// receiver is an incoming webhook of Slack.
//
// Protocol: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. Its only yes is status 200 with the text ok.
type receiver struct {
	chat.Chat

	config *Config
}

type message struct {
	Text        string       `json:"text"`
	Mrkdwn      *bool        `json:"mrkdwn,omitempty"`
	Attachments []attachment `json:"attachments,omitempty"`
}

// attachment has no mrkdwn_in, so that Slack shows its texts as they are.
type attachment struct {
	Fallback string `json:"fallback"`
	Color    string `json:"color"`
	Title    string `json:"title"`
	Text     string `json:"text,omitempty"`
	Footer   string `json:"footer,omitempty"`
}

// Render builds an attachment with a coloured bar for each incident, or with Simple a plain text.
func (s *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	d := dialectOf(s.config.URL)
	var built message
	build := func(n, textLimit int) []byte {
		built = s.message(m, d, form, n, textLimit)
		return notify.JSON(built)
	}
	most := s.Most(m)
	if m.Digest == nil {
		most = min(most, d.attachments())
	}
	body, n := chat.Fit(m, most, limit, build, func(body []byte) int { return d.size(&built, body) })
	return chat.Request(m, body, n), nil
}

func (s *receiver) message(m *notify.Message, d dialect, form notify.Form, n, textLimit int) message {
	plain := false
	if form == notify.Simple {
		return message{Text: d.escape(s.Plain(m, n, textLimit)), Mrkdwn: &plain}
	}
	// The text is what a phone notifies with; markup in it is off.
	lines := append([]string{s.Title(m, n)}, s.Preface(m)...)
	if m.Digest == nil {
		lines = append(lines, s.Ending(m, n)...)
	}
	message := message{Text: d.escape(strings.Join(lines, "\n")), Mrkdwn: &plain}
	if m.Digest != nil {
		message.Attachments = s.digest(m, d, n, textLimit)
		return message
	}
	for i := range m.Incidents[:n] {
		e := s.Entry(m, &m.Incidents[i], textLimit)
		color := "warning"
		switch {
		case e.Critical:
			color = "danger"
		case m.Incidents[i].Notice:
			color = noticeColor
		}
		heading := d.escape(e.Heading())
		if d == discord {
			heading = untrusted.CutRunes(heading, discordTitle/2)
		}
		message.Attachments = append(message.Attachments, attachment{
			Fallback: heading, Color: color, Title: heading,
			Text:   strings.Join(chat.Filled(d.quote(e.Message), d.escape(e.Objects)), "\n"),
			Footer: d.escape(e.Details),
		})
	}
	return message
}

// digest is one attachment for all incidents, since Slack advises against more than 20.
func (s *receiver) digest(m *notify.Message, d dialect, n, textLimit int) []attachment {
	a := attachment{Fallback: d.escape(s.Title(m, n)), Color: "warning"}
	if chat.CountCritical(m.Incidents[:n]) > 0 {
		a.Color = "danger"
	}
	var blocks []string
	for i := range m.Incidents[:n] {
		e := s.Entry(m, &m.Incidents[i], textLimit)
		blocks = append(blocks, d.escape(e.Brief()))
	}
	for _, line := range s.Ending(m, n) {
		blocks = append(blocks, d.escape(line))
	}
	a.Text = strings.Join(blocks, "\n\n")
	return []attachment{a}
}

// escapeSlack escapes the three characters that control Slack's texts: <!channel> would notify.
func escapeSlack(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// Send posts the request.
func (s *receiver) Send(ctx context.Context, r *notify.Request) error {
	to, err := notify.TargetOf(s.config.URL, nil)
	if err != nil {
		return err
	}
	a, err := s.Post(ctx, to, r)
	if err != nil {
		return err
	}
	return s.verdict(a)
}

// verdict reads the answer: a word in plain text.
func (s *receiver) verdict(a *notify.Answer) error {
	if a.Broken != nil {
		return a.Broken
	}
	word := strings.TrimSpace(string(a.Body[:min(len(a.Body), 100)]))
	payload := []string{
		"invalid_payload", "no_text", "too_many_attachments", "invalid_blocks", "invalid_blocks_format", "invalid_attachments",
		"missing_text_or_fallback_or_attachments",
	}
	target := []string{
		"user_not_found", "action_prohibited", "channel_not_found", "channel_is_archived", "no_service", "no_service_id", "no_team",
		"team_disabled", "invalid_token", "no_active_hooks", "posting_to_general_channel_denied",
	}
	if a.Status == http.StatusOK && word == "ok" {
		return nil
	}
	if e, known := compatible(a); known {
		return e
	}
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status/100 == 5, a.Status/100 == 3:
		// rollup_error comes with 500 and is not the sender's fault.
		return a.Foreign("Slack")
	case slices.Contains(payload, word):
		return a.Fail(notify.BadPayload, word, "Slack refused the message")
	case slices.Contains(target, word):
		return a.Fail(notify.BadTarget, word, "Slack refuses every message at this URL")
	}
	return a.Foreign("Slack")
}
