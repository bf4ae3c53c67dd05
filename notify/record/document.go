package record

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// batchKey is the length of a BatchKey.
const batchKey = 20

// document is the JSON that webhook posts. DESIGN.md describes it and shows one. The events have the field names of core/v1, so
// that what reads events from the Kubernetes API reads these. Times are in UTC.
type document struct {
	Version   int               `json:"version"`
	Cluster   string            `json:"cluster,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
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
	ID      string `json:"id"`
	Cluster string `json:"cluster,omitempty"`
	// Labels are those of the site. In a batch they stand beside its incidents, as does Cluster.
	Labels      map[string]string `json:"labels,omitempty"`
	Severity    notify.Severity   `json:"severity"`
	Workload    string            `json:"workload,omitempty"`
	Occurrences int               `json:"occurrences"`
	Untold      int               `json:"untold"`
	FirstSeen   time.Time         `json:"firstSeen,omitzero"`
	LastSeen    time.Time         `json:"lastSeen,omitzero"`
	Objects     []string          `json:"objects,omitempty"`
	ObjectCount int               `json:"objectCount,omitempty"`
	Own         bool              `json:"own,omitempty"`
	Event       documentEvent     `json:"event"`
	Losses      []documentLoss    `json:"losses,omitempty"`
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
func incidentDocument(in *notify.Incident, textLimit, fieldLimit int) *documentIncident {
	short := func(text string) string {
		return untrusted.Prepared(text, fieldLimit, untrusted.Bytes, untrusted.Valid)
	}
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
		Event:       eventDocument(&in.Event, short, func(text string) string { return untrusted.Prepared(text, textLimit, untrusted.Bytes, untrusted.Valid) }),
	}
	for _, name := range in.Objects[:min(len(in.Objects), 8)] {
		d.Objects = append(d.Objects, short(name))
	}
	return d
}

// eventDocument is an event with the field names of core/v1. The message goes through text, every other text through field.
func eventDocument(e *event.Event, field, text func(string) string) documentEvent {
	reference := func(o *event.Reference) documentReference {
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

func lossDocuments(losses []notify.Loss) []documentLoss {
	var d []documentLoss
	for _, l := range losses[:min(len(losses), 10)] {
		d = append(d, documentLoss{untrusted.CutBytes(l.Cause, 64), l.Incidents, l.Events, l.Since.UTC()})
	}
	return d
}

// One encodes an incident, and losses beside it, within limit bytes. Where it is too large the message is cut, and only if
// there is none left the other texts.
func One(c *notify.Common, in *notify.Incident, losses []notify.Loss, limit int) []byte {
	return within(in, limit, func(text, field int) []byte { return notify.JSON(documentOf(c, in, losses, text, field)) })
}

// compact leaves out what stands in the document already: the one object that is affected, the second name of who reported the event, and
// the time of creation.
func (d *documentIncident) compact() {
	e := &d.Event
	if len(d.Objects) == 1 && d.ObjectCount <= 1 && d.Objects[0] == e.InvolvedObject.Name {
		d.Objects, d.ObjectCount = nil, 0
	}
	if e.ReportingComponent == e.Source.Component {
		e.ReportingComponent = ""
	}
	if e.ReportingInstance == e.Source.Host {
		e.ReportingInstance = ""
	}
	if e.Metadata.CreationTimestamp.Equal(e.FirstTimestamp) {
		e.Metadata.CreationTimestamp = time.Time{}
	}
}

// BatchKey is the same for the same first n incidents and the losses: 80 bits, which no compression makes shorter.
func BatchKey(m *notify.Message, n int) string {
	return notify.BatchID(m.Incidents[:n], m.Losses)[:batchKey]
}

// Batch encodes the document that webhook posts, of leading incidents, as many as limit bytes and most allow but at least the first if there
// is one, and returns how many those are. Losses are beside the incidents, and so is what is the same for all of them.
func Batch(c *notify.Common, m *notify.Message, most, limit int) (body []byte, incidents int) {
	// The frame around the incidents is bounded: a few causes of loss, a cluster's name, labels.
	d := document{
		Version: 1, Cluster: c.Cluster, Labels: c.Labels, Batch: strings.Repeat("0", batchKey),
		Incidents: []json.RawMessage{}, Losses: lossDocuments(m.Losses),
	}
	limit -= len(notify.JSON(d))
	size := 0
	for i := range m.Incidents[:min(len(m.Incidents), most)] {
		in := &m.Incidents[i]
		b := within(in, limit-1, func(text, field int) []byte {
			one := documentOf(c, in, nil, text, field)
			one.Labels = nil
			if one.Cluster == c.Cluster {
				one.Cluster = ""
			}
			return notify.JSON(one)
		})
		if size += len(b) + 1; size > limit {
			break
		}
		d.Incidents = append(d.Incidents, b)
	}
	d.Batch = BatchKey(m, len(d.Incidents))
	return notify.JSON(d), len(d.Incidents)
}
