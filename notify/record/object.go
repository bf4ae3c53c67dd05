package record

import (
	"encoding/json"
	"fmt"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// object is an event as the Kubernetes API writes it: a core/v1 object.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	documentEvent
}

// EventObject returns an event as an object of core/v1, as `kubectl get event -o json` prints it.
func EventObject(e *event.Event) ([]byte, error) {
	whole := func(text string) string { return text }
	data, err := json.Marshal(object{"v1", "Event", eventDocument(e, whole, whole)})
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return data, nil
}

// ParseObject reads what EventObject returned.
func ParseObject(data []byte) (event.Event, error) {
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		return event.Event{}, fmt.Errorf("decode event: %w", err)
	}
	reference := func(r *documentReference) event.Reference {
		return event.Reference{
			Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, UID: r.UID, APIVersion: r.APIVersion, ResourceVersion: r.ResourceVersion,
			FieldPath: r.FieldPath,
		}
	}
	e := event.Event{
		ObjectMeta: event.ObjectMeta{
			Name: o.Metadata.Name, Namespace: o.Metadata.Namespace, UID: o.Metadata.UID, ResourceVersion: o.Metadata.ResourceVersion,
			CreationTimestamp: o.Metadata.CreationTimestamp,
		},
		InvolvedObject: reference(&o.InvolvedObject),
		Reason:         o.Reason, Message: o.Message,
		Source:         event.Source{Component: o.Source.Component, Host: o.Source.Host},
		FirstTimestamp: o.FirstTimestamp, LastTimestamp: o.LastTimestamp,
		Count: o.Count, Type: o.Type, EventTime: o.EventTime, Action: o.Action,
		ReportingController: o.ReportingComponent, ReportingInstance: o.ReportingInstance,
	}
	if o.Series != nil {
		e.Series = &event.Series{Count: o.Series.Count, LastObservedTime: o.Series.LastObservedTime}
	}
	if o.Related != nil {
		related := reference(o.Related)
		e.Related = &related
	}
	return e, nil
}
