package notifytest

import (
	"encoding/json"
	"net/http"
	"time"
)

// Slack is an incoming webhook of Slack.
type Slack struct {
	// Path is the secret path, such as /services/T/B/X; checked if set.
	Path string
	// PerSecond bounds the rate; 0 is no bound. The platform's is 1, with short bursts.
	PerSecond int

	rate rate
}

// TooFast is 429 with Retry-After: 30.
func (*Slack) TooFast() Answer {
	return Answer{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "30"}, Body: "rate_limited"}
}

// Refusal is 403 with invalid_token.
func (*Slack) Refusal() Answer { return Answer{Status: http.StatusForbidden, Body: "invalid_token"} }

// Judge checks a request.
func (p *Slack) Judge(r *http.Request, body []byte, now time.Time) (Answer, bool) {
	refuse := func(status int, word string) (Answer, bool) { return Answer{Status: status, Body: word}, false }
	if p.Path != "" && r.URL.Path != p.Path {
		return refuse(http.StatusNotFound, "no_service")
	}
	if r.Method != http.MethodPost {
		return refuse(http.StatusBadRequest, "invalid_payload")
	}
	var m struct {
		Text        string
		Blocks      []json.RawMessage
		Attachments []struct {
			Fallback, Text string
			Blocks         []json.RawMessage
		}
	}
	p.rate.perSecond = p.PerSecond
	switch {
	case json.Unmarshal(body, &m) != nil:
		return refuse(http.StatusBadRequest, "invalid_payload")
	case m.Text == "" && len(m.Blocks) == 0 && len(m.Attachments) == 0:
		return refuse(http.StatusBadRequest, "no_text")
	case len(m.Attachments) > 100:
		return refuse(http.StatusBadRequest, "too_many_attachments")
	}
	for _, a := range m.Attachments {
		if a.Fallback == "" && a.Text == "" && len(a.Blocks) == 0 {
			return refuse(http.StatusBadRequest, "missing_text_or_fallback_or_attachments")
		}
	}
	if p.rate.exceeded(now) {
		return p.TooFast(), false
	}
	return Answer{Header: map[string]string{"Content-Type": "text/html"}, Body: "ok"}, true
}
