package notifytest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Webhook takes JSON at any path. It honours the Idempotency-Key: a repeated one is answered but not taken again.
type Webhook struct {
	// Token must be in the Authorization header as a bearer token; empty: not checked.
	Token string
	// Answer is what a taken message is answered with. Default: 204 without a body.
	Answer Answer

	mu   sync.Mutex
	seen map[string]bool
}

// TooFast is 429 with Retry-After: 7.
func (*Webhook) TooFast() Answer {
	return Answer{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": strconv.Itoa(7)}}
}

// Refusal is 401.
func (*Webhook) Refusal() Answer { return Answer{Status: http.StatusUnauthorized, Body: "wrong token"} }

// Judge checks a request.
func (p *Webhook) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	answer := p.Answer
	if answer.Status == 0 && answer.Body == "" {
		answer.Status = http.StatusNoContent
	}
	switch {
	case r.Method != http.MethodPost && r.Method != http.MethodPut:
		return Answer{Status: http.StatusMethodNotAllowed}, false
	case p.Token != "" && r.Header.Get("Authorization") != "Bearer "+p.Token:
		return Answer{Status: http.StatusUnauthorized, Body: "wrong token"}, false
	case !json.Valid(body):
		return Answer{Status: http.StatusBadRequest, Body: "not JSON"}, false
	}
	key := r.Header.Get("Idempotency-Key")
	p.mu.Lock()
	defer p.mu.Unlock()
	if key != "" && p.seen[key] {
		return answer, false
	}
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	p.seen[key] = true
	return answer, true
}
