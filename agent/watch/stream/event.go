package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

const (
	// MaxMessage is how many bytes of a message are kept. Through core/v1 the API server takes messages of any length.
	MaxMessage = 16 << 10
	// MaxField is how many bytes of any other text are kept. Names have at most 253, reasons 128 through events.k8s.io.
	MaxField = 1 << 10
)

// wireEvent is a core/v1 Event as JSON, without what no receiver uses: managedFields alone are half of an event.
// The names are those of k8s.io/api/core/v1, types.go; ReportingController is called reportingComponent there.
type wireEvent struct {
	Metadata struct {
		Name              string   `json:"name"`
		Namespace         string   `json:"namespace"`
		UID               string   `json:"uid"`
		ResourceVersion   string   `json:"resourceVersion"`
		CreationTimestamp wireTime `json:"creationTimestamp"`
	} `json:"metadata"`
	InvolvedObject wireReference `json:"involvedObject"`
	Reason         string        `json:"reason"`
	Message        string        `json:"message"`
	Source         struct {
		Component string `json:"component"`
		Host      string `json:"host"`
	} `json:"source"`
	FirstTimestamp wireTime `json:"firstTimestamp"`
	LastTimestamp  wireTime `json:"lastTimestamp"`
	Count          int32    `json:"count"`
	Type           string   `json:"type"`
	EventTime      wireTime `json:"eventTime"`
	Series         *struct {
		Count            int32    `json:"count"`
		LastObservedTime wireTime `json:"lastObservedTime"`
	} `json:"series"`
	Action              string         `json:"action"`
	Related             *wireReference `json:"related"`
	ReportingController string         `json:"reportingComponent"`
	ReportingInstance   string         `json:"reportingInstance"`
}

type wireReference struct {
	Kind            string `json:"kind"`
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	UID             string `json:"uid"`
	APIVersion      string `json:"apiVersion"`
	ResourceVersion string `json:"resourceVersion"`
	FieldPath       string `json:"fieldPath"`
}

// wireTime is a metav1.Time or MicroTime. null, and what is no time, is the zero time: an event is worth telling even
// if one of its five times is not.
type wireTime struct{ time.Time }

func (t *wireTime) UnmarshalJSON(b []byte) error {
	t.Time = time.Time{}
	if len(b) < 2 || b[0] != '"' {
		return nil
	}
	// No time has an escape sequence when it is written by a JSON encoder: what is between the quotes is the text.
	if parsed, err := time.Parse(time.RFC3339Nano, string(b[1:len(b)-1])); err == nil {
		t.Time = event.BoundTime(parsed.UTC())
	}
	return nil
}

// DecodeEvent reads one core/v1 Event as `kubectl get event -o json` prints it, by the rules that hold for events of the API
// server: times that are none are left out, texts are cut to MaxMessage and MaxField, and an event without uid or resourceVersion is
// an error.
func DecodeEvent(data []byte) (event.Event, error) { return Raw{data: data}.Event() }

// Event reads an event of a list. An event without UID or with a resourceVersion that is no number cannot be told from others, and is
// an error, as is one that is too large.
func (r Raw) Event() (event.Event, error) {
	if r.tooLarge {
		return event.Event{}, errTooLarge
	}
	var w wireEvent
	if err := unmarshal(r.data, &w); err != nil {
		return event.Event{}, fmt.Errorf("decode event: %w", err)
	}
	return w.event(r.cut)
}

// unmarshal leaves a field empty that is of a wrong type.
func unmarshal(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}

// event converts.
func (w *wireEvent) event(alreadyCut int) (event.Event, error) {
	if w.Metadata.UID == "" {
		return event.Event{}, fmt.Errorf("event %.64q has no uid", w.Metadata.Name)
	}
	if _, err := event.ParseResourceVersion(w.Metadata.ResourceVersion); err != nil {
		return event.Event{}, fmt.Errorf("event %.64q: %w", w.Metadata.Name, err)
	}
	e := event.Event{
		ObjectMeta: event.ObjectMeta{
			Name:              Text(w.Metadata.Name),
			Namespace:         Text(w.Metadata.Namespace),
			UID:               Text(w.Metadata.UID),
			ResourceVersion:   w.Metadata.ResourceVersion,
			CreationTimestamp: w.Metadata.CreationTimestamp.Time,
		},
		InvolvedObject:      w.InvolvedObject.reference(),
		Reason:              Text(w.Reason),
		Message:             cut(w.Message, MaxMessage, alreadyCut),
		Source:              event.Source{Component: Text(w.Source.Component), Host: Text(w.Source.Host)},
		FirstTimestamp:      w.FirstTimestamp.Time,
		LastTimestamp:       w.LastTimestamp.Time,
		Count:               w.Count,
		Type:                Text(w.Type),
		EventTime:           w.EventTime.Time,
		Action:              Text(w.Action),
		ReportingController: Text(w.ReportingController),
		ReportingInstance:   Text(w.ReportingInstance),
	}
	if w.Series != nil {
		e.Series = &event.Series{Count: w.Series.Count, LastObservedTime: w.Series.LastObservedTime.Time}
	}
	if w.Related != nil {
		related := w.Related.reference()
		e.Related = &related
	}
	return e, nil
}

func (w *wireReference) reference() event.Reference {
	return event.Reference{
		Kind:            Text(w.Kind),
		Namespace:       Text(w.Namespace),
		Name:            Text(w.Name),
		UID:             Text(w.UID),
		APIVersion:      Text(w.APIVersion),
		ResourceVersion: Text(w.ResourceVersion),
		FieldPath:       Text(w.FieldPath),
	}
}

// Text returns s as every text but a message is kept: cut to MaxField bytes on a rune boundary, with a word on how many are missing.
func Text(s string) string { return cut(s, MaxField, 0) }

// cut shortens s to at most limit bytes on a rune boundary and says behind it how many bytes are missing, those that
// were left out before included. encoding/json has already replaced what is not UTF-8.
func cut(s string, limit, alreadyCut int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d more bytes)", s[:end], len(s)-end+alreadyCut)
}
