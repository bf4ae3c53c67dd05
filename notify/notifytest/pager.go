package notifytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Ntfy is a server of ntfy that takes JSON at its root.
type Ntfy struct{}

// TooFast is 429 without Retry-After, which ntfy never sends.
func (Ntfy) TooFast() Answer {
	return Answer{Status: http.StatusTooManyRequests, Body: `{"code":42901,"http":429,"error":"limit reached: too many requests"}`}
}

// Refusal is 403.
func (Ntfy) Refusal() Answer {
	return Answer{Status: http.StatusForbidden, Body: `{"code":40301,"http":403,"error":"forbidden"}`}
}

// Judge checks a request.
func (p Ntfy) Judge(r *http.Request, body []byte, now time.Time) (Answer, bool) {
	var m struct {
		Topic, Title, Message string
		Priority              int
	}
	refuse := func(code int, text string) (Answer, bool) {
		return Answer{Status: code / 100, Body: fmt.Sprintf(`{"code":%d,"http":%d,"error":%q}`, code, code/100, text)}, false
	}
	switch {
	case r.Header.Get("Authorization") == "":
		return p.Refusal(), false
	case r.URL.Path != "/" || json.Unmarshal(body, &m) != nil:
		return refuse(40024, "invalid request: request body must be valid JSON")
	case m.Topic == "":
		return refuse(40009, "invalid request: topic invalid")
	case m.Priority < 1 || m.Priority > 5:
		return refuse(40007, "invalid request: priority parameter is invalid")
	case len(m.Message) > 4096 || len(body) > 8192:
		return refuse(40014, "invalid request: attachments not allowed")
	}
	return Answer{Body: fmt.Sprintf(`{"id":"xE73Iyuabi","time":%d,"event":"message","topic":%q}`, now.Unix(), m.Topic)}, true
}

// PagerDuty is its Events API v2.
type PagerDuty struct{}

// TooFast is 429.
func (PagerDuty) TooFast() Answer { return Answer{Status: http.StatusTooManyRequests} }

// Refusal is the 400 to a key that is none.
func (PagerDuty) Refusal() Answer {
	return Answer{Status: http.StatusBadRequest, Body: `{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' is invalid"]}`}
}

// Judge checks a request.
func (p PagerDuty) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	var m struct {
		RoutingKey  string `json:"routing_key"`
		EventAction string `json:"event_action"`
		DedupKey    string `json:"dedup_key"`
		Payload     struct{ Summary, Source, Severity string }
	}
	runes := func(text string) int { return len([]rune(text)) }
	switch {
	case r.URL.Path != "/v2/enqueue" || json.Unmarshal(body, &m) != nil, len(m.RoutingKey) != 32:
		return p.Refusal(), false
	case m.EventAction != "trigger", m.Payload.Source == "", m.Payload.Summary == "", runes(m.Payload.Summary) > 1024, runes(m.DedupKey) > 255,
		!slices.Contains([]string{"critical", "error", "warning", "info"}, m.Payload.Severity), len(body) > 512<<10:
		return Answer{Status: http.StatusBadRequest, Body: `{"status":"invalid event","message":"Event object is invalid","errors":["payload"]}`}, false
	}
	return Answer{Status: http.StatusAccepted, Body: fmt.Sprintf(`{"status":"success","message":"Event processed","dedup_key":%q}`, m.DedupKey)}, true
}
