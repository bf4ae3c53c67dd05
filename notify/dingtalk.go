package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// dingtalkLimit is where DingTalk answers 460101, "message too long, exceed 20000 bytes"; counted over the whole body.
	dingtalkLimit = 20_000
	// dingtalkPause is the least wait after DingTalk's throttling, which lasts up to 10 minutes.
	dingtalkPause = time.Minute
)

// dingtalk is the custom robot of DingTalk.
//
// Its official page is readable only in copies; what is known of codes and texts is in the table of verdict.
type dingtalk struct {
	chat

	clock clock
}

func newDingtalk(cfg Config, p *poster) Receiver {
	return &dingtalk{chat: newChat(cfg, p, Limits{PerMinute: 20})}
}

type dingtalkMessage struct {
	MsgType  string            `json:"msgtype"`
	Markdown *dingtalkMarkdown `json:"markdown,omitempty"`
	Text     *dingtalkText     `json:"text,omitempty"`
	At       *dingtalkAt       `json:"at,omitempty"`
}

type dingtalkMarkdown struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

type dingtalkText struct {
	Content string `json:"content"`
}

type dingtalkAt struct {
	AtMobiles []string `json:"atMobiles,omitempty"`
	AtUserIDs []string `json:"atUserIds,omitempty"`
	IsAtAll   bool     `json:"isAtAll,omitempty"`
}

// Render builds a markdown message, or with Simple a text message. Who is notified stands only in at: an @ in the text without
// an entry there notifies nobody.
func (d *dingtalk) Render(m *Message, form Form) (*Request, error) {
	build := func(n, textLimit int) []byte {
		at, mentioned := d.at(m, n)
		if form == Simple {
			text := strings.Join(filled(plainText(&d.chat, m, n, textLimit), mentioned), "\n")
			return toJSON(dingtalkMessage{MsgType: "text", Text: &dingtalkText{text}, At: at})
		}
		title := d.title(m, n)
		blocks := []string{"#### " + twins(title)}
		if mentioned != "" {
			blocks = append(blocks, mentioned)
		}
		for _, line := range d.preface(m) {
			blocks = append(blocks, "**"+twins(line)+"**")
		}
		for i := range m.Incidents[:n] {
			e := d.entry(m, &m.Incidents[i], textLimit)
			blocks = append(blocks, markdownEntry(&e, "\n\n", "  \n"))
		}
		for _, line := range d.ending(m, n) {
			blocks = append(blocks, twins(line))
		}
		return toJSON(dingtalkMessage{MsgType: "markdown", Markdown: &dingtalkMarkdown{title, strings.Join(blocks, "\n\n")}, At: at})
	}
	body, n := fit(m, d.most(m), dingtalkLimit, build, byteSize)
	return m.request(body, n), nil
}

// at returns who is to be notified, and the same for the text, where DingTalk wants it too. Eleven digits that begin with 1 are
// a mobile number.
func (d *dingtalk) at(m *Message, n int) (*dingtalkAt, string) {
	var at dingtalkAt
	var text []string
	for _, id := range d.mentions(m, n) {
		switch {
		case id == "all":
			at.IsAtAll = true
			continue
		case len(id) == 11 && id[0] == '1' && strings.Trim(id, "0123456789") == "":
			at.AtMobiles = append(at.AtMobiles, id)
		default:
			at.AtUserIDs = append(at.AtUserIDs, id)
		}
		text = append(text, "@"+id)
	}
	if !at.IsAtAll && len(text) == 0 {
		return nil, ""
	}
	return &at, strings.Join(text, " ")
}

// markdownEntry shows an incident in the markdown of DingTalk and WeCom: heading, the message as a quote, details.
func markdownEntry(e *entry, paragraph, lineBreak string) string {
	heading := "**" + twins(e.reason) + "** " + twins(strings.Join(filled(e.subject, e.observed), " "))
	if e.critical {
		heading = "**" + e.severity + "** " + heading
	}
	var quoted []string
	for line := range strings.SplitSeq(strings.Join(filled(e.message, e.objects), "\n"), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			quoted = append(quoted, "> "+twins(line))
		}
	}
	return strings.Join(filled(heading, strings.Join(quoted, lineBreak), twins(e.details)), paragraph)
}

// twins replaces the characters that begin markup by their full-width twins: neither platform documents an escape. A link needs
// both brackets, a heading stands at the beginning of a line, which here is always this package's.
func twins(text string) string {
	return strings.NewReplacer("*", "＊", "[", "［", "]", "］", "<", "＜", "`", "｀", "~~", "～～").Replace(text)
}

