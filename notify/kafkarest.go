package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify/template"
)

// kafkaType is matched by Strimzi's bridge as an exact string: with a charset behind it the answer is 500.
const kafkaType = "application/vnd.kafka.json.v2+json"

// kafkaRest produces records through the Strimzi Kafka Bridge or the Confluent REST Proxy, API v2.
//
// Protocol: strimzi/strimzi-kafka-bridge, openapi.json; confluentinc/kafka-rest, resources/v2. One request goes to one topic. The value of a
// record is an incident as in webhook's document, its key the incident's ID: neither bridge recognizes a repeat, so consumers can.
// A bridge whose brokers are away answers after 60 seconds: timeout should be longer.
type kafkaRest struct {
	*poster

	cfg   Config
	topic *template.Template
}

func newKafkaRest(cfg Config, p *poster) Receiver {
	// Check has parsed it.
	topic, _ := template.Parse("topic", cfg.Topic, templateOptions(&cfg))
	return &kafkaRest{poster: p, cfg: cfg, topic: topic}
}

func checkKafkaRest(cfg *Config, add addMistake) {
	checked := *cfg
	if checked.Topic == "" {
		checked.Topic = DefaultTopic
	}
	checkTopic(&checked, add)
}

type kafkaRecords struct {
	Records []kafkaRecord `json:"records"`
}

type kafkaRecord struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Limits bounds a batch by the configuration.
func (k *kafkaRest) Limits() Limits {
	return Limits{Batch: k.cfg.BatchMax, BatchBytes: k.cfg.BatchBytes}
}

// Render takes the first incident and all others that go to the same topic. Losses are in the first record. Both forms are the same.
func (k *kafkaRest) Render(m *Message, _ Form) (*Request, error) {
	if len(m.Incidents) == 0 {
		return k.renderLosses(m)
	}
	var (
		records kafkaRecords
		taken   []int
		topic   string
		size    = len(`{"records":[]}`)
		losses  = m.Losses
	)
	for i := range m.Incidents {
		in := &m.Incidents[i]
		name, err := k.topicOf(&Message{Now: m.Now, Incidents: m.Incidents[i : i+1]})
		switch {
		case err != nil && i == 0:
			return nil, err
		case err != nil || i > 0 && name != topic:
			continue
		}
		topic = name
		record := k.record(in, losses)
		added := len(record.Value) + len(record.Key) + len(`{"key":"","value":},`)
		if len(taken) == k.cfg.BatchMax || len(taken) > 0 && size+added > int(k.cfg.BatchBytes) {
			break
		}
		size += added
		records.Records = append(records.Records, record)
		taken = append(taken, i)
		losses = nil
	}
	r := m.requestAs(kafkaType, toJSON(records), len(taken))
	r.Group = topic
	r.Taken, r.Topic, r.Losses = taken, topic, m.lossesIn(LossesFirst)
	return r, nil
}

// record encodes an incident with room for its key.
func (k *kafkaRest) record(in *Incident, losses []Loss) kafkaRecord {
	key := prepared(in.ID, 256, byteWidth, cleanLine)
	return kafkaRecord{Key: key, Value: record(in, losses, int(k.cfg.BatchBytes)-2*len(key)-64)}
}

func (k *kafkaRest) renderLosses(m *Message) (*Request, error) {
	in := lossIncident(&k.cfg, m)
	topic, err := k.topicOf(&Message{Now: m.Now, Incidents: []Incident{in}})
	if err != nil {
		return nil, err
	}
	r := m.requestAs(kafkaType, toJSON(kafkaRecords{[]kafkaRecord{k.record(&in, m.Losses)}}), 0)
	r.Group, r.Topic = topic, topic
	return r, nil
}

// Group returns the topic of the incident's record.
func (k *kafkaRest) Group(in *Incident) string {
	topic, err := k.topicOf(&Message{Incidents: []Incident{*in}})
	if err != nil {
		return ""
	}
	return topic
}

// topicOf executes the template. Characters that no topic may have become a line; a cluster's own objects have the namespace default.
func (k *kafkaRest) topicOf(m *Message) (string, error) {
	data := newTemplateData(&k.cfg, m, 256)
	if data.Namespace == "" {
		data.Namespace = "default"
	}
	text, err := k.topic.Execute(template.NewBudget(), data)
	if err != nil {
		return "", fmt.Errorf("execute template: %w", err)
	}
	return kafkaTopic(text), nil
}

