package notify

import "github.com/edge-eventer/edge-eventer/agent/event"

// The names under which events were known here before package event; they go when nothing uses them any more.
type (
	// Event is event.Event.
	Event = event.Event
	// ObjectMeta is event.ObjectMeta.
	ObjectMeta = event.ObjectMeta
	// ObjectReference is event.Reference.
	ObjectReference = event.Reference
	// EventSource is event.Source.
	EventSource = event.Source
	// EventSeries is event.Series.
	EventSeries = event.Series
)
