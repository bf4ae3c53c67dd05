package notifytest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// OTLP takes log records over OTLP/HTTP.
type OTLP struct {
	// Token is that of the Authorization header, behind "Bearer "; empty: nobody is asked.
	Token string
	// Oldest is the time before which records are refused, in partial_success, as OpenObserve does; zero: none are.
	Oldest time.Time
	// NoContent answers 204, as Loki does, instead of an empty 200.
	NoContent bool

	mu      sync.Mutex
	records []LogRecord
}

// LogRecord is a record as it was decoded, with the attributes of its resource.
type LogRecord struct {
	Resource, Attributes map[string]any
	Time, Observed       time.Time
	Severity             uint64
	SeverityText, Body   string
}

// Records returns what was taken.
func (p *OTLP) Records() []LogRecord {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.records)
}

// TooFast is a 429.
func (*OTLP) TooFast() Answer {
	return Answer{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "5"}, Body: StatusBody("ingestion rate limit exceeded")}
}

// Refusal is a 401.
func (*OTLP) Refusal() Answer {
	return Answer{Status: http.StatusUnauthorized, Body: StatusBody("invalid credentials")}
}

// StatusBody is a google.rpc.Status with a message.
func StatusBody(message string) string {
	return string(protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), message))
}

// PartialSuccess is an ExportLogsServiceResponse that refuses records.
func PartialSuccess(rejected uint64, message string) string {
	var p []byte
	if rejected > 0 {
		p = protowire.AppendVarint(protowire.AppendTag(p, 1, protowire.VarintType), rejected)
	}
	if message != "" {
		p = protowire.AppendString(protowire.AppendTag(p, 2, protowire.BytesType), message)
	}
	return string(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), p))
}

// Judge checks an export request.
func (p *OTLP) Judge(r *http.Request, body []byte, _ time.Time) (Answer, bool) {
	switch {
	case p.Token != "" && r.Header.Get("Authorization") != "Bearer "+p.Token:
		return p.Refusal(), false
	case r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/v1/logs"):
		return Answer{Status: http.StatusNotFound, Body: StatusBody("no such path")}, false
	case r.Header.Get("Content-Type") != "application/x-protobuf":
		return Answer{Status: http.StatusUnsupportedMediaType, Body: StatusBody("unsupported content type")}, false
	}
	records, err := DecodeLogs(body)
	if err != nil {
		return Answer{Status: http.StatusBadRequest, Body: StatusBody(err.Error())}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	rejected := uint64(0)
	for _, record := range records {
		if record.Time.Before(p.Oldest) {
			rejected++
			continue
		}
		p.records = append(p.records, record)
	}
	header := map[string]string{"Content-Type": "application/x-protobuf"}
	switch {
	case rejected > 0:
		return Answer{Header: header, Body: PartialSuccess(rejected, "too old data, only last 5 hours data can be ingested")}, false
	case p.NoContent:
		return Answer{Status: http.StatusNoContent}, true
	}
	return Answer{Header: header}, true
}

// wire is a decoded message: the values of each field, uint64 or []byte.
type wire map[protowire.Number][]any

func decodeWire(b []byte) (wire, error) {
	m := make(wire)
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		var value any
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		default:
			return nil, fmt.Errorf("field %d has wire type %d", number, kind)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		m[number] = append(m[number], value)
		b = b[n:]
	}
	return m, nil
}

// each decodes the messages of a field.
func (m wire) each(number protowire.Number, visit func(wire) error) error {
	for _, value := range m[number] {
		b, ok := value.([]byte)
		if !ok {
			return fmt.Errorf("field %d is no message", number)
		}
		inner, err := decodeWire(b)
		if err != nil {
			return err
		}
		if err := visit(inner); err != nil {
			return err
		}
	}
	return nil
}

func (m wire) text(number protowire.Number) string {
	for _, value := range m[number] {
		if b, ok := value.([]byte); ok {
			return string(b)
		}
	}
	return ""
}

func (m wire) number(number protowire.Number) uint64 {
	for _, value := range m[number] {
		if n, ok := value.(uint64); ok {
			return n
		}
	}
	return 0
}

func (m wire) attributes(number protowire.Number) (map[string]any, error) {
	all := make(map[string]any)
	err := m.each(number, func(pair wire) error {
		key := pair.text(1)
		if _, twice := all[key]; key == "" || twice {
			return fmt.Errorf("attribute %q is empty or stands there twice", key)
		}
		return pair.each(2, func(value wire) error {
			switch {
			case len(value[3]) > 0:
				all[key] = int64(value.number(3))
			case len(value[2]) > 0:
				all[key] = value.number(2) != 0
			default:
				all[key] = value.text(1)
			}
			return nil
		})
	})
	return all, err
}

// DecodeLogs decodes an ExportLogsServiceRequest, strictly: no record without a body, no attribute twice.
func DecodeLogs(body []byte) ([]LogRecord, error) {
	request, err := decodeWire(body)
	if err != nil {
		return nil, err
	}
	var records []LogRecord
	err = request.each(1, func(logs wire) error {
		resource := make(map[string]any)
		if err := logs.each(1, func(r wire) error {
			attributes, err := r.attributes(1)
			maps.Copy(resource, attributes)
			return err
		}); err != nil {
			return err
		}
		return logs.each(2, func(scope wire) error {
			return scope.each(2, func(r wire) error {
				record, err := decodeRecord(r, resource)
				records = append(records, record)
				return err
			})
		})
	})
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("no records")
	}
	return records, err
}

func decodeRecord(r wire, resource map[string]any) (LogRecord, error) {
	attributes, err := r.attributes(6)
	record := LogRecord{
		Resource: resource, Attributes: attributes, Severity: r.number(2), SeverityText: r.text(3),
		Time: time.Unix(0, int64(r.number(1))).UTC(), Observed: time.Unix(0, int64(r.number(11))).UTC(),
	}
	if err != nil {
		return record, err
	}
	return record, r.each(5, func(body wire) error {
		record.Body = body.text(1)
		return nil
	})
}
