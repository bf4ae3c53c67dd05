package notifytest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The answers of Feishu's custom bot.
const (
	FeishuOK       = `{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}`
	FeishuOKNew    = `{"code":0,"msg":"success","data":{}}`
	FeishuOKOld    = `{"StatusCode":0,"StatusMessage":"success"}`
	FeishuBadBody  = `{"code":9499,"msg":"Bad Request","data":{}}`
	FeishuRateOld  = `{"code":9499,"msg":"too many request","data":{}}`
	FeishuRate     = `{"code":11232,"data":{},"msg":"frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]"}`
	FeishuCard     = `{"code":11246,"data":{},"msg":"ErrCode: 11310; ErrMsg: unsupported type of block; ErrorValue: divider"}`
	FeishuToken    = `{"code":19001,"data":{},"msg":"param invalid: incoming webhook access token invalid"}`
	FeishuMsgType  = `{"code":19002,"data":{},"msg":"params error, msg_type need"}`
	FeishuTrap     = `{"StatusCode":0,"StatusMessage":"","code":19007,"msg":"Bot Not Enabled"}`
	FeishuSign     = `{"code":19021,"data":{},"msg":"sign match fail or timestamp is not within one hour from current time"}`
	FeishuIP       = `{"code":19022,"msg":"Ip Not Allowed"}`
	FeishuKeyword  = `{"code":19024,"data":{},"msg":"Key Words Not Found"}`
	FeishuBig      = `{"code":19036,"msg":"The message exceeds the size limit of 30KB"}`
	FeishuGateway  = `{"code":99991400,"msg":"request trigger frequency limit"}`
	feishuMaxBytes = 20_000
)

// Feishu is the custom bot of Feishu. Its checks are in the platform's order: token, IP, signature, keyword, type, size, card,
// rate.
type Feishu struct {
	// Token is the last part of the URL's path; Secret signs; both are checked if set.
	Token, Secret string
	// Keyword must be in a text of the message; empty: not checked.
	Keyword string
	// AllowIP lists the addresses that may send; empty: all.
	AllowIP []string
	// PerSecond and PerMinute bound the rate; 0 is no bound. The platform's are 5 and 100.
	PerSecond, PerMinute int

	rate rate
}

type feishuRequest struct {
	Timestamp string          `json:"timestamp"`
	Sign      string          `json:"sign"`
	MsgType   string          `json:"msg_type"`
	Content   json.RawMessage `json:"content"`
	Card      json.RawMessage `json:"card"`
}

// TooFast is code 11232.
func (*Feishu) TooFast() Answer { return Answer{Body: FeishuRate} }

// Refusal is code 19021.
func (*Feishu) Refusal() Answer { return Answer{Body: FeishuSign} }

// Judge checks a request to /open-apis/bot/v2/hook/TOKEN.
func (p *Feishu) Judge(r *http.Request, body []byte, now time.Time) (Answer, bool) {
	token, ok := strings.CutPrefix(r.URL.Path, "/open-apis/bot/v2/hook/")
	if !ok || r.Method != http.MethodPost {
		return Answer{Status: http.StatusNotFound, Body: "404 page not found"}, false
	}
	if p.Token != "" && token != p.Token {
		return Answer{Body: FeishuToken}, false
	}
	if host, _, _ := net.SplitHostPort(r.RemoteAddr); len(p.AllowIP) > 0 && !slices.Contains(p.AllowIP, host) {
		return Answer{Body: FeishuIP}, false
	}
	var m feishuRequest
	malformed := json.Unmarshal(body, &m) != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
	switch {
	case malformed:
		return Answer{Body: FeishuBadBody}, false
	case p.Secret != "" && !p.signed(&m, now):
		return Answer{Body: FeishuSign}, false
	case p.Keyword != "" && !hasKeyword(body, p.Keyword):
		return Answer{Body: FeishuKeyword}, false
	case !slices.Contains([]string{"text", "post", "image", "share_chat", "interactive"}, m.MsgType):
		return Answer{Body: FeishuMsgType}, false
	case len(body) > feishuMaxBytes:
		return Answer{Body: FeishuBadBody}, false
	case m.MsgType == "text" && !hasText(m.Content), m.MsgType == "post" && len(m.Content) == 0:
		return Answer{Body: FeishuBadBody}, false
	}
	if m.MsgType == "interactive" {
		if mistake := cardMistake(m.Card); mistake != "" {
			return Answer{Body: fmt.Sprintf(`{"code":11246,"data":{},"msg":%q}`, mistake)}, false
		}
	}
	p.rate.perSecond, p.rate.perMinute = p.PerSecond, p.PerMinute
	if p.rate.exceeded(now) {
		return p.TooFast(), false
	}
	return Answer{Body: FeishuOK}, true
}

