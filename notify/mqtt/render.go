package mqtt

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// maxTopic bounds a topic. Brokers limit its levels too.
	maxTopic = 1024
	// frame is what a message takes beside its payload, its topic and its properties.
	frame = 16
)

// Render makes a request of the messages that go to one topic. Both forms are the same.
func (r *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	return r.grouped().Render(m, "PUBLISH")
}

// Group returns the topic of the incident's message.
func (r *receiver) Group(in *notify.Incident) string { return r.grouped().Group(in) }

func (r *receiver) grouped() *record.Grouped {
	return &record.Grouped{Common: r.common, Batch: r.config.Batch, Topic: r.topicOf, Record: r.record, Size: sizeOf}
}

func (r *receiver) topicOf(in *notify.Incident, now time.Time) (string, error) {
	topic, err := r.topic.Execute(in, now)
	if err != nil {
		return "", err
	}
	return topicName(topic), nil
}

// topicName is a topic that a broker takes: neither empty nor too long, and not one of the broker's own.
func topicName(topic string) string {
	topic = untrusted.CutBytes(topic, maxTopic)
	if topic == "" || strings.HasPrefix(topic, "$") {
		return "-" + strings.TrimPrefix(topic, "$")
	}
	return topic
}

func sizeOf(r *notify.Record) int {
	size := frame + maxTopic + len(r.Value)
	for _, h := range r.Header {
		size += len(h.Name) + len(h.Value) + 5
	}
	return size
}

// record is a message: its properties are the headers. What is in the payload is not told twice.
func (r *receiver) record(in *notify.Incident, losses []notify.Loss, _ time.Time) (notify.Record, error) {
	made := notify.Record{Time: in.LastSeen}
	if r.config.Format == record.FormatKubeEventer || r.config.Format == record.FormatEventrouter {
		made.Header = append(made.Header, notify.HeaderField{Name: "edge-eventer-id", Value: untrusted.Line(in.ID, 256)},
			notify.HeaderField{Name: "cluster", Value: r.common.Cluster})
		for _, label := range slices.Sorted(maps.Keys(r.common.Labels)) {
			made.Header = append(made.Header, notify.HeaderField{Name: label, Value: r.common.Labels[label]})
		}
	}
	encoded := record.Encode(&r.common, r.config.Format, in, losses, int(r.config.Batch.MaxBytes)-sizeOf(&made)-1<<10)
	for _, h := range encoded.Header {
		// The attributes of a CloudEvent are properties of the same name. Source: cloudevents/spec, bindings/mqtt-protocol-binding.md.
		h.Name = strings.TrimPrefix(h.Name, "ce_")
		made.Header = append(made.Header, h)
	}
	made.Value = encoded.Value
	return made, nil
}

// messages are the packets of a request, without their topic and number.
func messages(request *notify.Request) []*packets.Publish {
	all := make([]*packets.Publish, len(request.Records))
	for i := range request.Records {
		made := &request.Records[i]
		p := &packets.Publish{Payload: made.Value, QoS: 1, Properties: &packets.Properties{}}
		for _, h := range made.Header {
			if h.Name == "content-type" {
				p.Properties.ContentType = h.Value
				continue
			}
			p.Properties.User = append(p.Properties.User, packets.User{Key: h.Name, Value: h.Value})
		}
		all[i] = p
	}
	return all
}

// state is the payload of the state topic.
type state struct {
	State   string            `json:"state"`
	Cluster string            `json:"cluster,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Version string            `json:"version,omitempty"`
	// At is when the agent said so; it is missing in the last will, which the agent says before its time.
	At time.Time `json:"at,omitzero"`
}

// The states of a site. lost is said by the broker.
const (
	up      = "up"
	stopped = "stopped"
	lost    = "lost"
)

func (r *receiver) state(name string) []byte {
	s := state{State: name, Cluster: r.common.Cluster, Labels: r.common.Labels, Version: r.common.Version}
	if name != lost {
		s.At = time.Now().UTC().Truncate(time.Second)
	}
	// Its values are plain.
	b, _ := json.Marshal(s)
	return b
}

// stateTopicName returns where the state goes, "" for nowhere.
func (r *receiver) stateTopicName() string {
	if r.stateTopic == nil {
		return ""
	}
	now := time.Now()
	itself := r.common.LossIncident(&notify.Message{Now: now})
	topic, err := r.stateTopic.Execute(&itself, now)
	if err != nil {
		return ""
	}
	return topicName(topic)
}
