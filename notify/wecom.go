package notify

import (
	"context"
	"slices"
	"strings"
	"time"
)

const (
	// wecomLimit and wecomTextLimit bound the content of a markdown and of a text message, in bytes of UTF-8.
	wecomLimit     = 4096
	wecomTextLimit = 2048
	// wecomPause is the least wait after 45009: the limit counts by the minute.
	wecomPause = time.Minute
)

// wecom is the group robot of WeCom.
//
// Protocol: https://developer.work.weixin.qq.com/document/path/91770. It has no signature; the key in the URL is the only secret.
type wecom struct{ chat }

func newWecom(cfg Config, p *poster) Receiver {
	return &wecom{newChat(cfg, p, Limits{PerMinute: 20, Batch: 20})}
}

type wecomMessage struct {
	MsgType  string         `json:"msgtype"`
	Markdown *wecomMarkdown `json:"markdown,omitempty"`
	Text     *wecomText     `json:"text,omitempty"`
}

type wecomMarkdown struct {
	Content string `json:"content"`
}

type wecomText struct {
	Content       string   `json:"content"`
	MentionedList []string `json:"mentioned_list,omitempty"`
}

// Render builds a markdown message, or with Simple a text message. A markdown message can mention single users, but not
// everybody: a message that mentions all is a text message too.
func (w *wecom) Render(m *Message, form Form) (*Request, error) {
	if form == Simple || w.mentionsAll(m) {
		return w.text(m), nil
	}
	build := func(n, textLimit int) []byte {
		color := "comment"
		if countCritical(m.Incidents[:n]) > 0 {
			color = "warning"
		}
		blocks := []string{`### <font color="` + color + `">` + twins(w.title(m, n)) + "</font>"}
		var mentioned []string
		for _, id := range w.mentions(m, n) {
			mentioned = append(mentioned, "<@"+id+">")
		}
		blocks = append(blocks, filled(strings.Join(mentioned, " "))...)
		for _, line := range w.preface(m) {
			blocks = append(blocks, "**"+twins(line)+"**")
		}
		for i := range m.Incidents[:n] {
			e := w.entry(m, &m.Incidents[i], textLimit)
			blocks = append(blocks, markdownEntry(&e, "\n", "\n"))
		}
		for _, line := range w.ending(m, n) {
			blocks = append(blocks, twins(line))
		}
		return []byte(strings.Join(blocks, "\n\n"))
	}
	content, n := fit(m, w.most(m), wecomLimit, build, byteSize)
	return m.request(toJSON(wecomMessage{MsgType: "markdown", Markdown: &wecomMarkdown{string(content)}}), n), nil
}

func (w *wecom) mentionsAll(m *Message) bool {
	return slices.Contains(w.mentions(m, min(len(m.Incidents), w.most(m))), "all")
}

func (w *wecom) text(m *Message) *Request {
	content, n := fit(m, w.most(m), wecomTextLimit, func(n, textLimit int) []byte {
		// <@userid> mentions in a text message too.
		return []byte(strings.ReplaceAll(plainText(&w.chat, m, n, textLimit), "<", "＜"))
	}, byteSize)
	text := &wecomText{Content: string(content)}
	for _, id := range w.mentions(m, n) {
		if id == "all" {
			id = "@all"
		}
		text.MentionedList = append(text.MentionedList, id)
	}
	return m.request(toJSON(wecomMessage{MsgType: "text", Text: text}), n)
}

// Send posts the request.
func (w *wecom) Send(ctx context.Context, r *Request) error {
	to, err := ownTarget(w.cfg)
	if err != nil {
		return err
	}
	a, err := w.post(ctx, to, r)
	if err != nil {
		return err
	}
	reply, failure := a.errcode("WeCom")
	switch {
	case failure != nil:
		return failure
	case reply == nil:
		return nil
	}
	return w.verdict(a, reply)
}

func (w *wecom) verdict(a *answer, reply *errcodeReply) *Error {
	name := reply.name()
	switch *reply.Errcode {
	case -1:
		return a.fail(Retry, name, "WeCom is busy")
	case 45009:
		return atLeast(a.fail(Retry, name, "WeCom asks for fewer requests"), wecomPause)
	case 93000:
		return a.fail(BadTarget, name, "WeCom does not know the key in the URL, or the robot was removed")
	case 40058:
		return a.fail(BadPayload, name, "WeCom refused the message as too large or malformed: %s", reply.Errmsg)
	case 44004:
		return a.fail(BadPayload, name, "WeCom refused the message as empty")
	case 40008:
		return a.fail(BadPayload, name, "WeCom refused the type of the message")
	}
	return a.fail(Retry, name, "WeCom answered with a code that is not documented: %s", reply.Errmsg)
}
