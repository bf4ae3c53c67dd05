package worktile

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

// limit bounds the whole body. Worktile documents no limit; this is what others' messages stay below.
const limit = 8_000

// receiver is an incoming webhook of Worktile.
//
// Protocol: the worktile/teams-docs repository, docs/api/incoming.md. Its answers are documented nowhere. Taken for a yes is 2xx, unless the body is
// HTML, which is a captive portal's, or holds a code other than 0 and 200. The rate is this package's choice.
type receiver struct {
	chat.Chat

	config *Config
}

type message struct {
	Text       string      `json:"text,omitempty"`
	Attachment *attachment `json:"attachment,omitempty"`
}

// attachment is a single object, not a list as with Slack. Fallback and text are required.
type attachment struct {
	Fallback string `json:"fallback"`
	Color    string `json:"color"`
	Title    string `json:"title"`
	Text     string `json:"text"`
}

// Render builds an attachment, or with Simple a plain text. [url|label] is a link in both, so brackets become their twins.
func (w *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	build := func(n, textLimit int) []byte {
		if form == notify.Simple {
			return notify.JSON(message{Text: chat.Twins(w.Plain(m, n, textLimit))})
		}
		title := w.Title(m, n)
		var blocks []string
		if losses := w.Preface(m); len(losses) > 0 {
			blocks = append(blocks, strings.Join(losses, "\n"))
		}
		for i := range m.Incidents[:n] {
			e := w.Entry(m, &m.Incidents[i], textLimit)
			blocks = append(blocks, e.Brief())
		}
		blocks = append(blocks, w.Ending(m, n)...)
		color := "#f0a030"
		switch chat.ToneOf(m, n) {
		case chat.CriticalTone:
			color = "#d93025"
		case chat.NoticeTone:
			color = "#3370ff"
		case chat.WarningTone:
		}
		return notify.JSON(message{Attachment: &attachment{
			Fallback: chat.Twins(title), Color: color, Title: chat.Twins(title), Text: chat.Twins(strings.Join(blocks, "\n\n")),
		}})
	}
	body, n := chat.Fit(m, w.Most(m), limit, build, chat.ByteSize)
	return chat.Request(m, body, n), nil
}

// Send posts the request.
func (w *receiver) Send(ctx context.Context, r *notify.Request) error {
	to, err := notify.TargetOf(w.config.URL, nil)
	if err != nil {
		return err
	}
	a, err := w.Post(ctx, to, r)
	if err != nil {
		return err
	}
	return w.verdict(a)
}

func (w *receiver) verdict(a *notify.Answer) error {
	if a.Broken != nil {
		return a.Broken
	}
	if a.IsHTML() {
		return a.Foreign("Worktile")
	}
	if a.Status/100 != 2 {
		e := a.ByStatus("Worktile")
		if e.Outcome == notify.BadPayload && a.Status != http.StatusRequestEntityTooLarge {
			// Which code means a bad message is documented nowhere; the queue is kept.
			e = a.Fail(notify.BadTarget, "", "Worktile refuses messages at this URL")
		}
		return e
	}
	var reply struct{ Code any }
	if json.Unmarshal(a.Body, &reply) != nil || reply.Code == nil {
		return nil
	}
	// A number or the same as text.
	code := notify.Scalar(reply.Code)
	if code == "0" || code == "200" {
		return nil
	}
	return a.Fail(notify.Retry, code, "Worktile answered with a code that is not documented")
}
