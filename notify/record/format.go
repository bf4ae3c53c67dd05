package record

import (
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
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
func CheckFormat(format string, add notify.AddMistake) { checkFormat(format, Formats(), add) }

// CheckBodyFormat is CheckFormat for a receiver whose records have no headers.
func CheckBodyFormat(format string, add notify.AddMistake) {
	checkFormat(format, slices.DeleteFunc(Formats(), func(f string) bool { return f == FormatCloudEventsBinary }), add)
}

func checkFormat(format string, allowed []string, add notify.AddMistake) {
	if !slices.Contains(allowed, format) {
		add("format", "%q is unknown; allowed: %s", format, strings.Join(allowed, ", "))
	}
}

// Encoded is a record.
type Encoded struct {
	Value []byte
	// Header are the headers that belong to the format, in the order in which they are written.
	Header []notify.HeaderField
}

// Encode returns the incident in the format, at most limit bytes: the message is cut where it must be. Losses are in the formats that
// have a place for them, which are edge-eventer and the data of cloudevents.
func Encode(c *notify.Common, format string, in *notify.Incident, losses []notify.Loss, limit int) Encoded {
	switch format {
	case FormatCloudEvents:
		return Encoded{within(in, limit, func(text, field int) []byte {
			e := frame(c, in)
			e.Data = notify.JSON(documentOf(c, in, losses, text, field))
			return notify.JSON(e)
		}), []notify.HeaderField{{Name: "content-type", Value: CloudEventType}}}
	case FormatCloudEventsBinary:
		return binaryCloudEvent(c, in, losses, limit)
	case FormatKubeEventer:
		return Encoded{Value: within(in, limit, func(text, field int) []byte {
			return notify.JSON(kubeEventerPoint(in, text, field))
		})}
	case FormatEventrouter:
		return Encoded{Value: within(in, limit, func(text, field int) []byte {
			verb := "UPDATED"
			if in.Untold == in.Occurrences {
				verb = "ADDED"
			}
			return notify.JSON(struct {
				Verb  string         `json:"verb"`
				Event *documentEvent `json:"event"`
			}{verb, &incidentDocument(in, text, field).Event})
		})}
	}
	return Encoded{Value: One(c, in, losses, limit)}
}

// EncodeTelling is Encode for a record that tells the losses whatever its format: where there is no place for them, they stand above the
// message of the event.
func EncodeTelling(c *notify.Common, format string, in *notify.Incident, losses []notify.Loss, limit int) Encoded {
	if len(losses) == 0 || format != FormatKubeEventer && format != FormatEventrouter {
		return Encode(c, format, in, losses, limit)
	}
	var lines []string
	for i := range losses[:min(len(losses), notify.MaxLosses)] {
		lines = append(lines, notify.LossText(&losses[i]))
	}
	if in.Message != "" {
		lines = append(lines, in.Message)
	}
	telling := *in
	telling.Message = strings.Join(lines, "\n")
	return Encode(c, format, &telling, nil, limit)
}

// within encodes with less and less of the message, and only if there is none left of the other texts, until it has at most limit bytes.
func within(in *notify.Incident, limit int, encode func(textLimit, fieldLimit int) []byte) []byte {
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

func documentOf(c *notify.Common, in *notify.Incident, losses []notify.Loss, text, field int) *documentIncident {
	d := incidentDocument(in, text, field)
	d.Labels, d.Losses = c.Labels, lossDocuments(losses)
	d.compact()
	return d
}

func binaryCloudEvent(c *notify.Common, in *notify.Incident, losses []notify.Loss, limit int) Encoded {
	e := frame(c, in)
	encoded := Encoded{
		Value: within(in, limit, func(text, field int) []byte { return notify.JSON(documentOf(c, in, losses, text, field)) }),
		Header: []notify.HeaderField{
			{Name: "content-type", Value: e.ContentType}, {Name: "ce_specversion", Value: e.SpecVersion}, {Name: "ce_id", Value: e.ID}, {Name: "ce_source", Value: e.Source}, {Name: "ce_type", Value: e.Type},
		},
	}
	if e.Subject != "" {
		encoded.Header = append(encoded.Header, notify.HeaderField{Name: "ce_subject", Value: e.Subject})
	}
	if !e.Time.IsZero() {
		encoded.Header = append(encoded.Header, notify.HeaderField{Name: "ce_time", Value: e.Time.Format(time.RFC3339Nano)})
	}
	return encoded
}

type kubeEventer struct {
	EventValue     string
	EventTimestamp time.Time
	EventTags      map[string]string
}

func kubeEventerPoint(in *notify.Incident, text, field int) *kubeEventer {
	e := &incidentDocument(in, text, field).Event
	tags := map[string]string{"eventID": e.Metadata.UID, "hostname": e.Source.Host}
	if e.InvolvedObject.Kind == "Pod" {
		tags["pod_id"], tags["pod_name"] = e.InvolvedObject.UID, e.InvolvedObject.Name
	}
	return &kubeEventer{EventValue: string(notify.JSON(e)), EventTimestamp: in.LastSeen.UTC(), EventTags: tags}
}