func (p *Feishu) signed(m *feishuRequest, now time.Time) bool {
	seconds, err := strconv.ParseInt(m.Timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > time.Hour {
		return false
	}
	mac := hmac.New(sha256.New, []byte(m.Timestamp+"\n"+p.Secret))
	return hmac.Equal([]byte(m.Sign), []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))))
}

// hasKeyword looks into the values of text, title and content, not into links.
func hasKeyword(body []byte, keyword string) bool {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return false
	}
	var look func(key string, v any) bool
	look = func(key string, v any) bool {
		switch v := v.(type) {
		case string:
			return (key == "text" || key == "title" || key == "content") && strings.Contains(v, keyword)
		case map[string]any:
			for k, inner := range v {
				if look(k, inner) {
					return true
				}
			}
		case []any:
			for _, inner := range v {
				if look(key, inner) {
					return true
				}
			}
		}
		return false
	}
	return look("", v)
}

func hasText(content json.RawMessage) bool {
	var c struct{ Text string }
	return json.Unmarshal(content, &c) == nil && c.Text != ""
}

// cardTags lists the tags of card elements, and the properties that version 2.0 knows for them.
func cardTags() map[string][]string {
	return map[string][]string{
		"div":        {"text", "fields", "icon"},
		"markdown":   {"content", "text_align", "text_size", "icon", "href"},
		"hr":         {},
		"note":       {"elements"},
		"action":     {"actions", "layout"},
		"img":        {"img_key", "alt", "title", "mode", "scale_type", "size"},
		"column_set": {"columns", "flex_mode", "background_style", "horizontal_spacing"},
		"button":     {"text", "type", "behaviors", "url", "value", "size", "width", "icon", "disabled", "confirm"},
		"table":      {"columns", "rows", "page_size", "row_height", "header_style"},
	}
}

// cardMistake returns what Feishu would say against a card, empty if nothing.
func cardMistake(raw json.RawMessage) string {
	var card struct {
		Schema   string           `json:"schema"`
		Config   map[string]any   `json:"config"`
		Header   *json.RawMessage `json:"header"`
		Elements []map[string]any `json:"elements"`
		Body     *struct {
			Elements []map[string]any `json:"elements"`
		} `json:"body"`
	}
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &card) != nil {
		return "ErrCode: 200621; ErrMsg: parse card json err"
	}
	elements, strict := card.Elements, card.Schema == "2.0"
	if strict {
		if card.Elements != nil {
			return "ErrCode: 200621; ErrMsg: parse card json err; ErrorValue: unknown property, property: elements"
		}
		if update, set := card.Config["update_multi"]; set && update != true {
			return "ErrCode: 200621; ErrMsg: parse card json err; ErrorValue: update_multi"
		}
		if card.Body != nil {
			elements = card.Body.Elements
		}
	}
	if card.Header != nil {
		if mistake := headerMistake(*card.Header); mistake != "" {
			return mistake
		}
	}
	count := 0
	return elementsMistake(elements, strict, &count)
}

func headerMistake(raw json.RawMessage) string {
	var header struct {
		Title    struct{ Tag, Content string }
		Template string
	}
	colours := []string{"", "blue", "wathet", "turquoise", "green", "yellow", "orange", "red", "carmine", "violet", "purple", "indigo", "grey", "default"}
	switch err := json.NewDecoder(bytes.NewReader(raw)).Decode(&header); {
	case err != nil, header.Title.Tag != "plain_text" && header.Title.Tag != "lark_md":
		return "ErrCode: 200621; ErrMsg: parse card json err; ErrorValue: header"
	case !slices.Contains(colours, strings.ToLower(header.Template)):
		return "ErrCode: 200621; ErrMsg: parse card json err; ErrorValue: template"
	}
	return ""
}

func elementsMistake(elements []map[string]any, strict bool, count *int) string {
	tags := cardTags()
	for _, e := range elements {
		if *count++; strict && *count > 200 {
			return "ErrCode: 300305; ErrMsg: card contains more than 200 components"
		}
		tag, _ := e["tag"].(string)
		known, ok := tags[tag]
		if !ok || strict && (tag == "action" || tag == "note") {
			return "ErrCode: 11310; ErrMsg: unsupported type of block; ErrorValue: " + tag
		}
		if tag == "markdown" {
			if _, ok := e["content"].(string); !ok {
				return "ErrCode: 200621; ErrMsg: parse card json err; ErrorValue: content"
			}
		}
		for key := range e {
			if strict && key != "tag" && key != "element_id" && key != "margin" && !slices.Contains(known, key) {
				return "ErrCode: 200621; ErrMsg: parse card json err; ErrorValue: unknown property, property: " + key
			}
		}
	}
	return ""
}
