package control

import (
	"context"
	"errors"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/notify/record"
)

// Errors that the caller can act on.
var (
	// ErrNoEntry is returned when no record and no dead letter has the id.
	ErrNoEntry = errors.New("nothing in the spool has this id")
	// ErrAmbiguous is returned when several have.
	ErrAmbiguous = errors.New("several entries begin with this id: give more of it, or --receiver")
	// ErrNoQueue is returned when the spool has no queue of that name.
	ErrNoQueue = errors.New("the spool has no queue for this receiver")
)

// Entry is a record or a dead letter of a queue.
type Entry struct {
	Receiver string `json:"receiver"`
	// ID is the record's key in hexadecimal. A beginning of at least 4 characters that only one entry has is enough to name it.
	ID     string    `json:"id"`
	Dead   bool      `json:"dead,omitempty"`
	Seq    uint64    `json:"seq"`
	Added  time.Time `json:"added"`
	Due    time.Time `json:"due"`
	Untold uint32    `json:"untold"`
	Bytes  int       `json:"bytes"`
	// Refused is when a dead letter was refused, Reason why, and Answer the beginning of what the receiver answered.
	Refused time.Time `json:"refused,omitzero"`
	Reason  string    `json:"reason,omitempty"`
	Answer  string    `json:"answer,omitempty"`
	// Incident is what the record holds; nil where it cannot be decoded, and Undecoded says why.
	Incident  *Incident `json:"incident,omitempty"`
	Undecoded string    `json:"undecoded,omitempty"`
}

// Incident is an incident in a queue with its latest event.
type Incident struct {
	Workload    string    `json:"workload"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Occurrences uint32    `json:"occurrences"`
	Told        uint32    `json:"told"`
	ToldAt      time.Time `json:"toldAt,omitzero"`
	Objects     []string  `json:"objects"`
	Own         bool      `json:"own,omitempty"`
	Event       Event     `json:"event"`
}

// Event is an event that is written as an object of core/v1, as kubectl prints it.
type Event struct{ event.Event }

// MarshalJSON writes the object.
func (e Event) MarshalJSON() ([]byte, error) { return record.EventObject(&e.Event) }

// UnmarshalJSON reads the object.
func (e *Event) UnmarshalJSON(data []byte) (err error) {
	e.Event, err = record.ParseObject(data)
	return err
}

// Query asks for a page of entries.
type Query struct {
	// Receiver names the queue. Empty: the first; Page.Next leads through all of them.
	Receiver string `json:"receiver"`
	// After is the Next of the page before.
	After Cursor `json:"after"`
}

// Cursor is a place among the entries. The zero value is the beginning.
type Cursor struct {
	Receiver string `json:"receiver,omitempty"`
	Dead     bool   `json:"dead,omitempty"`
	Seq      uint64 `json:"seq,omitempty"`
}

// Page is a part of the entries, in the order of receivers, for each the waiting records first, oldest first.
type Page struct {
	Entries []Entry `json:"entries"`
	// Next is nil on the last page.
	Next *Cursor `json:"next,omitempty"`
}

// Selection names entries to change.
type Selection struct {
	// Receiver names the queue; empty: any.
	Receiver string `json:"receiver"`
	// IDs are ids or beginnings of them. Empty: everything in the queue of Receiver, which must be named then.
	IDs []string `json:"ids"`
}

// Result says what was changed.
type Result struct {
	Records int    `json:"records"`
	Events  uint64 `json:"events"`
	// Kept are sentences about what was asked for and left as it is.
	Kept []string `json:"kept,omitempty"`
}

// Queues is what an operator does with the queues. SpoolQueues does it on an open spool, Client asks the agent to.
type Queues interface {
	Entries(ctx context.Context, q Query) (Page, error)
	Retry(ctx context.Context, s Selection) (Result, error)
	Drop(ctx context.Context, s Selection) (Result, error)
	Silences(ctx context.Context, _ struct{}) ([]*silence.Silence, error)
	AddSilence(ctx context.Context, s silence.Silence) (silence.Silence, error)
	ExpireSilences(ctx context.Context, ids IDs) ([]*silence.Silence, error)
}
