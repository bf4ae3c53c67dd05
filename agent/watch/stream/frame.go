package stream

import (
	"encoding/json"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// FrameType says what a notification of a watch tells.
type FrameType string

// The types of frames (k8s.io/apimachinery/pkg/watch).
const (
	Added    FrameType = "ADDED"
	Modified FrameType = "MODIFIED"
	Deleted  FrameType = "DELETED"
	// Bookmark tells how far the watch is; its Event has a resourceVersion and nothing else.
	Bookmark FrameType = "BOOKMARK"
	// Error tells why the watch ends.
	Error FrameType = "ERROR"
)

// Frame is one notification of a watch.
type Frame struct {
	Type  FrameType
	Event event.Event
	// Unreadable says why the event cannot be read, in which case Event has an ObjectMeta only, with what it says of itself. It is nil
	// otherwise.
	Unreadable error
	// Status is the object of an Error: a metav1.Status as JSON.
	Status []byte
}

// Frame reads a notification. One that is none is a MalformedError; an event in it that cannot be read is no error. One that is too
// large is taken for an event that was added, unless it begins as one that was deleted.
func (r Raw) Frame() (Frame, error) {
	if r.tooLarge {
		h := readHead(r.data)
		f := Frame{Type: Added, Event: event.Event{ObjectMeta: h.meta}, Unreadable: errTooLarge}
		if h.frameType == string(Deleted) {
			f.Type = Deleted
		}
		return f, nil
	}
	var w struct {
		Type   FrameType `json:"type"`
		Object wireEvent `json:"object"`
	}
	if err := unmarshal(r.data, &w); err != nil {
		return Frame{}, Malformed("decode frame: %w", err)
	}
	f := Frame{Type: w.Type}
	switch w.Type {
	case Added, Modified, Deleted:
		if f.Event, f.Unreadable = w.Object.event(r.cut); f.Unreadable != nil {
			f.Event = event.Event{ObjectMeta: r.Meta()}
		}
	case Bookmark:
		f.Event.ResourceVersion = w.Object.Metadata.ResourceVersion
	case Error:
		var w struct {
			Object json.RawMessage `json:"object"`
		}
		if err := unmarshal(r.data, &w); err != nil {
			return Frame{}, Malformed("decode ERROR frame: %w", err)
		}
		f.Status = w.Object
	default:
		return Frame{}, Malformed("frame of unknown type %.64q", w.Type)
	}
	return f, nil
}