// kafkaTopic makes a text a legal name: 1 to 249 letters, digits and ._-, but not . or ..
func kafkaTopic(text string) string {
	name := strings.Map(func(r rune) rune {
		if only(string(r), 1, "._-") {
			return r
		}
		return '-'
	}, text)
	name = name[:min(len(name), 249)]
	if strings.Trim(name, ".") == "" {
		return "events"
	}
	return name
}

// Send posts the request.
func (k *kafkaRest) Send(ctx context.Context, r *Request) error {
	to, err := ownTarget(&k.cfg)
	if err != nil {
		return err
	}
	to.url, err = withPath(to.url, "/topics/"+r.Topic)
	if err != nil {
		return err
	}
	a, err := k.post(ctx, to, r)
	if err != nil {
		return err
	}
	return k.verdict(a, r)
}

type kafkaReply struct {
	Offsets []kafkaOffset
	// ErrorCode and Message are about the request as a whole.
	ErrorCode *int64 `json:"error_code"`
	Message   string
}

// kafkaOffset is the fate of a record: where it was written, or why not. The text is called message by Strimzi and error by Confluent, whose
// error_code is null when all is well.
type kafkaOffset struct {
	Offset    *int64
	ErrorCode *int64 `json:"error_code"`
	Message   string
	Error     string
}

// verdict reads the fate of each record: status 200 says nothing about it.
func (k *kafkaRest) verdict(a *answer, r *Request) error {
	if a.broken != nil {
		return a.broken
	}
	var reply kafkaReply
	err := json.Unmarshal(a.body, &reply)
	records := max(1, r.Incidents)
	switch {
	case err == nil && len(reply.Offsets) > 0 && len(reply.Offsets) == records:
		return k.fates(a, reply.Offsets)
	case err == nil && reply.ErrorCode != nil && a.status/100 != 2:
		return k.refused(a, *reply.ErrorCode, quoted(reply.Message))
	}
	return a.foreign("the Kafka bridge")
}

func (k *kafkaRest) fates(a *answer, offsets []kafkaOffset) error {
	var refused []int
	var outcomes []Outcome
	var first *kafkaOffset
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
	text := quoted(first.Message + first.Error)
	e := a.fail(slices.Max(outcomes), code, "%d of %d records were not written: %s", len(refused), len(offsets), text)
	if len(refused) < len(offsets) {
		e.Refused, e.Outcomes = refused, outcomes
	} else {
		e.GroupOnly = ofTopic
	}
	return e
}

// fate is the outcome of a record that was not written, and whether that is for its topic: it does not exist, or is forbidden.
func (o *kafkaOffset) fate() (outcome Outcome, ofTopic bool) {
	if o.ErrorCode == nil {
		return Retry, false
	}
	switch *o.ErrorCode {
	case 40101:
		return BadTarget, false
	case 403, 40301:
		return BadTarget, true
	case 404, 40401:
		return Retry, true
	}
	return Retry, false
}

// refused judges an error about the whole request. A topic that does not exist is one namespace's trouble: it must not hold
// the others, so it is the message's.
func (k *kafkaRest) refused(a *answer, code int64, text string) *Error {
	name := strconv.FormatInt(code, 10)
	for code >= 1000 {
		code /= 10
	}
	switch {
	case name == "40401", code == http.StatusForbidden:
		e := a.fail(BadTarget, name, "the topic does not exist, or is forbidden: %s", text)
		e.GroupOnly = true
		return e
	case code == http.StatusUnauthorized, code == http.StatusNotFound:
		return a.fail(BadTarget, name, "the Kafka bridge refuses every record: %s", text)
	case code == http.StatusTooManyRequests, code/100 == 5, code == http.StatusRequestTimeout:
		return a.fail(Retry, name, "the Kafka bridge is not available: %s", text)
	case code/100 == 4:
		return a.fail(BadPayload, name, "the Kafka bridge refused the records: %s", text)
	}
	return a.foreign("the Kafka bridge")
}
