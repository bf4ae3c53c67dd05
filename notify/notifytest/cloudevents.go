package notifytest

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// CloudEvents takes CloudEvents 1.0 in structured mode at any path. It keeps one of several with the same source and id.
type CloudEvents struct {
	// Batched takes batches too; without it a batch is refused, since it was not asked for.
	Batched bool

	mu   sync.Mutex
	seen map[string]bool
}

// TooFast is 429 with the Retry-After that the specification demands.
func (*CloudEvents) TooFast() Answer {
	return Answer{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "11"}}
}

// Unique counts the events with different source and id.
func (p *CloudEvents) Unique() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.seen)
}

// Refusal is 401.
func (*CloudEvents) Refusal() Answer { return Answer{Status: http.StatusUnauthorized} }

// Judge checks a request.
func (p *CloudEvents) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	if r.Method != http.MethodPost {
		return Answer{Status: http.StatusMethodNotAllowed}, false
	}
	type event struct {
		SpecVersion, ID, Source, Type, Subject string
		Time                                   *time.Time
		DataContentType                        string
		Data                                   json.RawMessage
	}
	var events []event
	var err error
	switch mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); {
	case mediaType == "application/cloudevents+json":
		events = make([]event, 1)
		err = json.Unmarshal(body, &events[0])
	case mediaType == "application/cloudevents-batch+json" && p.Batched:
		err = json.Unmarshal(body, &events)
	default:
		return Answer{Status: http.StatusUnsupportedMediaType}, false
	}
	if err != nil {
		return Answer{Status: http.StatusBadRequest, Body: err.Error()}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	for _, e := range events {
		if e.SpecVersion != "1.0" || e.ID == "" || e.Source == "" || e.Type == "" {
			return Answer{Status: http.StatusBadRequest, Body: "missing attribute"}, false
		}
		p.seen[e.Source+" "+e.ID] = true
	}
	return Answer{Status: http.StatusAccepted}, true
}
