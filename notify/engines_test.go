package notify_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config/configtest"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/elasticsearch"
	"github.com/edge-eventer/edge-eventer/notify/influxdb"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/notify/otlp"
)

// allSubjects are all receivers that speak HTTP, each type in a package of its own with them.
func allSubjects() []subject {
	return slices.Concat(subjects(), []subject{elasticsearchSubject(), influxSubject(), otlpSubject()})
}

const engineToken = "ZWRnZTo0dXB3aGF0LXRoZS1rZXktaXM"

func address(base string) configtest.Keys {
	return configtest.Keys{URL: notify.SecretValue(base + "/4a1b9c8d7e6f")}
}

func elasticsearchSubject() subject {
	return subject{
		name:     "elasticsearch",
		platform: func() notifytest.Platform { return &notifytest.Elasticsearch{APIKey: engineToken} },
		config:   address,
		settings: func(c *configtest.Keys) notify.Settings {
			s := elasticsearch.Defaults().(*elasticsearch.Config)
			s.URL, s.APIKey = c.URL, notify.SecretValue(engineToken)
			if c.BatchBytes != 0 {
				s.Batch.MaxBytes = c.BatchBytes
			}
			return s
		},
		wellFormed: func(body []byte) bool {
			for line := range bytes.Lines(body) {
				if !json.Valid(line) {
					return false
				}
			}
			return bytes.HasSuffix(body, []byte("\n"))
		},
		secrets: []string{engineToken, "4a1b9c8d7e6f"},
		taken: []notifytest.Answer{
			body(`{"took":1,"errors":false,"items":[{"create":{"status":201}}]}`),
			// A repeat: the document is there.
			body(`{"took":1,"errors":true,"items":[{"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}]}`),
			body(`{"took":1,"errors":false,"items":[{"create":{"status":201,"failure_store":"used"}}]}`),
		},
		answers: []documented{
			{name: "no items", answer: body(`{"errors":false,"items":[]}`), outcome: notify.Retry, says: "0 of 1"},
			{name: "two items", answer: body(`{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}`), outcome: notify.Retry},
			{name: "index instead of create", answer: body(`{"errors":false,"items":[{"index":{"status":201}}]}`), outcome: notify.Retry},
			{name: "item 429", answer: body(`{"errors":true,"items":[{"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}}]}`),
				outcome: notify.Retry, code: "es_rejected_execution_exception"},
			{name: "item 503", answer: body(`{"errors":true,"items":[{"create":{"status":503,"error":{"type":"unavailable_shards_exception"}}}]}`), outcome: notify.Retry},
			{name: "item 400", answer: body(`{"errors":true,"items":[{"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"failed to parse field [count]"}}}]}`),
				outcome: notify.BadPayload, code: "document_parsing_exception", says: "failed to parse field"},
			{name: "item 403", answer: body(`{"errors":true,"items":[{"create":{"status":403,"error":{"type":"cluster_block_exception"}}}]}`), outcome: notify.BadTarget},
			{name: "item 404", answer: body(`{"errors":true,"items":[{"create":{"status":404,"error":{"type":"index_not_found_exception"}}}]}`), outcome: notify.BadTarget},
			{name: "401", answer: status(401, `{"error":{"type":"security_exception","reason":"unable to authenticate"},"status":401}`), outcome: notify.BadTarget},
			{name: "403", answer: status(403, `{"error":{"type":"security_exception","reason":"action is unauthorized"},"status":403}`), outcome: notify.BadTarget},
			{name: "404", answer: status(404, `{"error":{"type":"index_not_found_exception","reason":"no such index"},"status":404}`), outcome: notify.BadTarget},
			{name: "413", answer: status(413, ""), outcome: notify.BadPayload, says: "large"},
			{name: "400", answer: status(400, `{"error":{"type":"illegal_argument_exception","reason":"bad"},"status":400}`), outcome: notify.BadPayload},
			{name: "429", answer: status(429, `{"error":{"type":"es_rejected_execution_exception"},"status":429}`), outcome: notify.Retry},
		},
		size: bodySize, limit: notify.DefaultBatchBytes, structure: true,
	}
}

