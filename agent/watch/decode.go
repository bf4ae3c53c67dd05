package watch

import "github.com/edge-eventer/edge-eventer/agent/event"

// DecodeEvent reads one core/v1 Event as `kubectl get event -o json` prints it, by the rules that hold for events of the API
// server: times that are none are left out, texts are cut to their limits, and an event without uid or resourceVersion is an error.
func DecodeEvent(data []byte) (event.Event, error) { return decodeEvent(raw{data: data}) }
