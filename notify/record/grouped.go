package record

import (
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
)

// Grouped makes the requests of a receiver that takes each incident as a record of its own, and the records of a request at one place,
// such as a topic.
type Grouped struct {
	Common notify.Common
	Batch  notify.Batch
	// Topic returns where the record of an incident goes.
	Topic func(in *notify.Incident, now time.Time) (string, error)
	// Record makes the record of an incident and of the losses beside it.
	Record func(in *notify.Incident, losses []notify.Loss, now time.Time) (notify.Record, error)
	// Size returns what a record takes of Batch.MaxBytes.
	Size func(*notify.Record) int
}

// Render makes a record of the first incident and of all others that go to the same topic, and of the losses one of their own behind
// them. The method is a word for people: no HTTP is spoken.
func (g *Grouped) Render(m *notify.Message, method string) (*notify.Request, error) {
	request := &notify.Request{Method: method, Time: m.Now, Losses: m.LossesIn(notify.LossesWhole)}
	first := g.Common.LossIncident(m)
	if len(m.Incidents) > 0 {
		first = m.Incidents[0]
	}
	topic, err := g.Topic(&first, m.Now)
	if err != nil {
		return nil, err
	}
	request.Group, request.Topic = topic, topic
	size := 0
	var losses []notify.Record
	if len(m.Losses) > 0 {
		made, err := g.losses(m)
		if err != nil {
			return nil, err
		}
		losses, size = []notify.Record{made}, g.Size(&made)
	}
	for i := range m.Incidents {
		in := &m.Incidents[i]
		if name, err := g.Topic(in, m.Now); err != nil || name != topic {
			continue
		}
		made, err := g.Record(in, nil, m.Now)
		if err != nil && i == 0 {
			return nil, err
		}
		if size += g.Size(&made); len(request.Records) == g.Batch.Max || i > 0 && (err != nil || size > int(g.Batch.MaxBytes)) {
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
func (g *Grouped) Group(in *notify.Incident) string {
	// An error is met again, and told, when the incident is rendered.
	topic, _ := g.Topic(in, time.Time{})
	return topic
}

func (g *Grouped) losses(m *notify.Message) (notify.Record, error) {
	lost := g.Common.LossIncident(m)
	var texts []string
	for i := range m.Losses {
		texts = append(texts, notify.LossText(&m.Losses[i]))
	}
	lost.Message = strings.Join(texts, "; ")
	return g.Record(&lost, m.Losses, m.Now)
}
