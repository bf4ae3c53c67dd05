package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Receiver is a destination. Its methods may be called by one goroutine at a time.
type Receiver interface {
	// Render builds the request that tells m, and says how many of m.Incidents are in it: at least one if there are
	// any, fewer than all where the platform's size limit allows no more. The request never exceeds that limit.
	// Nothing that expires, such as a signature, is in it.
	Render(m *Message, form Form) (*Request, error)

	// Send signs and posts the request. It returns nil only if the receiver's own answer says that the message was
	// taken, and otherwise an *Error. It returns within the deadline of ctx.
	Send(ctx context.Context, r *Request) error

	// Limits says what the platform's documentation allows.
	Limits() Limits

	// Close releases idle connections.
	Close()
}

// Keeper is a Receiver that may hold a connection while nothing is sent, so that the far end can tell that the site is gone.
type Keeper interface {
	// Keep holds the connection, if the configuration asks for one, and returns when ctx has ended. It may run beside every other method.
	// mayDial returns nil when there is a way out, and an error when ctx has ended.
	Keep(ctx context.Context, mayDial func(ctx context.Context) error)
}

// Grouper is a Receiver whose requests each go to one of several places.
type Grouper interface {
	// Group returns the Request.Group of the request that would tell the incident, empty where that cannot be said.
	Group(in *Incident) string
}

// Limits are what a platform documents.
type Limits struct {
	// PerSecond and PerMinute bound the requests; 0 is no bound.
	PerSecond, PerMinute int
	// Batch bounds the incidents offered to one Render, BatchBytes the sum of their sizes in the spool.
	Batch      int
	BatchBytes int64
	// Digest says that a person reads the messages, so that a backlog is better summed up than told one by one.
	Digest bool
	// AvoidHalfHours says that the platform is overloaded at whole and half hours and asks to stay away from them.
	AvoidHalfHours bool
	// OldestFirst says that a machine keeps what is sent by its time, and refuses or drops what comes late: a backlog goes in its
	// order, not the worst and newest first.
	OldestFirst bool
}

// Request is a rendered message. It is what `edge-eventer render` prints and what golden files hold.
type Request struct {
	// Method and Header are those of HTTP. The URL is a secret of the receiver and not part of the request.
	Method string
	Header map[string]string
	Body   []byte
	// Records stand in place of the body where the receiver takes each incident as a record of its own: first those of Indexes, then
	// one of the losses if Losses says that there is one.
	Records []Record
	// Incidents is how many of the message's incidents are in the body.
	Incidents int
	// Taken lists which incidents of the message are in the body, by index in rising order. Nil: the first Incidents of
	// them. Only kafka-rest sets it, because one request goes to one topic.
	Taken []int
	// Group names the place within the receiver that the request goes to, where it has several, such as topics: one that fails must
	// not hold what goes to others. Empty: there is one.
	Group string
	// Topic is where the records of kafka-rest, kafka and mqtt go.
	Topic string
	// Losses is the part of the request that tells the message's losses. They are told only once that part is confirmed.
	Losses LossPart
	// Time is the Now of the message.
	Time time.Time

	// Data is what templates in the receiver's URL and headers see. Send executes them, since the results are secrets.
	Data any
}

// Record is a record of a Request whose receiver takes each incident as one of its own.
type Record struct {
	// Key decides the order in which records are kept.
	Key    string
	Header []HeaderField
	Value  []byte
	// Time is when the incident was last seen.
	Time time.Time
}

// HeaderField is a header of a record.
type HeaderField struct{ Name, Value string }

// LossPart is the part of a request that tells the losses of its message.
type LossPart int

const (
	// LossesNowhere says that no part tells them: the message has none, or its form has no place for them.
	LossesNowhere LossPart = iota
	// LossesWhole says that the request tells them beside its incidents: they are told when all of it was taken.
	LossesWhole
	// LossesFirst says that the record of the first incident of Indexes tells them, whatever becomes of the others.
	LossesFirst
)

