package notifytest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// KafkaRest is a bridge to Kafka: Strimzi's, or with Confluent set the REST Proxy's API v2.
type KafkaRest struct {
	// Confluent speaks as the Confluent REST Proxy does.
	Confluent bool
	// User and Password are those of basic authentication; checked if set.
	User, Password string
	// Topics are those that exist; empty: all.
	Topics []string
	// FailKeys are the keys of records that are not written.
	FailKeys []string

	mu      sync.Mutex
	records map[string][]KafkaRecord
}

// KafkaRecord is a record as it was written.
type KafkaRecord struct {
	Key   string
	Value json.RawMessage
}

// Records returns what was written to a topic.
func (p *KafkaRest) Records(topic string) []KafkaRecord {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.records[topic])
}

// SetFailKeys changes FailKeys while the fake runs.
func (p *KafkaRest) SetFailKeys(keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.FailKeys = keys
}

// TooFast is the bridge's 503, or the proxy's 429.
func (p *KafkaRest) TooFast() Answer {
	if p.Confluent {
		return Answer{Status: http.StatusTooManyRequests, Body: `{"error_code":429,"message":"Request rate limit exceeded"}`}
	}
	return Answer{Status: http.StatusServiceUnavailable, Body: `{"error_code":503,"message":"Bridge is overloaded, please retry later"}`}
}

// Refusal is 401.
func (*KafkaRest) Refusal() Answer {
	return Answer{Status: http.StatusUnauthorized, Body: `{"error_code":401,"message":"Unauthorized"}`}
}

// Judge checks a request to /topics/TOPIC.
func (p *KafkaRest) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	refuse := func(status, code int, message string) (Answer, bool) {
		return Answer{Status: status, Body: fmt.Sprintf(`{"error_code":%d,"message":%q}`, code, message)}, false
	}
	_, topic, ok := strings.Cut(r.URL.Path, "/topics/")
	if user, password, _ := r.BasicAuth(); p.User != "" && (user != p.User || password != p.Password) {
		return refuse(http.StatusUnauthorized, 401, "Unauthorized")
	}
	if !ok || topic == "" || r.Method != http.MethodPost {
		return refuse(http.StatusNotFound, 404, "Not Found")
	}
	if contentType := r.Header.Get("Content-Type"); contentType != "application/vnd.kafka.json.v2+json" {
		if p.Confluent {
			return refuse(http.StatusUnsupportedMediaType, 415, "HTTP 415 Unsupported Media Type")
		}
		return refuse(http.StatusInternalServerError, 500, "no converter for "+contentType)
	}
	var m struct {
		Records []map[string]json.RawMessage `json:"records"`
	}
	if err := json.Unmarshal(body, &m); err != nil || len(m.Records) == 0 {
		return p.invalid("records must not be empty")
	}
	known := []string{"key", "value", "partition", "timestamp", "headers"}
	if p.Confluent {
		known = known[:3]
	}
	for _, record := range m.Records {
		for name := range record {
			if !slices.Contains(known, name) {
				return p.invalid("additional property " + name)
			}
		}
		if len(record["value"]) == 0 {
			return p.invalid("value is required")
		}
	}
	if p.Confluent && len(p.Topics) > 0 && !slices.Contains(p.Topics, topic) {
		return refuse(http.StatusNotFound, 40401, "Topic not found.")
	}
	return p.produce(topic, m.Records)
}

func (p *KafkaRest) invalid(message string) (Answer, bool) {
	if p.Confluent {
		return Answer{Status: http.StatusUnprocessableEntity, Body: fmt.Sprintf(`{"error_code":42201,"message":%q}`, message)}, false
	}
	return Answer{Status: http.StatusBadRequest, Body: fmt.Sprintf(`{"error_code":400,"message":"Validation error","validation_errors":[%q]}`, message)}, false
}

func (p *KafkaRest) produce(topic string, records []map[string]json.RawMessage) (Answer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.records == nil {
		p.records = make(map[string][]KafkaRecord)
	}
	var fates []string
	written := false
	for _, record := range records {
		var key string
		_ = json.Unmarshal(record["key"], &key)
		missing := len(p.Topics) > 0 && !slices.Contains(p.Topics, topic)
		if missing || slices.Contains(p.FailKeys, key) {
			fates = append(fates, p.failed(topic, missing))
			continue
		}
		offset := len(p.records[topic])
		p.records[topic] = append(p.records[topic], KafkaRecord{key, record["value"]})
		written = true
		if p.Confluent {
			fates = append(fates, fmt.Sprintf(`{"partition":0,"offset":%d,"error_code":null,"error":null}`, offset))
		} else {
			fates = append(fates, fmt.Sprintf(`{"partition":0,"offset":%d}`, offset))
		}
	}
	answer := `{"offsets":[` + strings.Join(fates, ",") + `]`
	if p.Confluent {
		answer += `,"key_schema_id":null,"value_schema_id":null`
	}
	return Answer{Header: map[string]string{"Content-Type": "application/vnd.kafka.v2+json"}, Body: answer + "}"}, written
}

func (p *KafkaRest) failed(topic string, missing bool) string {
	switch {
	case p.Confluent:
		return `{"partition":null,"offset":null,"error_code":50003,"error":"Expiring 1 record(s): 30000 ms has passed since batch creation"}`
	case missing:
		return fmt.Sprintf(`{"error_code":404,"message":"Topic %s not present in metadata after 60000 ms."}`, topic)
	}
	return `{"error_code":500,"message":"The broker did not answer"}`
}

// BasicAuth returns the value of the Authorization header for a user.
func BasicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
