package notify

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
)

const (
	// feishuLimit is the platform's limit of the whole body: 20 KB, which is not said to be 1000 or 1024; the smaller.
	feishuLimit = 20_000
	// feishuSignature is kept free for the timestamp and the signature that Send adds.
	feishuSignature = len(`"timestamp":"12345678901","sign":"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=",`)
)

// feishu is the custom bot of Feishu, and of Lark at its own host.
//
// Protocol: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot. The card is of version 1.0, which old
// clients show and which ignores unknown keys.
type feishu struct {
	chat

	clock clock
}

func newFeishu(cfg Config, p *poster) Receiver {
	return &feishu{chat: newChat(cfg, p, Limits{PerSecond: 5, PerMinute: 100, AvoidHalfHours: true})}
}

func checkFeishu(cfg *Config, add addMistake) {
	for i, id := range cfg.Mention {
		if strings.ContainsAny(id, "@.") {
			add(fmt.Sprintf("mention[%d]", i), "must be an open_id or user_id of Feishu, or all; it takes no e-mail address")
		}
	}
}

type feishuMessage struct {
	MsgType string       `json:"msg_type"`
	Card    *feishuCard  `json:"card,omitempty"`
	Content *feishuPlain `json:"content,omitempty"`
}

type feishuPlain struct {
	Text string `json:"text"`
}

type feishuCard struct {
	Config   map[string]bool `json:"config"`
	Header   feishuHeader    `json:"header"`
	Elements []feishuElement `json:"elements"`
}

type feishuHeader struct {
	Title    feishuText `json:"title"`
	Template string     `json:"template"`
}

type feishuElement struct {
	Tag string `json:"tag"`
	// Content is that of a markdown element, Text that of a div, Elements those of a note.
	Content  string       `json:"content,omitempty"`
	Text     *feishuText  `json:"text,omitempty"`
	Elements []feishuText `json:"elements,omitempty"`
}

type feishuText struct {
	Tag     string `json:"tag"`
	Content string `json:"content"`
}

// Render builds a card, or with Simple a text message.
func (f *feishu) Render(m *Message, form Form) (*Request, error) {
	build := f.card(m)
	if form == Simple {
		build = f.text(m)
	}
	body, n := fit(m, f.most(m), feishuLimit-feishuSignature, build, byteSize)
	return m.request(body, n), nil
}

// card builds the card. The reason of each incident is markdown with every special character escaped; the event's message is
// plain text, which the platform does not parse.
func (f *feishu) card(m *Message) func(n, textLimit int) []byte {
	return func(n, textLimit int) []byte {
		var elements []feishuElement
		if mentions := f.mentions(m, n); len(mentions) > 0 {
			var b strings.Builder
			for _, id := range mentions {
				b.WriteString("<at id=" + id + "></at>")
			}
			elements = append(elements, feishuElement{Tag: "markdown", Content: b.String()})
		}
		if losses := f.preface(m); len(losses) > 0 {
			elements = append(elements, plainElement(strings.Join(losses, "\n")))
		}
		if m.Digest != nil {
			elements = append(elements, f.brief(m, n, textLimit)...)
		} else {
			elements = append(elements, f.full(m, n, textLimit, len(elements) > 0)...)
		}
		for _, line := range f.ending(m, n) {
			elements = append(elements, plainElement(line))
		}
		template := "orange"
		if countCritical(m.Incidents[:n]) > 0 {
			template = "red"
		}
		return toJSON(feishuMessage{MsgType: "interactive", Card: &feishuCard{
			Config:   map[string]bool{"wide_screen_mode": true},
			Header:   feishuHeader{Title: feishuText{"plain_text", f.title(m, n)}, Template: template},
			Elements: elements,
		}})
	}
}

// brief shows the incidents of a digest. An element costs 58 bytes on the link, so ten share one.
func (f *feishu) brief(m *Message, n, textLimit int) []feishuElement {
	var elements []feishuElement
	for group := range slices.Chunk(m.Incidents[:n], 10) {
		texts := make([]string, len(group))
		for i := range group {
			e := f.entry(m, &group[i], textLimit)
			texts[i] = e.brief()
		}
		elements = append(elements, plainElement(strings.Join(texts, "\n\n")))
	}
	return elements
}

// full shows each incident with a heading, its message and a note, and a rule above all but the first of the card.
func (f *feishu) full(m *Message, n, textLimit int, ruled bool) []feishuElement {
	var elements []feishuElement
	for i := range m.Incidents[:n] {
		e := f.entry(m, &m.Incidents[i], textLimit)
		if ruled || i > 0 {
			elements = append(elements, feishuElement{Tag: "hr"})
		}
		heading := "**" + escapeLark(e.reason) + "** " + escapeLark(strings.Join(filled(e.subject, e.observed), " "))
		if e.critical {
			heading = "<font color='red'>" + e.severity + "</font> " + heading
		}
		elements = append(elements, feishuElement{Tag: "markdown", Content: heading})
		if text := strings.Join(filled(e.message, e.objects), "\n"); text != "" {
			elements = append(elements, plainElement(text))
		}
		elements = append(elements, feishuElement{Tag: "note", Elements: []feishuText{{"plain_text", e.details}}})
	}
	return elements
}

func plainElement(text string) feishuElement {
	return feishuElement{Tag: "div", Text: &feishuText{"plain_text", text}}
}

