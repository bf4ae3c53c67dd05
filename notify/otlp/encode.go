package otlp

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of opentelemetry/proto: collector/logs/v1/logs_service.proto, logs/v1/logs.proto, common/v1/common.proto and
// resource/v1/resource.proto. Written by hand, since the generated code links descriptors and gRPC: 5.6 MB.
const (
	requestResourceLogs = 1

	resourceLogsResource  = 1
	resourceLogsScopeLogs = 2
	resourceAttributes    = 1

	scopeLogsScope   = 1
	scopeLogsRecords = 2
	scopeName        = 1
	scopeVersion     = 2

	recordTime         = 1
	recordSeverity     = 2
	recordSeverityText = 3
	recordBody         = 5
	recordAttributes   = 6
	recordObserved     = 11

	keyValueKey   = 1
	keyValueValue = 2
	valueString   = 1
	valueBool     = 2
	valueInt      = 3
)

// Severity numbers of logs.proto.
const (
	severityInfo  = 9
	severityWarn  = 13
	severityError = 17
)

// record is a log record.
type record struct {
	// at is when it happened, observed when it was sent.
	at, observed time.Time
	severity     uint64
	severityText string
	body         string
	attributes   []attribute
}

// attribute is a key with a string, int64 or bool.
type attribute struct {
	key   string
	value any
}

// text appends an attribute unless it is empty.
func text(all []attribute, key, value string) []attribute {
	if value == "" {
		return all
	}
	return append(all, attribute{key, value})
}

// request encodes an ExportLogsServiceRequest of one resource and one scope around records that are encoded already.
func request(resource []attribute, version string, records [][]byte) []byte {
	var inner []byte
	for _, a := range resource {
		inner = appendMessage(inner, resourceAttributes, a.encode())
	}
	logs := appendMessage(nil, resourceLogsResource, inner)
	scope := appendString(nil, scopeName, "edge-eventer")
	scopeLogs := appendMessage(nil, scopeLogsScope, appendString(scope, scopeVersion, version))
	for _, r := range records {
		scopeLogs = appendMessage(scopeLogs, scopeLogsRecords, r)
	}
	logs = appendMessage(logs, resourceLogsScopeLogs, scopeLogs)
	return appendMessage(nil, requestResourceLogs, logs)
}

func (r *record) encode() []byte {
	b := protowire.AppendTag(nil, recordTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, nanoseconds(r.at))
	b = protowire.AppendTag(b, recordSeverity, protowire.VarintType)
	b = protowire.AppendVarint(b, r.severity)
	b = appendString(b, recordSeverityText, r.severityText)
	b = appendMessage(b, recordBody, appendString(nil, valueString, r.body))
	for _, a := range r.attributes {
		b = appendMessage(b, recordAttributes, a.encode())
	}
	b = protowire.AppendTag(b, recordObserved, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, nanoseconds(r.observed))
}

func (a *attribute) encode() []byte {
	var value []byte
	switch v := a.value.(type) {
	case string:
		value = appendString(nil, valueString, v)
	case int64:
		value = protowire.AppendTag(nil, valueInt, protowire.VarintType)
		value = protowire.AppendVarint(value, uint64(v))
	case bool:
		value = protowire.AppendTag(nil, valueBool, protowire.VarintType)
		value = protowire.AppendVarint(value, protowire.EncodeBool(v))
	}
	return appendMessage(appendString(nil, keyValueKey, a.key), keyValueValue, value)
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// nanoseconds is the time since 1970. Zero means that it is not known, which is also what a time before 1970 or beyond the year 2262 is.
func nanoseconds(t time.Time) uint64 {
	const last = 1<<63/1_000_000_000 - 1
	if s := t.Unix(); s < 0 || s >= last {
		return 0
	}
	return uint64(t.UnixNano())
}
