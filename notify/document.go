package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// document is the JSON that webhook posts. DESIGN.md describes it and shows one. The events have the field names of core/v1, so
// that what reads events from the Kubernetes API reads these. Times are in UTC.
type document struct {
	Version   int               `json:"version"`
	Cluster   string            `json:"cluster,omitempty"`
	Batch     string            `json:"batch"`
	Incidents []json.RawMessage `json:"incidents"`
	Losses    []documentLoss    `json:"losses,omitempty"`
}

type documentLoss struct {
	Cause     string    `json:"cause"`
	Incidents uint64    `json:"incidents,omitempty"`
	Events    uint64    `json:"events,omitempty"`
	Since     time.Time `json:"since,omitzero"`
}

type documentIncident struct {
	ID          string         `json:"id"`
	Cluster     string         `json:"cluster,omitempty"`
	Severity    Severity       `json:"severity"`
	Workload    string         `json:"workload,omitempty"`
	Occurrences int            `json:"occurrences"`
	Untold      int            `json:"untold"`
	FirstSeen   time.Time      `json:"firstSeen,omitzero"`
	LastSeen    time.Time      `json:"lastSeen,omitzero"`
	Objects     []string       `json:"objects,omitempty"`
	ObjectCount int            `json:"objectCount,omitempty"`
	Own         bool           `json:"own,omitempty"`
	Event       documentEvent  `json:"event"`
	Losses      []documentLoss `json:"losses,omitempty"`
}

type documentEvent struct {
	Metadata           documentMetadata   `json:"metadata"`
	InvolvedObject     documentReference  `json:"involvedObject"`
	Reason             string             `json:"reason,omitempty"`
	Message            string             `json:"message,omitempty"`
	Source             documentSource     `json:"source,omitzero"`
	FirstTimestamp     time.Time          `json:"firstTimestamp,omitzero"`
	LastTimestamp      time.Time          `json:"lastTimestamp,omitzero"`
	Count              int32              `json:"count,omitempty"`
	Type               string             `json:"type,omitempty"`
	EventTime          time.Time          `json:"eventTime,omitzero"`
	Series             *documentSeries    `json:"series,omitempty"`
	Action             string             `json:"action,omitempty"`
	Related            *documentReference `json:"related,omitempty"`
	ReportingComponent string             `json:"reportingComponent,omitempty"`
	ReportingInstance  string             `json:"reportingInstance,omitempty"`
}

type documentMetadata struct {
	Name              string    `json:"name,omitempty"`
	Namespace         string    `json:"namespace,omitempty"`
	UID               string    `json:"uid,omitempty"`
	ResourceVersion   string    `json:"resourceVersion,omitempty"`
	CreationTimestamp time.Time `json:"creationTimestamp,omitzero"`
}

type documentReference struct {
	Kind            string `json:"kind,omitempty"`
	Namespace       string `json:"namespace,omitempty"`
	Name            string `json:"name,omitempty"`
	UID             string `json:"uid,omitempty"`
	APIVersion      string `json:"apiVersion,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	FieldPath       string `json:"fieldPath,omitempty"`
}

type documentSource struct {
	Component string `json:"component,omitempty"`
	Host      string `json:"host,omitempty"`
}

type documentSeries struct {
	Count            int32     `json:"count,omitempty"`
	LastObservedTime time.Time `json:"lastObservedTime,omitzero"`
}

// incidentDocument is the record of one incident. Its message is cut to textLimit bytes, every other text to fieldLimit.
func incidentDocument(in *Incident, textLimit, fieldLimit int) *documentIncident {
	short := func(text string) string { return prepared(text, fieldLimit, byteWidth, validText) }
	d := &documentIncident{
		ID:          short(in.ID),
		Cluster:     short(in.Cluster),
		Severity:    in.Severity,
		Workload:    short(in.Workload),
		Occurrences: in.Occurrences,
		Untold:      in.Untold,
		FirstSeen:   in.FirstSeen.UTC(),
		LastSeen:    in.LastSeen.UTC(),
		ObjectCount: in.ObjectCount,
		Own:         in.Own,
		Event:       eventDocument(&in.Event, short, func(text string) string { return prepared(text, textLimit, byteWidth, validText) }),
	}
	for _, name := range in.Objects[:min(len(in.Objects), 8)] {
		d.Objects = append(d.Objects, short(name))
	}
	return d
}

// eventDocument is an event with the field names of core/v1. The message goes through text, every other text through field.
func eventDocument(e *Event, field, text func(string) string) documentEvent {
	reference := func(o *ObjectReference) documentReference {
		return documentReference{
			field(o.Kind), field(o.Namespace), field(o.Name), field(o.UID), field(o.APIVersion), field(o.ResourceVersion), field(o.FieldPath),
		}
	}
	d := documentEvent{
		Metadata:           documentMetadata{field(e.Name), field(e.Namespace), field(e.UID), field(e.ResourceVersion), e.CreationTimestamp.UTC()},
		InvolvedObject:     reference(&e.InvolvedObject),
		Reason:             field(e.Reason),
		Message:            text(e.Message),
		Source:             documentSource{field(e.Source.Component), field(e.Source.Host)},
		FirstTimestamp:     e.FirstTimestamp.UTC(),
		LastTimestamp:      e.LastTimestamp.UTC(),
		Count:              e.Count,
		Type:               field(e.Type),
		EventTime:          e.EventTime.UTC(),
		Action:             field(e.Action),
		ReportingComponent: field(e.ReportingController),
		ReportingInstance:  field(e.ReportingInstance),
	}
	if e.Series != nil {
		d.Series = &documentSeries{e.Series.Count, e.Series.LastObservedTime.UTC()}
	}
	if e.Related != nil {
		related := reference(e.Related)
		d.Related = &related
	}
	return d
}

func lossDocuments(losses []Loss) []documentLoss {
	var d []documentLoss
	for _, l := range losses[:min(len(losses), 10)] {
		d = append(d, documentLoss{cutBytes(l.Cause, 64), l.Incidents, l.Events, l.Since.UTC()})
	}
	return d
}

// record encodes an incident, and losses beside it, within limit bytes. Where it is too large the message is cut, and only if
// there is none left the other texts.
func record(in *Incident, losses []Loss, limit int) []byte {
	return within(in, limit, func(text, field int) []byte { return toJSON(documentOf(in, losses, text, field)) })
}

// batchID is the same for the same incidents and losses, in the same order.
func batchID(incidents []Incident, losses []Loss) string {
	h := sha256.New()
	for i := range incidents {
		_, _ = fmt.Fprintf(h, "%d:%s\n", len(incidents[i].ID), incidents[i].ID)
	}
	for _, l := range losses {
		_, _ = fmt.Fprintf(h, "loss %s %d %d %d\n", l.Cause, l.Incidents, l.Events, l.Since.UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
