package notifytest

import (
	"encoding/json"
	"net/http"
	"time"
)

// Worktile is an incoming webhook of Worktile. What it answers is not documented; this is a guess that receivers must not rely on.
type Worktile struct {
	// Path is the secret path, such as /incoming/TOKEN; checked if set.
	Path string
}

// TooFast is 429.
func (*Worktile) TooFast() Answer { return Answer{Status: http.StatusTooManyRequests} }

// Refusal is 404.
func (*Worktile) Refusal() Answer { return Answer{Status: http.StatusNotFound, Body: `{"code":404}`} }

// Judge checks a request.
func (p *Worktile) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	if p.Path != "" && r.URL.Path != p.Path || r.Method != http.MethodPost {
		return Answer{Status: http.StatusNotFound, Body: `{"code":404}`}, false
	}
	var m struct {
		Text       string
		Attachment *struct{ Fallback, Text string }
	}
	if json.Unmarshal(body, &m) != nil || m.Text == "" && m.Attachment == nil || m.Attachment != nil && (m.Attachment.Fallback == "" || m.Attachment.Text == "") {
		return Answer{Status: http.StatusBadRequest, Body: `{"code":400}`}, false
	}
	return Answer{Body: `{"code":200}`}, true
}
