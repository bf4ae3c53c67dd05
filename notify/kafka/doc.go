// Package kafka produces incidents to Kafka brokers, each as a record, and believes nothing but the offset that the partition's leader
// gave it.
//
// Retry stays with the caller's queue: the client tries a record once and gives control back within the deadline of the attempt,
// whatever the brokers do. Its buffers hold one batch. An idle client dials nobody: it is closed after a minute without work.
//
// Protocol: Produce with acks=all, not idempotent, since the producer ID would end with the process and its client library does not
// give control back. A repeat has the same ID in its header and its key, so consumers can tell it.
package kafka