// LossesTold reports whether an answer confirmed the part that tells the losses; err is what Send returned.
func (r *Request) LossesTold(err error) bool {
	if err == nil {
		return r.Losses != LossesNowhere
	}
	e, ok := errors.AsType[*Error](err)
	return ok && r.Losses == LossesFirst && len(e.Refused) > 0 && !slices.Contains(e.Refused, 0)
}

// Indexes returns which incidents of the message are in the body, by index in rising order.
func (r *Request) Indexes() []int {
	if r.Taken != nil {
		return r.Taken
	}
	indexes := make([]int, r.Incidents)
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

// Outcome says what an answer means for the message and for its receiver.
type Outcome int

const (
	// Retry says that nothing is wrong with the message or the receiver: send the same content later.
	Retry Outcome = iota
	// BadPayload says that this message will never be taken as it is; others may.
	BadPayload
	// BadTarget says that the receiver takes no message (wrong token, bot removed, signature refused): keep the queue, probe slowly.
	BadTarget
)

// String returns the outcome as it stands in logs and metric labels.
func (o Outcome) String() string {
	switch o {
	case Retry:
		return "retry"
	case BadPayload:
		return "bad_payload"
	case BadTarget:
		return "bad_target"
	}
	return fmt.Sprintf("outcome(%d)", int(o))
}

// Error is a send that the receiver did not confirm. Its text holds no URL, no token and no header.
type Error struct {
	Outcome Outcome
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Code is the platform's own code, as it stands in the answer.
	Code string
	// Reason is what an operator can act on: a sentence without a full stop.
	Reason string
	// RetryAfter is how long the receiver asked to wait, 0 if it did not.
	RetryAfter time.Duration
	// Answer is the beginning of the answer, at most 1 KiB, with secrets removed.
	Answer []byte
	// Refused lists the incidents of the request that were not taken when all others were, as positions in what
	// Request.Indexes returns. Nil: none was taken.
	Refused []int
	// Outcomes are those of Refused, one each. Nil: each has Outcome.
	Outcomes []Outcome
	// GroupOnly says that nothing is wrong with the receiver beyond Request.Group: a topic that is missing or forbidden.
	GroupOnly bool
	// Err is the cause, where there is one below this package.
	Err error
}

// OutcomeOfRefused returns the outcome of the incident at a position in Refused.
func (e *Error) OutcomeOfRefused(at int) Outcome {
	if at < len(e.Outcomes) {
		return e.Outcomes[at]
	}
	return e.Outcome
}

// Answered reports whether the receiver looked at the message, so that another one may have another fate. That it wants fewer of
// them is no such answer.
func (e *Error) Answered() bool {
	return (e.Status != 0 || e.Code != "") && e.Status != 429 && e.RetryAfter == 0
}

// Error returns the reason with the platform's code and the HTTP status where they are known.
func (e *Error) Error() string {
	text := e.Reason
	if e.Code != "" {
		text += " (code " + e.Code + ")"
	}
	if e.Status != 0 && e.Status != 200 {
		text += fmt.Sprintf(" (HTTP status %d)", e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// OutcomeOf returns the outcome that err carries; an error that carries none is to be retried.
func OutcomeOf(err error) Outcome {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Outcome
	}
	return Retry
}

// Request is a POST of a body of the given content type that tells the first incidents of m, and its losses.
func (m *Message) Request(contentType string, body []byte, incidents int) *Request {
	return &Request{
		Method: http.MethodPost, Header: map[string]string{"Content-Type": contentType}, Body: body, Incidents: incidents, Time: m.Now,
		Losses: m.LossesIn(LossesWhole),
	}
}

// JSON encodes without the escapes for HTML, which cost 5 bytes for each bracket. The values are the receivers' own and plain trees,
// so encoding cannot fail.
func JSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("notify: encode a request: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
