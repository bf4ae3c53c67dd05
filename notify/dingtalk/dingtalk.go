package dingtalk

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

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

const (
	// limit is where DingTalk answers 460101, "message too long, exceed 20000 bytes"; counted over the whole body.
	limit = 20_000
	// pause is the least wait after DingTalk's throttling, which lasts up to 10 minutes.
	pause = time.Minute
)

// receiver is the custom robot of DingTalk.
//
// Its official page is readable only in copies; what is known of codes and texts is in the table of verdict.
type receiver struct {
	chat.Chat

	config *Config

	clock chat.Clock
}

type message struct {
	MsgType  string    `json:"msgtype"`
	Markdown *markdown `json:"markdown,omitempty"`
	Text     *plain    `json:"text,omitempty"`
	At       *at       `json:"at,omitempty"`
}

type markdown struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

type plain struct {
	Content string `json:"content"`
}

type at struct {
	AtMobiles []string `json:"atMobiles,omitempty"`
	AtUserIDs []string `json:"atUserIds,omitempty"`
	IsAtAll   bool     `json:"isAtAll,omitempty"`
}

// Render builds a markdown message, or with Simple a text message. Who is notified stands only in at: an @ in the text without
// an entry there notifies nobody.
func (d *receiver) Render(m *notify.Message, form notify.Form) (*notify.Request, error) {
	build := func(n, textLimit int) []byte {
		at, mentioned := d.at(m, n)
		if form == notify.Simple {
			text := strings.Join(chat.Filled(d.Plain(m, n, textLimit), mentioned), "\n")
			return notify.JSON(message{MsgType: "text", Text: &plain{text}, At: at})
		}
		title := d.Title(m, n)
		blocks := []string{"#### " + chat.Twins(title)}
		if mentioned != "" {
			blocks = append(blocks, mentioned)
		}
		for _, line := range d.Preface(m) {
			blocks = append(blocks, "**"+chat.Twins(line)+"**")
		}
		for i := range m.Incidents[:n] {
			e := d.Entry(m, &m.Incidents[i], textLimit)
			blocks = append(blocks, chat.Markdown(&e, "\n\n", "  \n"))
		}
		for _, line := range d.Ending(m, n) {
			blocks = append(blocks, chat.Twins(line))
		}
		return notify.JSON(message{MsgType: "markdown", Markdown: &markdown{title, strings.Join(blocks, "\n\n")}, At: at})
	}
	body, n := chat.Fit(m, d.Most(m), limit, build, chat.ByteSize)
	return chat.Request(m, body, n), nil
}

// at returns who is to be notified, and the same for the text, where DingTalk wants it too. Eleven digits that begin with 1 are
// a mobile number.
func (d *receiver) at(m *notify.Message, n int) (*at, string) {
	var at at
	var text []string
	for _, id := range d.Mentions(m, n) {
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

// Send signs with the time of this attempt, because DingTalk refuses a signature that is older than an hour, and posts.
func (d *receiver) Send(ctx context.Context, r *notify.Request) error {
	to, err := notify.TargetOf(d.config.URL, nil)
	if err != nil {
		return err
	}
	signed := d.clock.Now()
	if !d.config.Secret.IsZero() {
		secret, err := d.config.Secret.Read()
		if err != nil {
			return &notify.Error{Outcome: notify.BadTarget, Reason: "the signing secret cannot be read", Err: err}
		}
		timestamp := strconv.FormatInt(signed.UnixMilli(), 10)
		separator := "?"
		if strings.Contains(to.URL, "?") {
			separator = "&"
		}
		to.URL += separator + "timestamp=" + timestamp + "&sign=" + url.QueryEscape(sign(timestamp, secret))
	}
	a, err := d.Post(ctx, to, r)
	if err != nil {
		return err
	}
	d.clock.Observe(a)
	return d.verdict(a, signed)
}

// sign signs as DingTalk does: the secret is the key, and timestamp and secret are the message.
func sign(timestamp, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "\n" + secret))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (d *receiver) verdict(a *notify.Answer, signed time.Time) error {
	if throttled := d.throttled(a); throttled != nil {
		return throttled
	}
	reply, failure := chat.Errcode(a, "DingTalk")
	switch {
	case failure != nil:
		return failure
	case reply == nil:
		return nil
	}
	name, text := reply.Name(), strings.ToLower(reply.Errmsg)
	switch *reply.Errcode {
	case -1:
		return a.Fail(notify.Retry, name, "DingTalk is busy")
	case 130101, 410100:
		return a.Fail(notify.Retry, name, "DingTalk asks for fewer requests").AtLeast(pause)
	case 310000:
		return d.refusedByPolicy(a, name, text, signed)
	case 300001:
		if strings.Contains(text, "fast") || strings.Contains(text, "limit") {
			return a.Fail(notify.Retry, name, "DingTalk asks for fewer requests").AtLeast(pause)
		}
		return a.Fail(notify.BadTarget, name, "DingTalk does not know the access_token in the URL")
	case 300005, 400101, 40035:
		return a.Fail(notify.BadTarget, name, "DingTalk does not know the access_token in the URL")
	case 400013, 400102, 400106:
		return a.Fail(notify.BadTarget, name, "the robot or its group is gone: %s", reply.Errmsg)
	case 43002, 43004, 400105:
		return a.Fail(notify.BadPayload, name, "DingTalk refused the type of the message: %s", reply.Errmsg)
	case 460101:
		return a.Fail(notify.BadPayload, name, "DingTalk refused the message as too large")
	}
	return a.Fail(notify.Retry, name, "DingTalk answered with a code that is not documented: %s", reply.Errmsg)
}

// refusedByPolicy reads the text, since 310000 stands for all of a robot's security settings.
func (d *receiver) refusedByPolicy(a *notify.Answer, name, text string, signed time.Time) *notify.Error {
	switch {
	case strings.Contains(text, "keyword"):
		return a.Fail(notify.BadPayload, name, "the message holds none of the robot's keywords; the cluster's name is in every message and can be one")
	case strings.Contains(text, "whitelist"), strings.Contains(text, "ip "):
		return a.Fail(notify.BadTarget, name, "the robot has an IP allow list that this machine's address is not on")
	case d.config.Secret.IsZero():
		return a.Fail(notify.BadTarget, name, "the robot wants signatures; set secret")
	}
	return d.clock.RefusedSignature(a, name, "DingTalk", signed)
}

// throttled recognizes the body of DingTalk's gateway, which has a status and a wait in seconds but no errcode; nil: it is
// another one.
func (d *receiver) throttled(a *notify.Answer) *notify.Error {
	var gateway struct {
		Errcode      *int64
		Status, Wait *uint64
	}
	err := json.Unmarshal(a.Body, &gateway)
	if a.Broken != nil || err != nil || gateway.Errcode != nil || gateway.Status == nil || gateway.Wait == nil {
		return nil
	}
	throttled := a.Fail(notify.Retry, strconv.FormatUint(*gateway.Status, 10), "DingTalk's gateway asks for fewer requests")
	return throttled.AtLeast(max(pause, notify.ClampRetryAfter(*gateway.Wait)))
}
