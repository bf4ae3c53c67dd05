// Package influxdb writes incidents as points of InfluxDB's line protocol, to InfluxDB 1, 2 and 3 and what speaks their addresses.
// Two points never overwrite each other, a repeat overwrites only itself, and no tag comes from a pod's name or a message.
//
// A point is its measurement, its tags and its time; a second one with the same three replaces the first and is answered with 204.
// Kubernetes tells times in whole seconds, so the nanoseconds of each point come from the incident's ID: distinct for distinct
// contents, and the same for a repeat.
//
// Protocol: influxdata/docs-v2, content/shared/influxdb-v2/reference/syntax/line-protocol.md, and the write pages of each version.
package influxdb