// Send signs with the time of this attempt, because DingTalk refuses a signature that is older than an hour, and posts.
func (d *dingtalk) Send(ctx context.Context, r *Request) error {
	to, err := ownTarget(d.cfg)
	if err != nil {
		return err
	}
	signed := d.clock.now()
	if !d.cfg.Secret.IsZero() {
		secret, err := d.cfg.Secret.Read()
		if err != nil {
			return &Error{Outcome: BadTarget, Reason: "the signing secret cannot be read", Err: err}
		}
		timestamp := strconv.FormatInt(signed.UnixMilli(), 10)
		separator := "?"
		if strings.Contains(to.url, "?") {
			separator = "&"
		}
		to.url += separator + "timestamp=" + timestamp + "&sign=" + url.QueryEscape(dingtalkSign(timestamp, secret))
	}
	a, err := d.post(ctx, to, r)
	if err != nil {
		return err
	}
	d.clock.observe(a)
	return d.verdict(a, signed)
}

// dingtalkSign signs as DingTalk does: the secret is the key, and timestamp and secret are the message.
func dingtalkSign(timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "\n" + secret))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (d *dingtalk) verdict(a *answer, signed time.Time) error {
	if throttled := d.throttled(a); throttled != nil {
		return throttled
	}
	reply, failure := a.errcode("DingTalk")
	switch {
	case failure != nil:
		return failure
	case reply == nil:
		return nil
	}
	name, text := reply.name(), strings.ToLower(reply.Errmsg)
	switch *reply.Errcode {
	case -1:
		return a.fail(Retry, name, "DingTalk is busy")
	case 130101, 410100:
		return atLeast(a.fail(Retry, name, "DingTalk asks for fewer requests"), dingtalkPause)
	case 310000:
		return d.refusedByPolicy(a, name, text, signed)
	case 300001:
		if strings.Contains(text, "fast") || strings.Contains(text, "limit") {
			return atLeast(a.fail(Retry, name, "DingTalk asks for fewer requests"), dingtalkPause)
		}
		return a.fail(BadTarget, name, "DingTalk does not know the access_token in the URL")
	case 300005, 400101, 40035:
		return a.fail(BadTarget, name, "DingTalk does not know the access_token in the URL")
	case 400013, 400102, 400106:
		return a.fail(BadTarget, name, "the robot or its group is gone: %s", reply.Errmsg)
	case 43002, 43004, 400105:
		return a.fail(BadPayload, name, "DingTalk refused the type of the message: %s", reply.Errmsg)
	case 460101:
		return a.fail(BadPayload, name, "DingTalk refused the message as too large")
	}
	return a.fail(Retry, name, "DingTalk answered with a code that is not documented: %s", reply.Errmsg)
}

// refusedByPolicy reads the text, since 310000 stands for all of a robot's security settings.
func (d *dingtalk) refusedByPolicy(a *answer, name, text string, signed time.Time) *Error {
	switch {
	case strings.Contains(text, "keyword"):
		return a.fail(BadPayload, name, "the message holds none of the robot's keywords; the cluster's name is in every message and can be one")
	case strings.Contains(text, "whitelist"), strings.Contains(text, "ip "):
		return a.fail(BadTarget, name, "the robot has an IP allow list that this machine's address is not on")
	case d.cfg.Secret.IsZero():
		return a.fail(BadTarget, name, "the robot wants signatures; set secret")
	}
	return refusedSignature(&d.clock, a, name, "DingTalk", signed)
}

// throttled recognizes the body of DingTalk's gateway, which has a status and a wait in seconds but no errcode; nil: it is
// another one.
func (d *dingtalk) throttled(a *answer) *Error {
	var gateway struct {
		Errcode      *int64
		Status, Wait *uint64
	}
	err := json.Unmarshal(a.body, &gateway)
	if a.broken != nil || err != nil || gateway.Errcode != nil || gateway.Status == nil || gateway.Wait == nil {
		return nil
	}
	throttled := a.fail(Retry, strconv.FormatUint(*gateway.Status, 10), "DingTalk's gateway asks for fewer requests")
	return atLeast(throttled, max(dingtalkPause, clampRetryAfter(*gateway.Wait)))
}

// atLeast makes a wait at least as long as the platform's throttling is known to last.
func atLeast(e *Error, wait time.Duration) *Error {
	e.RetryAfter = max(e.RetryAfter, wait)
	return e
}
