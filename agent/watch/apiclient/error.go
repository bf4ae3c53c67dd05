package apiclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
)

const (
	// MaxErrorBody is how many bytes are read of an answer that is not 200 OK.
	MaxErrorBody = 64 << 10
	// maxRetryAfter bounds what the API server may ask for: its own priority and fairness asks for seconds.
	maxRetryAfter = time.Minute
)

var (
	// ErrStalled says that nothing arrived for too long.
	ErrStalled = errors.New("no byte arrived for too long")
	// ErrOverdue says that an answer was ended because the API server did not end it.
	ErrOverdue = errors.New("the API server did not end the request in time")
)

// wireStatus is the part of a metav1.Status that matters here.
type wireStatus struct {
	Kind     string `json:"kind"`
	Code     int    `json:"code"`
	Reason   string `json:"reason"`
	Message  string `json:"message"`
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Details struct {
		RetryAfterSeconds int `json:"retryAfterSeconds"`
	} `json:"details"`
}

// Error is an error that the API server told, by an HTTP status or by an ERROR frame of a watch.
type Error struct {
	// Code is that of HTTP, Reason one of the words of metav1.StatusReason. Message is at most 1 KiB.
	Code    int
	Reason  string
	Message string
	// RetryAfter is how long the API server wants to be left alone, at most maxRetryAfter; 0: it did not say.
	RetryAfter time.Duration
	// Continue is offered with an expired continue token: it goes on from the same key, but at another resourceVersion.
	Continue string
}

// Error returns code, reason and message.
func (e *Error) Error() string {
	message := e.Message
	if message == "" {
		message = http.StatusText(e.Code)
	}
	return fmt.Sprintf("%d %s: %s", e.Code, e.Reason, message)
}

func (e *Error) fill(s *wireStatus) {
	if s.Code != 0 {
		e.Code = s.Code
	}
	e.Reason = stream.Text(s.Reason)
	e.Message = stream.Text(s.Message)
	e.Continue = s.Metadata.Continue
	e.retryAfter(s.Details.RetryAfterSeconds)
}

func (e *Error) retryAfter(seconds int) {
	if seconds > 0 {
		e.RetryAfter = max(e.RetryAfter, min(time.Duration(seconds)*time.Second, maxRetryAfter))
	}
}

// StatusError returns the error that a metav1.Status tells, as an ERROR frame of a watch has it.
func StatusError(status []byte) error {
	var s wireStatus
	// What cannot be read of it is left out: that it is an error is known.
	_ = json.Unmarshal(status, &s)
	refusal := new(Error)
	refusal.fill(&s)
	return refusal
}

// Gone reports whether err says that a resourceVersion or a continue token is too old. The code is 410; the reason is
// Expired or Gone (apimachinery pkg/api/errors, IsResourceExpired and IsGone).
func Gone(err error) bool {
	refusal, ok := errors.AsType[*Error](err)
	return ok && (refusal.Code == http.StatusGone || refusal.Reason == "Expired" || refusal.Reason == "Gone")
}
