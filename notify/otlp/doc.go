// Package otlp sends incidents as OpenTelemetry log records over OTLP/HTTP, in protobuf, and believes the answer's partial_success, not
// its status: a 200 may have refused every record.
//
// The attributes are those that the OpenTelemetry Collector's Kubernetes events receiver writes, so that dashboards made for it fit,
// with one difference: what changes from event to event is an attribute of the record and not of the resource, because each
// resource is a stream of its own to Loki and to VictoriaLogs. The resource is the site.
//
// Protocol: open-telemetry/opentelemetry-proto, docs/specification.md and logs.proto; names: opentelemetry-collector-contrib,
// receiver/k8seventsreceiver/k8s_event_to_logdata.go.
//
// What engines are known to do with old records, which a spool holds after an outage: VictoriaLogs drops what is older than its
// -retentionPeriod (7 days) with a 200 and says nothing; OpenObserve refuses what is older than 5 hours, and says so in
// partial_success; Loki refuses what is an hour behind the newest line of its stream with a 400.
package otlp
