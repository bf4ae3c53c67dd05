package notify

import (
	"encoding/json"
	"fmt"
)

// object is an event as the Kubernetes API writes it: a core/v1 object.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	documentEvent
}

// EventObject returns an event as an object of core/v1, as `kubectl get event -o json` prints it.
func EventObject(e *Event) ([]byte, error) {
	whole := func(text string) string { return text }
	data, err := json.Marshal(object{"v1", "Event", eventDocument(e, whole, whole)})
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return data, nil
}

// ParseObject reads what EventObject returned.
func ParseObject(data []byte) (Event, error) {
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	reference := func(r *documentReference) ObjectReference {
		return ObjectReference{r.Kind, r.Namespace, r.Name, r.UID, r.APIVersion, r.ResourceVersion, r.FieldPath}
	}
	e := Event{
		ObjectMeta: ObjectMeta{
			o.Metadata.Name, o.Metadata.Namespace, o.Metadata.UID, o.Metadata.ResourceVersion, o.Metadata.CreationTimestamp,
		},
		InvolvedObject: reference(&o.InvolvedObject),
		Reason:         o.Reason, Message: o.Message,
		Source:         EventSource{o.Source.Component, o.Source.Host},
		FirstTimestamp: o.FirstTimestamp, LastTimestamp: o.LastTimestamp,
		Count: o.Count, Type: o.Type, EventTime: o.EventTime, Action: o.Action,
		ReportingController: o.ReportingComponent, ReportingInstance: o.ReportingInstance,
	}
	if o.Series != nil {
		e.Series = &EventSeries{o.Series.Count, o.Series.LastObservedTime}
	}
	if o.Related != nil {
		related := reference(o.Related)
		e.Related = &related
	}
	return e, nil
}
