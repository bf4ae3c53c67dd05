package notify

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

const (
	// slackLimit bounds the whole body. Slack documents no limit for it; it cuts a text at 40,000 characters.
	slackLimit = 16_000
	// slackBatch is how many attachments Slack advises at most.
	slackBatch = 20
)

// slack is an incoming webhook of Slack.
//
// Protocol: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. Its only yes is status 200 with the text ok.
type slack struct{ chat }

func newSlack(cfg Config, p *poster) Receiver {
	return &slack{newChat(cfg, p, Limits{PerSecond: 1, Batch: slackBatch})}
}

type slackMessage struct {
	Text        string            `json:"text"`
	Mrkdwn      *bool             `json:"mrkdwn,omitempty"`
	Attachments []slackAttachment `json:"attachments,omitempty"`
}

// slackAttachment has no mrkdwn_in, so that Slack shows its texts as they are.
type slackAttachment struct {
	Fallback string `json:"fallback"`
	Color    string `json:"color"`
	Title    string `json:"title"`
	Text     string `json:"text,omitempty"`
	Footer   string `json:"footer,omitempty"`
}

// Render builds an attachment with a coloured bar for each incident, or with Simple a plain text.
func (s *slack) Render(m *Message, form Form) (*Request, error) {
	build := func(n, textLimit int) []byte {
		plain := false
		if form == Simple {
			return toJSON(slackMessage{Text: escapeSlack(plainText(&s.chat, m, n, textLimit)), Mrkdwn: &plain})
		}
		// The text is what a phone notifies with; markup in it is off.
		lines := append([]string{s.title(m, n)}, s.preface(m)...)
		if m.Digest == nil {
			lines = append(lines, s.ending(m, n)...)
		}
		message := slackMessage{Text: escapeSlack(strings.Join(lines, "\n")), Mrkdwn: &plain}
		if m.Digest != nil {
			message.Attachments = s.digest(m, n, textLimit)
			return toJSON(message)
		}
		for i := range m.Incidents[:n] {
			e := s.entry(m, &m.Incidents[i], textLimit)
			color := "warning"
			if e.critical {
				color = "danger"
			}
			heading := escapeSlack(e.heading())
			message.Attachments = append(message.Attachments, slackAttachment{
				Fallback: heading, Color: color, Title: heading,
				Text:   escapeSlack(strings.Join(filled(e.message, e.objects), "\n")),
				Footer: escapeSlack(e.details),
			})
		}
		return toJSON(message)
	}
	body, n := fit(m, s.most(m), slackLimit, build, byteSize)
	return m.request(body, n), nil
}

// digest is one attachment for all incidents, since Slack advises against more than 20.
func (s *slack) digest(m *Message, n, textLimit int) []slackAttachment {
	a := slackAttachment{Fallback: escapeSlack(s.title(m, n)), Color: "warning"}
	if countCritical(m.Incidents[:n]) > 0 {
		a.Color = "danger"
	}
	var blocks []string
	for i := range m.Incidents[:n] {
		e := s.entry(m, &m.Incidents[i], textLimit)
		blocks = append(blocks, escapeSlack(e.brief()))
	}
	for _, line := range s.ending(m, n) {
		blocks = append(blocks, escapeSlack(line))
	}
	a.Text = strings.Join(blocks, "\n\n")
	return []slackAttachment{a}
}

// escapeSlack escapes the three characters that control Slack's texts: <!channel> would notify.
func escapeSlack(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// Send posts the request.
func (s *slack) Send(ctx context.Context, r *Request) error {
	to, err := ownTarget(s.cfg)
	if err != nil {
		return err
	}
	a, err := s.post(ctx, to, r)
	if err != nil {
		return err
	}
	return s.verdict(a)
}

// verdict reads the answer: a word in plain text.
func (s *slack) verdict(a *answer) error {
	if a.broken != nil {
		return a.broken
	}
	word := strings.TrimSpace(string(a.body[:min(len(a.body), 100)]))
	payload := []string{
		"invalid_payload", "no_text", "too_many_attachments", "invalid_blocks", "invalid_blocks_format", "invalid_attachments",
		"missing_text_or_fallback_or_attachments",
	}
	target := []string{
		"user_not_found", "action_prohibited", "channel_not_found", "channel_is_archived", "no_service", "no_service_id", "no_team",
		"team_disabled", "invalid_token", "no_active_hooks", "posting_to_general_channel_denied",
	}
	switch {
	case a.status == http.StatusOK && word == "ok":
		return nil
	case a.status == http.StatusTooManyRequests, a.status/100 == 5, a.status/100 == 3:
		// rollup_error comes with 500 and is not the sender's fault.
		return a.foreign("Slack")
	case slices.Contains(payload, word):
		return a.fail(BadPayload, word, "Slack refused the message")
	case slices.Contains(target, word):
		return a.fail(BadTarget, word, "Slack refuses every message at this URL")
	}
	return a.foreign("Slack")
}
