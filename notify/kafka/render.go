package kafka

import (
	"maps"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/template"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// recordFrame is what a record takes beside its value, key and headers.
const recordFrame = 64

// Render makes a request of the records that go to one topic. Both forms are the same.
func (r *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	return r.grouped().Render(m, "PRODUCE")
}

// Group returns the topic of the incident's record.
func (r *receiver) Group(in *notify.Incident) string { return r.grouped().Group(in) }

func (r *receiver) grouped() *record.Grouped {
	return &record.Grouped{Common: r.common, Batch: r.config.Batch, Topic: r.topicOf, Record: r.record, Size: sizeOf}
}

func (r *receiver) topicOf(in *notify.Incident, now time.Time) (string, error) {
	topic, err := r.topic.Execute(in, now)
	if err != nil {
		return "", err
	}
	return template.KafkaTopic(topic), nil
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
