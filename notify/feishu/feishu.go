package feishu

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// limit is the platform's limit of the whole body: 20 KB, which is not said to be 1000 or 1024; the smaller.
	limit = 20_000
	// signature is kept free for the timestamp and the signature that Send adds.
	signature = len(`"timestamp":"12345678901","sign":"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=",`)
)

// receiver is the custom bot of Feishu, and of Lark at its own host.
//
// Protocol: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot. The card is of version 1.0, which old
// clients show and which ignores unknown keys.
type receiver struct {
	chat.Chat

	config *Config

	clock chat.Clock
}

type message struct {
	MsgType string `json:"msg_type"`
	Card    *card  `json:"card,omitempty"`
	Content *plain `json:"content,omitempty"`
}

type plain struct {
	Text string `json:"text"`
}

type card struct {
	Config   map[string]bool `json:"config"`
	Header   header          `json:"header"`
	Elements []element       `json:"elements"`
}

type header struct {
	Title    label  `json:"title"`
	Template string `json:"template"`
}

type element struct {
	Tag string `json:"tag"`
	// Content is that of a markdown element, Text that of a div, Elements those of a note.
	Content  string  `json:"content,omitempty"`
	Text     *label  `json:"text,omitempty"`
	Elements []label `json:"elements,omitempty"`
}

type label struct {
	Tag     string `json:"tag"`
	Content string `json:"content"`
}

// Render builds a card, or with Simple a text message.
func (f *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	build := f.card(m)
	if form == notify.Simple {
		build = f.text(m)
	}
	body, n := chat.Fit(m, f.Most(m), limit-signature, build, chat.ByteSize)
	return chat.Request(m, body, n), nil
}

// card builds the card. The reason of each incident is markdown with every special character escaped; the event's message is
// plain text, which the platform does not parse.
func (f *receiver) card(m *notify.Message) func(n, textLimit int) []byte {
	return func(n, textLimit int) []byte {
		var elements []element
		if mentions := f.Mentions(m, n); len(mentions) > 0 {
			var b strings.Builder
			for _, id := range mentions {
				b.WriteString("<at id=" + id + "></at>")
			}
			elements = append(elements, element{Tag: "markdown", Content: b.String()})
		}
		if losses := f.Preface(m); len(losses) > 0 {
			elements = append(elements, plainElement(strings.Join(losses, "\n")))
		}
		if m.Digest != nil {
			elements = append(elements, f.brief(m, n, textLimit)...)
		} else {
			elements = append(elements, f.full(m, n, textLimit, len(elements) > 0)...)
		}
		for _, line := range f.Ending(m, n) {
			elements = append(elements, plainElement(line))
		}
		template := "orange"
		switch chat.ToneOf(m, n) {
		case chat.CriticalTone:
			template = "red"
		case chat.NoticeTone:
			template = "blue"
		case chat.WarningTone:
		}
		return notify.JSON(message{MsgType: "interactive", Card: &card{
			Config:   map[string]bool{"wide_screen_mode": true},
			Header:   header{Title: label{"plain_text", f.Title(m, n)}, Template: template},
			Elements: elements,
		}})
	}
}

// brief shows the incidents of a digest. An element costs 58 bytes on the link, so ten share one.
func (f *receiver) brief(m *notify.Message, n, textLimit int) []element {
	var elements []element
	for group := range slices.Chunk(m.Incidents[:n], 10) {
		texts := make([]string, len(group))
		for i := range group {
			e := f.Entry(m, &group[i], textLimit)
			texts[i] = e.Brief()
		}
		elements = append(elements, plainElement(strings.Join(texts, "\n\n")))
	}
	return elements
}

// full shows each incident with a heading, its message and a note, and a rule above all but the first of the card.
func (f *receiver) full(m *notify.Message, n, textLimit int, ruled bool) []element {
	var elements []element
	for i := range m.Incidents[:n] {
		e := f.Entry(m, &m.Incidents[i], textLimit)
		if ruled || i > 0 {
			elements = append(elements, element{Tag: "hr"})
		}
		heading := "**" + escapeLark(e.Reason) + "** " + escapeLark(strings.Join(chat.Filled(e.Subject, e.Observed), " "))
		if e.Critical {
			heading = "<font color='red'>" + e.Severity + "</font> " + heading
		}
		elements = append(elements, element{Tag: "markdown", Content: heading})
		if text := strings.Join(chat.Filled(e.Message, e.Objects), "\n"); text != "" {
			elements = append(elements, plainElement(text))
		}
		elements = append(elements, element{Tag: "note", Elements: []label{{"plain_text", e.Details}}})
	}
	return elements
}

func plainElement(text string) element {
	return element{Tag: "div", Text: &label{"plain_text", text}}
}