func influxSubject() subject {
	return subject{
		name:     "influxdb",
		platform: func() notifytest.Platform { return &notifytest.InfluxDB{API: "2", Token: engineToken} },
		config:   address,
		settings: func(c *configtest.Keys) notify.Settings {
			s := influxdb.Defaults().(*influxdb.Config)
			s.URL, s.Token, s.Organization, s.Bucket = c.URL, notify.SecretValue(engineToken), "shops", "events"
			if c.BatchBytes != 0 {
				s.Batch.MaxBytes = c.BatchBytes
			}
			return s
		},
		wellFormed: func(body []byte) bool {
			for line := range bytes.Lines(body) {
				if _, err := notifytest.ParseLine(strings.TrimSuffix(string(line), "\n")); err != nil {
					return false
				}
			}
			return bytes.HasSuffix(body, []byte("\n"))
		},
		secrets: []string{engineToken, "4a1b9c8d7e6f"},
		taken:   []notifytest.Answer{status(http.StatusNoContent, "")},
		answers: []documented{
			{name: "200", answer: body(`{"status":"ok"}`), outcome: notify.Retry},
			{name: "400", answer: status(400, `{"code":"invalid","message":"unable to parse 'x': missing fields"}`), outcome: notify.BadPayload, code: "invalid"},
			{name: "400 version 1", answer: notifytest.Answer{Status: 400, Header: map[string]string{"X-Influxdb-Version": "1.8.10"}, Body: `{"error":"partial write: points beyond retention policy dropped=1"}`},
				outcome: notify.BadPayload, says: "partial write"},
			{name: "422", answer: status(422, `{"code":"unprocessable entity","message":"failure writing points: retention"}`), outcome: notify.BadPayload},
			{name: "401", answer: status(401, `{"code":"unauthorized","message":"unauthorized access"}`), outcome: notify.BadTarget, code: "unauthorized"},
			{name: "404", answer: status(404, `{"code":"not found","message":"bucket \"events\" not found"}`), outcome: notify.BadTarget},
			{name: "404 page", answer: status(404, "<html>not found</html>"), outcome: notify.Retry},
			{name: "451 page", answer: status(451, "<html>blocked</html>"), outcome: notify.Retry},
			{name: "413", answer: status(413, `{"code":"request too large","message":"too large"}`), outcome: notify.BadPayload},
			{name: "429", answer: notifytest.Answer{Status: 429, Header: map[string]string{"Retry-After": "30"}, Body: `{"code":"too many requests","message":"limit"}`}, outcome: notify.Retry, wait: 30 * time.Second},
		},
		size: bodySize, limit: notify.DefaultBatchBytes, structure: true,
	}
}

func otlpSubject() subject {
	reply := func(status int, body string) notifytest.Answer {
		return notifytest.Answer{Status: status, Header: map[string]string{"Content-Type": "application/x-protobuf"}, Body: body}
	}
	return subject{
		name:     "otlp",
		platform: func() notifytest.Platform { return &notifytest.OTLP{Token: engineToken} },
		config:   address,
		settings: func(c *configtest.Keys) notify.Settings {
			s := otlp.Defaults().(*otlp.Config)
			s.URL, s.Headers = c.URL, map[string]notify.Secret{"Authorization": notify.SecretValue("Bearer " + engineToken)}
			if c.BatchBytes != 0 {
				s.Batch.MaxBytes = c.BatchBytes
			}
			return s
		},
		wellFormed: func(body []byte) bool {
			_, err := notifytest.DecodeLogs(body)
			return err == nil
		},
		secrets: []string{engineToken, "4a1b9c8d7e6f"},
		taken: []notifytest.Answer{
			reply(200, ""), status(204, ""), {Status: 200}, reply(200, notifytest.PartialSuccess(0, "one attribute is deprecated")),
		},
		answers: []documented{
			{name: "partial success", answer: reply(200, notifytest.PartialSuccess(1, "too old data")), outcome: notify.BadPayload, says: "refused 1 records: too old data"},
			{name: "empty partial success", answer: reply(200, notifytest.PartialSuccess(0, "")), outcome: notify.Retry},
			{name: "empty page", answer: notifytest.Answer{Header: map[string]string{"Content-Type": "text/html"}}, outcome: notify.Retry},
			{name: "JSON", answer: notifytest.Answer{Header: map[string]string{"Content-Type": "application/json"}, Body: "{}"}, outcome: notify.Retry},
			{name: "400 Loki", answer: reply(400, notifytest.StatusBody("entry too far behind")), outcome: notify.BadPayload, says: "too far behind"},
			{name: "413", answer: status(413, ""), outcome: notify.BadPayload},
			{name: "401", answer: reply(401, notifytest.StatusBody("no key")), outcome: notify.BadTarget, says: "no key"},
			{name: "404", answer: status(404, "not here"), outcome: notify.BadTarget, says: "not here"},
			{name: "404 page", answer: status(404, "<html>not here</html>"), outcome: notify.Retry},
			{name: "415", answer: status(415, ""), outcome: notify.BadTarget},
		},
		lenient: true,
		size:    bodySize, limit: notify.DefaultBatchBytes, structure: true,
	}
}
