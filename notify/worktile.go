package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// worktileLimit bounds the whole body. Worktile documents no limit; this is what others' messages stay below.
const worktileLimit = 8_000

// worktile is an incoming webhook of Worktile.
//
// Protocol: the worktile/teams-docs repository, docs/api/incoming.md. Its answers are documented nowhere. Taken for a yes is 2xx, unless the body is
// HTML, which is a captive portal's, or holds a code other than 0 and 200. The rate is this package's choice.
type worktile struct{ chat }

func newWorktile(cfg Config, p *poster) Receiver {
	return &worktile{newChat(cfg, p, Limits{PerSecond: 1, Batch: 20})}
}

type worktileMessage struct {
	Text       string              `json:"text,omitempty"`
	Attachment *worktileAttachment `json:"attachment,omitempty"`
}

// worktileAttachment is a single object, not a list as with Slack. Fallback and text are required.
type worktileAttachment struct {
	Fallback string `json:"fallback"`
	Color    string `json:"color"`
	Title    string `json:"title"`
	Text     string `json:"text"`
}

// Render builds an attachment, or with Simple a plain text. [url|label] is a link in both, so brackets become their twins.
func (w *worktile) Render(m *Message, form Form) (*Request, error) {
	build := func(n, textLimit int) []byte {
		if form == Simple {
			return toJSON(worktileMessage{Text: twins(plainText(&w.chat, m, n, textLimit))})
		}
		title := w.title(m, n)
		var blocks []string
		if losses := w.preface(m); len(losses) > 0 {
			blocks = append(blocks, strings.Join(losses, "\n"))
		}
		for i := range m.Incidents[:n] {
			e := w.entry(m, &m.Incidents[i], textLimit)
			blocks = append(blocks, e.brief())
		}
		blocks = append(blocks, w.ending(m, n)...)
		color := "#f0a030"
		if countCritical(m.Incidents[:n]) > 0 {
			color = "#d93025"
		}
		return toJSON(worktileMessage{Attachment: &worktileAttachment{
			Fallback: twins(title), Color: color, Title: twins(title), Text: twins(strings.Join(blocks, "\n\n")),
		}})
	}
	body, n := fit(m, w.most(m), worktileLimit, build, byteSize)
	return m.request(body, n), nil
}

// Send posts the request.
func (w *worktile) Send(ctx context.Context, r *Request) error {
	to, err := ownTarget(w.cfg)
	if err != nil {
		return err
	}
	a, err := w.post(ctx, to, r)
	if err != nil {
		return err
	}
	return w.verdict(a)
}

func (w *worktile) verdict(a *answer) error {
	if a.broken != nil {
		return a.broken
	}
	if a.isHTML() {
		return a.foreign("Worktile")
	}
	if a.status/100 != 2 {
		e := a.byStatus("Worktile")
		if e.Outcome == BadPayload && a.status != http.StatusRequestEntityTooLarge {
			// Which code means a bad message is documented nowhere; the queue is kept.
			e = a.fail(BadTarget, "", "Worktile refuses messages at this URL")
		}
		return e
	}
	var reply struct{ Code any }
	if json.Unmarshal(a.body, &reply) != nil || reply.Code == nil {
		return nil
	}
	// A number or the same as text.
	code := jsonText(reply.Code)
	if code == "0" || code == "200" {
		return nil
	}
	return a.fail(Retry, code, "Worktile answered with a code that is not documented")
}
