package kafkarest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/template"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// contentType is matched by Strimzi's bridge as an exact string: with a charset behind it the answer is 500.
const contentType = "application/vnd.kafka.json.v2+json"

// receiver produces records through the Strimzi Kafka Bridge or the Confluent REST Proxy, API v2.
//
// Protocol: strimzi/strimzi-kafka-bridge, openapi.json; confluentinc/kafka-rest, resources/v2. One request goes to one topic. The value of a
// record is an incident as in webhook's document, its key the incident's ID: neither bridge recognizes a repeat, so consumers can.
// A bridge whose brokers are away answers after 60 seconds: timeout should be longer.
type receiver struct {
	*notify.Poster

	config *Config
	common notify.Common
	topic  *template.Text
}

type records struct {
	Records []producedRecord `json:"records"`
}

type producedRecord struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Limits bounds a batch by the configuration.
func (k *receiver) Limits() notify.Limits {
	return notify.Limits{Batch: k.config.Batch.Max, BatchBytes: k.config.Batch.MaxBytes}
}

// Render takes the first incident and all others that go to the same topic. Losses are in the first record. Both forms are the same.
func (k *receiver) Render(m *notify.Message, _ notify.Form) (*notify.Request, error) {
	if len(m.Incidents) == 0 {
		return k.renderLosses(m)
	}
	var (
		records records
		taken   []int
		topic   string
		size    = len(`{"records":[]}`)
		losses  = m.Losses
	)
	for i := range m.Incidents {
		in := &m.Incidents[i]
		name, err := k.topicOf(in, m.Now)
		switch {
		case err != nil && i == 0:
			return nil, err
		case err != nil || i > 0 && name != topic:
			continue
		}
		topic = name
		record := k.record(in, losses)
		added := len(record.Value) + len(record.Key) + len(`{"key":"","value":},`)
		if len(taken) == k.config.Batch.Max || len(taken) > 0 && size+added > int(k.config.Batch.MaxBytes) {
			break
		}
		size += added
		records.Records = append(records.Records, record)
		taken = append(taken, i)
		losses = nil
	}
	r := m.Request(contentType, notify.JSON(records), len(taken))
	r.Group = topic
	r.Taken, r.Topic, r.Losses = taken, topic, m.LossesIn(notify.LossesFirst)
	return r, nil
}

// record encodes an incident with room for its key.
func (k *receiver) record(in *notify.Incident, losses []notify.Loss) producedRecord {
	key := untrusted.Line(in.ID, 256)
	return producedRecord{Key: key, Value: record.EncodeTelling(&k.common, k.config.Format, in, losses, int(k.config.Batch.MaxBytes)-2*len(key)-64).Value}
}

func (k *receiver) renderLosses(m *notify.Message) (*notify.Request, error) {
	in := k.common.LossIncident(m)
	topic, err := k.topicOf(&in, m.Now)
	if err != nil {
		return nil, err
	}
	r := m.Request(contentType, notify.JSON(records{[]producedRecord{k.record(&in, m.Losses)}}), 0)
	r.Group, r.Topic = topic, topic
	return r, nil
}

// Group returns the topic of the incident's record.
func (k *receiver) Group(in *notify.Incident) string {
	topic, err := k.topicOf(in, time.Time{})
	if err != nil {
		return ""
	}
	return topic
}

// topicOf executes the template. Characters that no topic may have become a line.
func (k *receiver) topicOf(in *notify.Incident, now time.Time) (string, error) {
	text, err := k.topic.Execute(in, now)
	if err != nil {
		return "", fmt.Errorf("execute template: %w", err)
	}
	return template.KafkaTopic(text), nil
}

// Send posts the request.
func (k *receiver) Send(ctx context.Context, r *notify.Request) error {
	to, err := notify.TargetOf(k.config.URL, k.config.Headers)
	if err != nil {
		return err
	}
	to, err = to.WithPath("/topics/" + r.Topic)
	if err != nil {
		return err
	}
	return k.Exchange(ctx, to, r, func(a *notify.Answer) error { return k.verdict(a, r) })
}

