package kafka

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/template"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// recordFrame is what a record takes beside its value, key and headers.
const recordFrame = 64

// Render makes a record of the first incident and of all others that go to the same topic, and of the losses one of their own behind
// them. Both forms are the same.
func (r *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	request := &notify.Request{Method: "PRODUCE", Time: m.Now, Losses: m.LossesIn(notify.LossesWhole)}
	first := r.common.LossIncident(m)
	if len(m.Incidents) > 0 {
		first = m.Incidents[0]
	}
	topic, err := r.topicOf(&first, m.Now)
	if err != nil {
		return nil, err
	}
	request.Group, request.Topic = topic, topic
	size := 0
	var losses []notify.Record
	if len(m.Losses) > 0 {
		made, err := r.lossRecord(m)
		if err != nil {
			return nil, err
		}
		losses, size = []notify.Record{made}, sizeOf(&made)
	}
	for i := range m.Incidents {
		in := &m.Incidents[i]
		if name, err := r.topicOf(in, m.Now); err != nil || name != topic {
			continue
		}
		made, err := r.record(in, nil, m.Now)
		if err != nil && i == 0 {
			return nil, err
		}
		if size += sizeOf(&made); len(request.Records) == r.config.Batch.Max || i > 0 && (err != nil || size > int(r.config.Batch.MaxBytes)) {
			break
		}
		request.Records = append(request.Records, made)
		request.Taken = append(request.Taken, i)
	}
	request.Incidents = len(request.Taken)
	request.Records = append(request.Records, losses...)
	return request, nil
}

// Group returns the topic of the incident's record.
func (r *receiver) Group(in *notify.Incident) string {
	// An error is met again, and told, when the incident is rendered.
	topic, _ := r.topicOf(in, time.Time{})
	return topic
}

func (r *receiver) topicOf(in *notify.Incident, now time.Time) (string, error) {
	topic, err := r.topic.Execute(in, now)
	if err != nil {
		return "", err
	}
	return template.KafkaTopic(topic), nil
}

func (r *receiver) lossRecord(m *notify.Message) (notify.Record, error) {
	lost := r.common.LossIncident(m)
	var texts []string
	for i := range m.Losses {
		texts = append(texts, notify.LossText(&m.Losses[i]))
	}
	lost.Message = strings.Join(texts, "; ")
	return r.record(&lost, m.Losses, m.Now)
}

func sizeOf(r *notify.Record) int {
	size := recordFrame + len(r.Key) + len(r.Value)
	for _, h := range r.Header {
		size += len(h.Name) + len(h.Value) + 8
	}
	return size
}

func (r *receiver) record(in *notify.Incident, losses []notify.Loss, now time.Time) (notify.Record, error) {
	key, err := r.key.Execute(in, now)
	if err != nil {
		return notify.Record{}, err
	}
	made := notify.Record{Key: untrusted.Line(key, 512), Time: in.LastSeen}
	for _, name := range slices.Sorted(maps.Keys(r.config.Headers)) {
		made.Header = append(made.Header, notify.HeaderField{Name: name, Value: r.config.Headers[name]})
	}
	made.Header = append(made.Header, notify.HeaderField{Name: "edge-eventer-id", Value: untrusted.Line(in.ID, 256)},
		notify.HeaderField{Name: "cluster", Value: r.common.Cluster})
	for _, label := range slices.Sorted(maps.Keys(r.common.Labels)) {
		made.Header = append(made.Header, notify.HeaderField{Name: label, Value: r.common.Labels[label]})
	}
	encoded := record.Encode(&r.common, r.config.Format, in, losses, int(r.config.Batch.MaxBytes)-sizeOf(&made)-1<<10)
	made.Header = append(made.Header, encoded.Header...)
	made.Value = encoded.Value
	return made, nil
}
