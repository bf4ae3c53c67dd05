package notify

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// The formats in which an engine can be given an incident as a record of its own.
const (
	// FormatEdgeEventer is one element of the incidents that webhook posts.
	FormatEdgeEventer = "edge-eventer"
	// FormatCloudEvents is a CloudEvent in structured mode, FormatCloudEventsBinary one whose attributes are headers.
	FormatCloudEvents       = "cloudevents"
	FormatCloudEventsBinary = "cloudevents-binary"
	// FormatKubeEventer is what kube-eventer's Kafka sink writes: EventValue holds the event as a JSON string, beside EventTimestamp and
	// EventTags. Source: AliyunContainerService/kube-eventer, sinks/kafka.
	FormatKubeEventer = "kube-eventer"
	// FormatEventrouter is what eventrouter writes: verb, event and, which nobody has here, old_event. Source:
	// heptiolabs/eventrouter, sinks/eventdata.go.
	FormatEventrouter = "eventrouter"
)

// Formats lists them.
func Formats() []string {
	return []string{FormatEdgeEventer, FormatCloudEvents, FormatCloudEventsBinary, FormatKubeEventer, FormatEventrouter}
}

// CheckFormat adds a mistake unless format is one of Formats.
func CheckFormat(format string, add AddMistake) {
	if !slices.Contains(Formats(), format) {
		add("format", "%q is unknown; allowed: %s", format, strings.Join(Formats(), ", "))
	}
}

// Encoded is a record.
type Encoded struct {
	Value []byte
	// Header are the headers that belong to the format, in the order in which they are written.
	Header []HeaderField
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

// Encode returns the incident in the format, at most limit bytes: the message is cut where it must be. Losses are in the formats that
// have a place for them, which are edge-eventer and the data of cloudevents.
func (c *Common) Encode(format string, in *Incident, losses []Loss, limit int) Encoded {
	switch format {
	case FormatCloudEvents:
		return Encoded{within(in, limit, func(text, field int) []byte {
			return toJSON(c.cloudEvent(in, documentOf(in, losses, text, field)))
		}), []HeaderField{{"content-type", cloudEventType}}}
	case FormatCloudEventsBinary:
		return c.binaryCloudEvent(in, losses, limit)
	case FormatKubeEventer:
		return Encoded{Value: within(in, limit, func(text, field int) []byte {
			return toJSON(kubeEventerPoint(in, text, field))
		})}
	case FormatEventrouter:
		return Encoded{Value: within(in, limit, func(text, field int) []byte {
			verb := "UPDATED"
			if in.Untold == in.Occurrences {
				verb = "ADDED"
			}
			return toJSON(struct {
				Verb  string         `json:"verb"`
				Event *documentEvent `json:"event"`
			}{verb, &incidentDocument(in, text, field).Event})
		})}
	}
	return Encoded{Value: record(in, losses, limit)}
}

// within encodes with less and less of the message, and only if there is none left of the other texts, until it has at most limit bytes.
func within(in *Incident, limit int, encode func(textLimit, fieldLimit int) []byte) []byte {
	text, field := min(limit, len(in.Message)), 1024
	for {
		b := encode(text, field)
		switch {
		case len(b) <= limit, text == 0 && field == 0:
			return b
		case text > 0:
			// In proportion, because escapes make a text up to 6 times as long.
			text = max(0, text*limit/len(b)-64)
		default:
			field /= 2
		}
	}
}

func documentOf(in *Incident, losses []Loss, text, field int) *documentIncident {
	d := incidentDocument(in, text, field)
	d.Losses = lossDocuments(losses)
	return d
}

// cloudEvent is a CloudEvent around data.
func (c *Common) cloudEvent(in *Incident, data any) *cloudEvent {
	receiver := cloudEvents{cfg: *c.config()}
	e := receiver.frame(in)
	e.Data = json.RawMessage(toJSON(data))
	return &e
}

func (c *Common) binaryCloudEvent(in *Incident, losses []Loss, limit int) Encoded {
	e := c.cloudEvent(in, nil)
	encoded := Encoded{
		Value: within(in, limit, func(text, field int) []byte { return toJSON(documentOf(in, losses, text, field)) }),
		Header: []HeaderField{
			{"content-type", e.ContentType}, {"ce_specversion", e.SpecVersion}, {"ce_id", e.ID}, {"ce_source", e.Source}, {"ce_type", e.Type},
		},
	}
	if e.Subject != "" {
		encoded.Header = append(encoded.Header, HeaderField{"ce_subject", e.Subject})
	}
	if !e.Time.IsZero() {
		encoded.Header = append(encoded.Header, HeaderField{"ce_time", e.Time.Format(time.RFC3339Nano)})
	}
	return encoded
}

type kubeEventer struct {
	EventValue     string
	EventTimestamp time.Time
	EventTags      map[string]string
}

func kubeEventerPoint(in *Incident, text, field int) *kubeEventer {
	e := &incidentDocument(in, text, field).Event
	tags := map[string]string{"eventID": e.Metadata.UID, "hostname": e.Source.Host}
	if e.InvolvedObject.Kind == "Pod" {
		tags["pod_id"], tags["pod_name"] = e.InvolvedObject.UID, e.InvolvedObject.Name
	}
	return &kubeEventer{EventValue: string(toJSON(e)), EventTimestamp: in.LastSeen.UTC(), EventTags: tags}
}
