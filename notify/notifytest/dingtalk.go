package notifytest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The answers of DingTalk's custom robot.
const (
	DingtalkOK       = `{"errcode":0,"errmsg":"ok"}`
	DingtalkBusy     = `{"errcode":-1,"errmsg":"系统繁忙"}`
	DingtalkRate     = `{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}`
	DingtalkKeyword  = `{"errcode":310000,"errmsg":"keywords not in content, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]"}`
	DingtalkSign     = `{"errcode":310000,"errmsg":"sign not match, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]"}`
	DingtalkIP       = `{"errcode":310000,"errmsg":"ip 203.0.113.9 not in whitelist, more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]"}`
	DingtalkToken    = `{"errcode":300005,"errmsg":"token is not exist"}`
	DingtalkNoToken  = `{"errcode":40035,"errmsg":"缺少参数 access_token"}`
	DingtalkNotPost  = `{"errcode":43002,"errmsg":"require POST http method"}`
	DingtalkNotJSON  = `{"errcode":43004,"errmsg":"require Content-Type application/json"}`
	DingtalkMsgType  = `{"errcode":400105,"errmsg":"unsupported msgtype"}`
	DingtalkBig      = `{"errcode":460101,"errmsg":"message too long, exceed 20000 bytes"}`
	DingtalkThrottle = `{"status":1111,"wait":5,"source":"x5","punish":"deny","uuid":"u"}`

	dingtalkMaxBytes = 20_000
	dingtalkBlock    = 10 * time.Minute
)

// Dingtalk is the custom robot of DingTalk.
type Dingtalk struct {
	// Token is the access_token; Secret signs; both are checked if set.
	Token, Secret string
	// Keyword must be in the message; empty: not checked.
	Keyword string
	// PerMinute bounds the rate; one request more blocks the robot for 10 minutes. 0 is no bound; the platform's is 20.
	PerMinute int

	rate    rate
	mu      sync.Mutex
	blocked time.Time
}

// TooFast is errcode 130101.
func (*Dingtalk) TooFast() Answer { return Answer{Body: DingtalkRate} }

// Refusal is errcode 310000.
func (*Dingtalk) Refusal() Answer { return Answer{Body: DingtalkSign} }

// Judge checks a request to /robot/send?access_token=TOKEN.
func (p *Dingtalk) Judge(r *http.Request, body []byte, now time.Time) (Answer, bool) {
	query := r.URL.Query()
	var m struct {
		MsgType  string
		Text     struct{ Content string }
		Markdown struct{ Title, Text string }
	}
	switch {
	case r.URL.Path != "/robot/send":
		return Answer{Status: http.StatusNotFound, Body: "404 page not found"}, false
	case r.Method != http.MethodPost:
		return Answer{Body: DingtalkNotPost}, false
	case query.Get("access_token") == "":
		return Answer{Body: DingtalkNoToken}, false
	case p.Token != "" && query.Get("access_token") != p.Token:
		return Answer{Body: DingtalkToken}, false
	case p.Secret != "" && !p.signed(query.Get("timestamp"), query.Get("sign"), now):
		return Answer{Body: DingtalkSign}, false
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return Answer{Body: DingtalkNotJSON}, false
	case json.Unmarshal(body, &m) != nil, !slices.Contains([]string{"text", "markdown", "link", "actionCard", "feedCard"}, m.MsgType):
		return Answer{Body: DingtalkMsgType}, false
	case m.MsgType == "text" && m.Text.Content == "", m.MsgType == "markdown" && (m.Markdown.Title == "" || m.Markdown.Text == ""):
		return Answer{Body: `{"errcode":40035,"errmsg":"缺少参数 text"}`}, false
	case p.Keyword != "" && !strings.Contains(m.Text.Content+m.Markdown.Title+m.Markdown.Text, p.Keyword):
		return Answer{Body: DingtalkKeyword}, false
	case len(body) > dingtalkMaxBytes:
		return Answer{Body: DingtalkBig}, false
	case p.block(now):
		return p.TooFast(), false
	}
	return Answer{Body: DingtalkOK}, true
}

func (p *Dingtalk) signed(timestamp, sign string, now time.Time) bool {
	ms, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.UnixMilli(ms)).Abs() > time.Hour {
		return false
	}
	mac := hmac.New(sha256.New, []byte(p.Secret))
	mac.Write([]byte(timestamp + "\n" + p.Secret))
	return hmac.Equal([]byte(sign), []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))))
}

func (p *Dingtalk) block(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.blocked) {
		return true
	}
	p.rate.perMinute = p.PerMinute
	if p.rate.exceeded(now) {
		p.blocked = now.Add(dingtalkBlock)
		return true
	}
	return false
}
