package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
)

var (
	// ErrHeldBack says that the sink took a change only after a long time. What the connection holds by then is as old, and says
	// nothing of what is; so the watch is opened again at its position.
	ErrHeldBack = errors.New("the sink held the watch back")
	// ErrClosedAtOnce says that a watch ended without a word: a 200 that ends at once without a frame is how some API servers answer
	// a position that is too old (kubernetes/kubernetes#104171).
	ErrClosedAtOnce = errors.New("the watch was closed at once without a word")
)

// SinkError is an error of the sink.
type SinkError struct{ Err error }

// Error returns the error of the sink.
func (e *SinkError) Error() string { return e.Err.Error() }

// Unwrap returns it.
func (e *SinkError) Unwrap() error { return e.Err }

// Step is what failed.
type Step string

// The steps, as a log names them.
const (
	StepPosition Step = "read the position"
	StepList     Step = "list"
	StepWatch    Step = "watch"
)

// reason sorts a failure into a word and a sentence for the operator.
func reason(namespace string, s Step, err error) (word, sentence string) {
	if _, ok := errors.AsType[*SinkError](err); ok {
		return "sink", "events cannot be taken"
	}
	if refusal, ok := errors.AsType[*apiclient.Error](err); ok {
		switch {
		case apiclient.Gone(err):
			return "expired", "the API server keeps forgetting the position before it is reached"
		case refusal.Code == http.StatusUnauthorized:
			return "unauthorized", "the API server refused the credential (401 Unauthorized): it is expired, revoked or of another cluster"
		case refusal.Code == http.StatusForbidden:
			where := "in all namespaces"
			if namespace != "" {
				where = "in namespace " + namespace
			}
			return "forbidden", fmt.Sprintf("the agent may not %s events %s (403 Forbidden): it needs get, list and watch on events", s, where)
		case refusal.Code == http.StatusTooManyRequests:
			return "throttled", "the API server is too busy (429 Too Many Requests)"
		}
		return "refused", fmt.Sprintf("the API server answered %d", refusal.Code)
	}
	if _, ok := errors.AsType[*stream.MalformedError](err); ok {
		return "malformed", "the API server's answer cannot be read"
	}
	switch {
	case errors.Is(err, apiclient.ErrStalled), errors.Is(err, apiclient.ErrOverdue), errors.Is(err, context.DeadlineExceeded):
		return "stalled", "the API server does not answer in time"
	case errors.Is(err, ErrClosedAtOnce):
		return "closed", "the API server keeps closing the watch at once"
	}
	return "unreachable", "the API server cannot be reached"
}
