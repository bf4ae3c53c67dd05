package elasticsearch

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// maxText bounds every text but the message: a name has at most 253 bytes.
const maxText = 512

// document is one content of an incident. The names are fixed and no key comes from the cluster, so that no mapping grows or breaks
// with what an operator names his things. What is empty is left out.
type document struct {
	Timestamp time.Time         `json:"@timestamp"`
	Message   string            `json:"message"`
	Cluster   string            `json:"cluster,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	ID        string            `json:"id"`
	Severity  string            `json:"severity,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Type      string            `json:"type,omitempty"`
	Namespace string            `json:"namespace,omitempty"`
	Kind      string            `json:"kind,omitempty"`
	Name      string            `json:"name,omitempty"`
	Workload  string            `json:"workload,omitempty"`
	FieldPath string            `json:"fieldPath,omitempty"`
	ObjectUID string            `json:"objectUid,omitempty"`
	EventName string            `json:"eventName,omitempty"`
	EventUID  string            `json:"eventUid,omitempty"`
	Component string            `json:"component,omitempty"`
	Host      string            `json:"host,omitempty"`
	// Count is that of the event, Occurrences that of the incident, Untold what is new in it since the last document.
	Count       int       `json:"count,omitempty"`
	Occurrences int       `json:"occurrences,omitempty"`
	Untold      int       `json:"untold,omitempty"`
	FirstSeen   time.Time `json:"firstSeen,omitzero"`
	Objects     []string  `json:"objects,omitempty"`
	Own         bool      `json:"own,omitempty"`
	// Lost and Cause are of a document that tells a loss; Lost is 0 where nobody knows how much.
	Lost  *uint64 `json:"lost,omitempty"`
	Cause string  `json:"cause,omitempty"`
}

// encode returns the two lines of an incident in a bulk request, at most limit bytes: the message is cut where it must be.
func (r *receiver) encode(in *notify.Incident, limit int) []byte {
	text := min(limit, len(in.Message)+1)
	for {
		pair := lines(untrusted.Raw(in.ID, maxText), r.document(in, text))
		if len(pair) <= limit || text == 0 {
			return pair
		}
		// In proportion, because escapes make a text up to six times as long.
		text = max(0, text*limit/len(pair)-64)
	}
}

func (r *receiver) document(in *notify.Incident, textLimit int) *document {
	e := &in.Event
	short := func(text string) string { return untrusted.Raw(text, maxText) }
	d := &document{
		Timestamp: in.LastSeen.UTC(), Message: untrusted.Raw(e.Message, textLimit),
		Cluster: r.common.Cluster, Labels: r.common.Labels, ID: short(in.ID), Severity: string(in.Severity),
		Reason: short(e.Reason), Type: short(e.Type), Namespace: short(e.InvolvedObject.Namespace),
		Kind: short(e.InvolvedObject.Kind), Name: short(e.InvolvedObject.Name), Workload: short(in.Workload),
		FieldPath: short(e.InvolvedObject.FieldPath), ObjectUID: short(e.InvolvedObject.UID),
		EventName: short(e.Name), EventUID: short(e.UID), Component: short(in.Reporter()), Host: short(in.Host()),
		Count: min(e.Observed(), 1<<31-1), Occurrences: in.Occurrences, Untold: in.Untold, FirstSeen: in.FirstSeen.UTC(), Own: in.Own,
	}
	if len(in.Objects) == 1 && in.Objects[0] == e.InvolvedObject.Name {
		// It is the name already.
		return d
	}
	for _, name := range in.Objects {
		d.Objects = append(d.Objects, short(name))
	}
	return d
}

// encodeLoss returns the two lines of a loss. Its ID holds what was lost, so that a repeat is a conflict, and a larger loss is not.
func (r *receiver) encodeLoss(l *notify.Loss, now time.Time) []byte {
	id := notify.LossID(r.common.Cluster, r.common.Name, l)
	return lines(id, &document{
		Timestamp: now.UTC(), Message: notify.LossText(l), Cluster: r.common.Cluster, Labels: r.common.Labels,
		ID: id, Severity: string(notify.Warning), Reason: "EventsLost", Own: true, FirstSeen: l.Since.UTC(),
		Lost: &l.Events, Cause: untrusted.Raw(l.Cause, maxText),
	})
}

func lines(id string, d *document) []byte {
	type action struct {
		ID string `json:"_id"`
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, line := range []any{map[string]action{"create": {id}}, d} {
		if err := e.Encode(line); err != nil {
			// The values are this package's own and plain, so encoding cannot fail.
			panic("elasticsearch: encode a document: " + err.Error())
		}
	}
	return b.Bytes()
}
