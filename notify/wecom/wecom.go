package wecom

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

const (
	// limit and textLimit bound the content of a markdown and of a text message, in bytes of UTF-8.
	limit     = 4096
	textLimit = 2048
	// pause is the least wait after 45009: the limit counts by the minute.
	pause = time.Minute
)

// receiver is the group robot of WeCom.
//
// Protocol: https://developer.work.weixin.qq.com/document/path/91770. It has no signature; the key in the URL is the only secret.
type receiver struct {
	chat.Chat

	config *Config
}

type message struct {
	MsgType  string    `json:"msgtype"`
	Markdown *markdown `json:"markdown,omitempty"`
	Text     *text     `json:"text,omitempty"`
}

type markdown struct {
	Content string `json:"content"`
}

type text struct {
	Content       string   `json:"content"`
	MentionedList []string `json:"mentioned_list,omitempty"`
}

// Render builds a markdown message, or with Simple a text message. A markdown message can mention single users, but not
// everybody: a message that mentions all is a text message too.
func (w *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	if form == notify.Simple || w.mentionsAll(m) {
		return w.text(m), nil
	}
	build := func(n, textLimit int) []byte {
		color := "comment"
		switch chat.ToneOf(m, n) {
		case chat.CriticalTone:
			color = "warning"
		case chat.NoticeTone:
			color = "info"
		case chat.WarningTone:
		}
		blocks := []string{`### <font color="` + color + `">` + chat.Twins(w.Title(m, n)) + "</font>"}
		var mentioned []string
		for _, id := range w.Mentions(m, n) {
			mentioned = append(mentioned, "<@"+id+">")
		}
		blocks = append(blocks, chat.Filled(strings.Join(mentioned, " "))...)
		for _, line := range w.Preface(m) {
			blocks = append(blocks, "**"+chat.Twins(line)+"**")
		}
		for i := range m.Incidents[:n] {
			e := w.Entry(m, &m.Incidents[i], textLimit)
			blocks = append(blocks, chat.Markdown(&e, "\n", "\n"))
		}
		for _, line := range w.Ending(m, n) {
			blocks = append(blocks, chat.Twins(line))
		}
		return []byte(strings.Join(blocks, "\n\n"))
	}
	content, n := chat.Fit(m, w.Most(m), limit, build, chat.ByteSize)
	return chat.Request(m, notify.JSON(message{MsgType: "markdown", Markdown: &markdown{string(content)}}), n), nil
}

func (w *receiver) mentionsAll(m *notify.Message) bool {
	return slices.Contains(w.Mentions(m, min(len(m.Incidents), w.Most(m))), "all")
}

func (w *receiver) text(m *notify.Message) *notify.Request {
	content, n := chat.Fit(m, w.Most(m), textLimit, func(n, textLimit int) []byte {
		// <@userid> mentions in a text message too.
		return []byte(strings.ReplaceAll(w.Plain(m, n, textLimit), "<", "＜"))
	}, chat.ByteSize)
	text := &text{Content: string(content)}
	for _, id := range w.Mentions(m, n) {
		if id == "all" {
			id = "@all"
		}
		text.MentionedList = append(text.MentionedList, id)
	}
	return chat.Request(m, notify.JSON(message{MsgType: "text", Text: text}), n)
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
	reply, failure := chat.Errcode(a, "WeCom")
	switch {
	case failure != nil:
		return failure
	case reply == nil:
		return nil
	}
	return w.verdict(a, reply)
}

func (w *receiver) verdict(a *notify.Answer, reply *chat.ErrcodeReply) *notify.Error {
	name := reply.Name()
	switch *reply.Errcode {
	case -1:
		return a.Fail(notify.Retry, name, "WeCom is busy")
	case 45009:
		return a.Fail(notify.Retry, name, "WeCom asks for fewer requests").AtLeast(pause)
	case 93000:
		return a.Fail(notify.BadTarget, name, "WeCom does not know the key in the URL, or the robot was removed")
	case 40058:
		return a.Fail(notify.BadPayload, name, "WeCom refused the message as too large or malformed: %s", reply.Errmsg)
	case 44004:
		return a.Fail(notify.BadPayload, name, "WeCom refused the message as empty")
	case 40008:
		return a.Fail(notify.BadPayload, name, "WeCom refused the type of the message")
	}
	return a.Fail(notify.Retry, name, "WeCom answered with a code that is not documented: %s", reply.Errmsg)
}