func (f *feishu) text(m *Message) func(n, textLimit int) []byte {
	return func(n, textLimit int) []byte {
		text := plainText(&f.chat, m, n, textLimit)
		// A text message has no escapes, and <at user_id="all"> in it notifies everybody.
		text = strings.ReplaceAll(text, "<", "＜")
		for _, id := range f.mentions(m, n) {
			text += `<at user_id="` + id + `"></at>`
		}
		return toJSON(feishuMessage{MsgType: "text", Content: &feishuPlain{text}})
	}
}

// plainText is the whole message without any markup.
func plainText(c *chat, m *Message, n, textLimit int) string {
	lines := append([]string{c.title(m, n)}, c.preface(m)...)
	for i := range m.Incidents[:n] {
		e := c.entry(m, &m.Incidents[i], textLimit)
		if n > 1 || m.Digest != nil {
			lines = append(lines, "", e.heading())
		} else if e.observed != "" {
			lines = append(lines, e.observed)
		}
		lines = append(lines, e.lines()...)
	}
	if ending := c.ending(m, n); len(ending) > 0 {
		lines = append(append(lines, ""), ending...)
	}
	return strings.Join(lines, "\n")
}

// escapeLark shows special characters of Feishu's markdown as such, by the entities that its documentation lists.
func escapeLark(text string) string {
	return strings.NewReplacer(
		"&", "&#38;", "<", "&#60;", ">", "&#62;", "*", "&#42;", "_", "&#95;", "~", "&#126;", "[", "&#91;", "]", "&#93;",
		"(", "&#40;", ")", "&#41;", `\`, "&#92;", "`", "&#96;", "#", "&#35;", "!", "&#33;", "$", "&#36;",
	).Replace(text)
}

// Send signs with the time of this attempt, because Feishu refuses a signature that is older than an hour, and posts.
func (f *feishu) Send(ctx context.Context, r *Request) error {
	url, err := f.cfg.URL.Read()
	if err != nil {
		return &Error{Outcome: BadTarget, Reason: "the URL cannot be read", Err: err}
	}
	signed := f.clock.now()
	request := *r
	if !f.cfg.Secret.IsZero() {
		secret, err := f.cfg.Secret.Read()
		if err != nil {
			return &Error{Outcome: BadTarget, Reason: "the signing secret cannot be read", Err: err}
		}
		timestamp := strconv.FormatInt(signed.Unix(), 10)
		signature := fmt.Sprintf(`{"timestamp":%q,"sign":%q,`, timestamp, feishuSign(timestamp, secret))
		request.Body = append([]byte(signature), r.Body[1:]...)
	}
	a, err := f.post(ctx, target{url: url}, &request)
	if err != nil {
		return err
	}
	f.clock.observe(a)
	return f.verdict(a, signed)
}

// feishuSign signs as Feishu does: timestamp and secret are the key, and the message is empty.
func feishuSign(timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(timestamp+"\n"+secret))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// verdict reads the answer. If code is present it decides; StatusCode is the field of old answers, and is 0 beside some errors.
func (f *feishu) verdict(a *answer, signed time.Time) error {
	var reply struct {
		Code       *int64
		StatusCode *int64
		Msg        string
	}
	if a.broken != nil {
		return a.broken
	}
	if err := json.Unmarshal(a.body, &reply); err != nil {
		return a.foreign("Feishu")
	}
	code := reply.Code
	if code == nil {
		code = reply.StatusCode
	}
	if code == nil || *code == 0 && a.status != http.StatusOK {
		return a.foreign("Feishu")
	}
	name := strconv.FormatInt(*code, 10)
	message := quoted(reply.Msg)
	switch *code {
	case 0:
		return nil
	case 9499:
		if strings.Contains(strings.ToLower(reply.Msg), "too many") {
			return a.fail(Retry, name, "Feishu asks for fewer requests")
		}
		return a.fail(BadPayload, name, "Feishu refused the message as malformed or too large")
	case 11232, 99991400:
		return a.fail(Retry, name, "Feishu asks for fewer requests")
	case 11246, 11247:
		return a.fail(BadPayload, name, "Feishu refused the card: %s", message)
	case 19001:
		return a.fail(BadTarget, name, "Feishu does not know the token in the URL")
	case 19002:
		return a.fail(BadPayload, name, "Feishu refused the type of the message: %s", message)
	case 19007:
		return a.fail(BadTarget, name, "the bot is not enabled in Feishu")
	case 19021:
		return f.refusedSignature(a, name, signed)
	case 19022:
		return a.fail(BadTarget, name, "the bot has an IP allow list that this machine's address is not on")
	case 19024:
		return a.fail(BadPayload, name, "the message holds none of the bot's keywords; the cluster's name is in every message and can be one")
	case 19036:
		return a.fail(BadPayload, name, "Feishu refused the message as too large")
	}
	return a.fail(Retry, name, "Feishu answered with a code that is not documented: %s", message)
}

func (f *feishu) refusedSignature(a *answer, name string, signed time.Time) *Error {
	if f.cfg.Secret.IsZero() {
		return a.fail(BadTarget, name, "the bot wants signatures; set secret")
	}
	return refusedSignature(&f.clock, a, name, "Feishu", signed)
}

// refusedSignature says whether the clock or the secret is the cause. With a wrong clock the next attempt is signed with
// the receiver's time, so it is worth making.
func refusedSignature(c *clock, a *answer, name, platform string, signed time.Time) *Error {
	behind, explains := c.refused(a, signed)
	if !explains {
		return a.fail(BadTarget, name, "%s refused the signature: the secret is wrong", platform)
	}
	direction := "behind"
	if behind < 0 {
		direction = "ahead"
	}
	return a.fail(Retry, name, "%s refused the signature: this machine's clock is %s %s; the next attempt is signed with the server's time",
		platform, spanText(behind), direction)
}