type reply struct {
	Offsets []offset
	// ErrorCode and Message are about the request as a whole.
	ErrorCode *int64 `json:"error_code"`
	Message   string
}

// offset is the fate of a record: where it was written, or why not. The text is called message by Strimzi and error by Confluent, whose
// error_code is null when all is well.
type offset struct {
	Offset    *int64
	ErrorCode *int64 `json:"error_code"`
	Message   string
	Error     string
}

// verdict reads the fate of each record: status 200 says nothing about it.
func (k *receiver) verdict(a *notify.Answer, r *notify.Request) error {
	if a.Broken != nil {
		return a.Broken
	}
	var reply reply
	err := json.Unmarshal(a.Body, &reply)
	records := max(1, r.Incidents)
	switch {
	case err == nil && len(reply.Offsets) > 0 && len(reply.Offsets) == records:
		return k.fates(a, reply.Offsets)
	case err == nil && reply.ErrorCode != nil && a.Status/100 != 2:
		return k.refused(a, *reply.ErrorCode, untrusted.Quoted(reply.Message))
	}
	return a.Foreign("the Kafka bridge")
}

func (k *receiver) fates(a *notify.Answer, offsets []offset) error {
	var refused []int
	var outcomes []notify.Outcome
	var first *offset
	ofTopic := true
	for i := range offsets {
		o := &offsets[i]
		if o.ErrorCode == nil && o.Error == "" && o.Offset != nil && *o.Offset >= 0 {
			continue
		}
		if first == nil {
			first = o
		}
		outcome, alone := o.fate()
		refused, outcomes = append(refused, i), append(outcomes, outcome)
		ofTopic = ofTopic && alone
	}
	if first == nil {
		return nil
	}
	code := ""
	if first.ErrorCode != nil {
		code = strconv.FormatInt(*first.ErrorCode, 10)
	}
	text := untrusted.Quoted(first.Message + first.Error)
	e := a.Fail(slices.Max(outcomes), code, "%d of %d records were not written: %s", len(refused), len(offsets), text)
	if len(refused) < len(offsets) {
		e.Refused, e.Outcomes = refused, outcomes
	} else {
		e.GroupOnly = ofTopic
	}
	return e
}

// fate is the outcome of a record that was not written, and whether that is for its topic: it does not exist, or is forbidden.
func (o *offset) fate() (outcome notify.Outcome, ofTopic bool) {
	if o.ErrorCode == nil {
		return notify.Retry, false
	}
	switch *o.ErrorCode {
	case 40101:
		return notify.BadTarget, false
	case 403, 40301:
		return notify.BadTarget, true
	case 404, 40401:
		return notify.Retry, true
	}
	return notify.Retry, false
}

// refused judges an error about the whole request. A topic that does not exist is one namespace's trouble: it must not hold
// the others, so it is the message's.
func (k *receiver) refused(a *notify.Answer, code int64, text string) *notify.Error {
	name := strconv.FormatInt(code, 10)
	for code >= 1000 {
		code /= 10
	}
	switch {
	case name == "40401", code == http.StatusForbidden:
		e := a.Fail(notify.BadTarget, name, "the topic does not exist, or is forbidden: %s", text)
		e.GroupOnly = true
		return e
	case code == http.StatusUnauthorized, code == http.StatusNotFound:
		return a.Fail(notify.BadTarget, name, "the Kafka bridge refuses every record: %s", text)
	case code == http.StatusTooManyRequests, code/100 == 5, code == http.StatusRequestTimeout:
		return a.Fail(notify.Retry, name, "the Kafka bridge is not available: %s", text)
	case code/100 == 4:
		return a.Fail(notify.BadPayload, name, "the Kafka bridge refused the records: %s", text)
	}
	return a.Foreign("the Kafka bridge")
}
