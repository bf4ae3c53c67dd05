package notifytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// The answers of WeCom's group robot.
const (
	WecomOK    = `{"errcode":0,"errmsg":"ok"}`
	WecomBusy  = `{"errcode":-1,"errmsg":"system busy"}`
	WecomRate  = `{"errcode":45009,"errmsg":"api freq out of limit, hint: [0], from ip: 127.0.0.1, more info at https://open.work.weixin.qq.com/devtool/query?e=45009"}`
	WecomKey   = `{"errcode":93000,"errmsg":"invalid webhook url, hint: [0], from ip: 127.0.0.1, more info at https://open.work.weixin.qq.com/devtool/query?e=93000"}`
	WecomBig   = `{"errcode":40058,"errmsg":"%s exceed max length %d. invalid Request Parameter, hint: [0], from ip: 127.0.0.1"}`
	WecomEmpty = `{"errcode":44004,"errmsg":"empty content, hint: [0], from ip: 127.0.0.1"}`
	WecomType  = `{"errcode":40008,"errmsg":"invalid message type, hint: [0], from ip: 127.0.0.1"}`
)

// Wecom is the group robot of WeCom.
type Wecom struct {
	// Key is the robot's key; checked if set.
	Key string
	// PerMinute bounds the rate; 0 is no bound. The platform's is 20.
	PerMinute int

	rate rate
}

// TooFast is errcode 45009.
func (*Wecom) TooFast() Answer { return Answer{Body: WecomRate} }

// Refusal is errcode 93000.
func (*Wecom) Refusal() Answer { return Answer{Body: WecomKey} }

// Judge checks a request to /cgi-bin/webhook/send?key=KEY.
func (p *Wecom) Judge(r *http.Request, body []byte, now time.Time) (Answer, bool) {
	if r.URL.Path != "/cgi-bin/webhook/send" || r.Method != http.MethodPost {
		return Answer{Status: http.StatusNotFound, Body: "404 page not found"}, false
	}
	if p.Key != "" && r.URL.Query().Get("key") != p.Key {
		return Answer{Body: WecomKey}, false
	}
	var m struct {
		MsgType  string
		Text     struct{ Content string }
		Markdown struct{ Content string }
	}
	if json.Unmarshal(body, &m) != nil {
		return Answer{Body: WecomType}, false
	}
	content, limit, name := m.Markdown.Content, 4096, "markdown.content"
	switch m.MsgType {
	case "text":
		content, limit, name = m.Text.Content, 2048, "text.content"
	case "markdown":
	default:
		return Answer{Body: WecomType}, false
	}
	p.rate.perMinute = p.PerMinute
	switch {
	case content == "":
		return Answer{Body: WecomEmpty}, false
	case len(content) > limit:
		return Answer{Body: fmt.Sprintf(WecomBig, name, limit)}, false
	case p.rate.exceeded(now):
		return p.TooFast(), false
	}
	return Answer{Body: WecomOK}, true
}