func (f *receiver) text(m *notify.Message) func(n, textLimit int) []byte {
	return func(n, textLimit int) []byte {
		text := f.Plain(m, n, textLimit)
		// A text message has no escapes, and <at user_id="all"> in it notifies everybody.
		text = strings.ReplaceAll(text, "<", "＜")
		for _, id := range f.Mentions(m, n) {
			text += `<at user_id="` + id + `"></at>`
		}
		return notify.JSON(message{MsgType: "text", Content: &plain{text}})
	}
}

// escapeLark shows special characters of Feishu's markdown as such, by the entities that its documentation lists.
func escapeLark(text string) string {
	return strings.NewReplacer(
		"&", "&#38;", "<", "&#60;", ">", "&#62;", "*", "&#42;", "_", "&#95;", "~", "&#126;", "[", "&#91;", "]", "&#93;",
		"(", "&#40;", ")", "&#41;", `\`, "&#92;", "`", "&#96;", "#", "&#35;", "!", "&#33;", "$", "&#36;",
	).Replace(text)
}

// Send signs with the time of this attempt, because Feishu refuses a signature that is older than an hour, and posts.
func (f *receiver) Send(ctx context.Context, r *notify.Request) error {
	url, err := f.config.URL.Read()
	if err != nil {
		return &notify.Error{Outcome: notify.BadTarget, Reason: "the URL cannot be read", Err: err}
	}
	signed := f.clock.Now()
	request := *r
	if !f.config.Secret.IsZero() {
		secret, err := f.config.Secret.Read()
		if err != nil {
			return &notify.Error{Outcome: notify.BadTarget, Reason: "the signing secret cannot be read", Err: err}
		}
		timestamp := strconv.FormatInt(signed.Unix(), 10)
		signature := fmt.Sprintf(`{"timestamp":%q,"sign":%q,`, timestamp, sign(timestamp, secret))
		request.Body = append([]byte(signature), r.Body[1:]...)
	}
	a, err := f.Post(ctx, notify.Target{URL: url}, &request)
	if err != nil {
		return err
	}
	f.clock.Observe(a)
	return f.verdict(a, signed)
}

// sign signs as Feishu does: timestamp and secret are the key, and the message is empty.
func sign(timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(timestamp+"\n"+secret))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// verdict reads the answer. If code is present it decides; StatusCode is the field of old answers, and is 0 beside some errors.
func (f *receiver) verdict(a *notify.Answer, signed time.Time) error {
	var reply struct {
		Code       *int64
		StatusCode *int64
		Msg        string
	}
	if a.Broken != nil {
		return a.Broken
	}
	if err := json.Unmarshal(a.Body, &reply); err != nil {
		return a.Foreign("Feishu")
	}
	code := reply.Code
	if code == nil {
		code = reply.StatusCode
	}
	if code == nil || *code == 0 && a.Status != http.StatusOK {
		return a.Foreign("Feishu")
	}
	name := strconv.FormatInt(*code, 10)
	message := untrusted.Quoted(reply.Msg)
	switch *code {
	case 0:
		return nil
	case 9499:
		if strings.Contains(strings.ToLower(reply.Msg), "too many") {
			return a.Fail(notify.Retry, name, "Feishu asks for fewer requests")
		}
		return a.Fail(notify.BadPayload, name, "Feishu refused the message as malformed or too large")
	case 11232, 99991400:
		return a.Fail(notify.Retry, name, "Feishu asks for fewer requests")
	case 11246, 11247:
		return a.Fail(notify.BadPayload, name, "Feishu refused the card: %s", message)
	case 19001:
		return a.Fail(notify.BadTarget, name, "Feishu does not know the token in the URL")
	case 19002:
		return a.Fail(notify.BadPayload, name, "Feishu refused the type of the message: %s", message)
	case 19007:
		return a.Fail(notify.BadTarget, name, "the bot is not enabled in Feishu")
	case 19021:
		return f.refusedSignature(a, name, signed)
	case 19022:
		return a.Fail(notify.BadTarget, name, "the bot has an IP allow list that this machine's address is not on")
	case 19024:
		return a.Fail(notify.BadPayload, name, "the message holds none of the bot's keywords; the cluster's name is in every message and can be one")
	case 19036:
		return a.Fail(notify.BadPayload, name, "Feishu refused the message as too large")
	}
	return a.Fail(notify.Retry, name, "Feishu answered with a code that is not documented: %s", message)
}

func (f *receiver) refusedSignature(a *notify.Answer, name string, signed time.Time) *notify.Error {
	if f.config.Secret.IsZero() {
		return a.Fail(notify.BadTarget, name, "the bot wants signatures; set secret")
	}
	return f.clock.RefusedSignature(a, name, "Feishu", signed)
}
