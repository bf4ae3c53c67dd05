package kafka

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/template"
)

// Type is the word of the configuration.
const Type = "kafka"

const (
	maxBrokers = 16
	maxHeaders = 16
	// maxBatch keeps the records that the client buffers bounded.
	maxBatch = 1000
)

// Config holds the keys of a receiver of type kafka.
type Config struct {
	// Brokers are host:port of those that are asked first. The addresses that the brokers advertise must be reachable too.
	Brokers []string `yaml:"brokers"`
	// Topic and Key are templates over an incident. Defaults: one topic for each namespace; namespace/kind/workload, which keeps the
	// order of one object's records.
	Topic string `yaml:"topic"`
	Key   string `yaml:"key"`
	// Headers are added to each record. They are no secrets.
	Headers map[string]string `yaml:"headers"`
	SASL    SASL              `yaml:"sasl"`
	// Plaintext speaks without TLS. Default: false.
	Plaintext bool `yaml:"plaintext"`
	// Compression is none, gzip, snappy, lz4 or zstd. Default: gzip.
	Compression string `yaml:"compression"`
	// Format is one of record.Formats. Default: edge-eventer.
	Format string       `yaml:"format"`
	Batch  notify.Batch `yaml:"batch"`
}

// SASL is how the agent signs in. Empty: it does not.
type SASL struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512.
	Mechanism string        `yaml:"mechanism"`
	User      string        `yaml:"user"`
	Password  notify.Secret `yaml:"password"`
}

// Defaults returns the settings of a receiver that names no key.
func Defaults() notify.Settings {
	return &Config{
		Topic: notify.DefaultTopic, Key: "{{ .InvolvedObject.Namespace }}/{{ .InvolvedObject.Kind }}/{{ .Workload }}",
		Compression: "gzip", Format: record.FormatEdgeEventer,
		Batch: notify.DefaultBatch(),
	}
}

// Check adds every mistake.
func (c *Config) Check(add notify.AddMistake) {
	if len(c.Brokers) == 0 || len(c.Brokers) > maxBrokers {
		add("brokers", "must be 1 to %d addresses, such as kafka.example:9093", maxBrokers)
	}
	for i, address := range c.Brokers[:min(len(c.Brokers), maxBrokers)] {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" || strings.ContainsAny(address, "/@ ") {
			add(fmt.Sprintf("brokers[%d]", i), "must be host:port, such as kafka.example:9093")
		}
	}
	template.CheckText("topic", c.Topic, add)
	template.CheckText("key", c.Key, add)
	if len(c.Headers) > maxHeaders {
		add("headers", "at most %d", maxHeaders)
	}
	for name, value := range c.Headers {
		if name == "" || len(name) > 128 || len(value) > 1024 {
			add("headers", "a name has 1 to 128 bytes, a value at most 1024")
		}
	}
	if !slices.Contains([]string{"none", "gzip", "snappy", "lz4", "zstd"}, c.Compression) {
		add("compression", "%q is unknown; allowed: none, gzip, snappy, lz4, zstd", c.Compression)
	}
	record.CheckFormat(c.Format, add)
	c.Batch.Check(add)
	c.SASL.check(add)
}

func (s *SASL) check(add notify.AddMistake) {
	switch {
	case s.Mechanism == "" && s.User == "" && s.Password.IsZero():
	case !slices.Contains([]string{"plain", "scram-sha-256", "scram-sha-512"}, s.Mechanism):
		add("sasl.mechanism", "%q is unknown; allowed: plain, scram-sha-256, scram-sha-512", s.Mechanism)
	case s.User == "":
		add("sasl.user", "must be set")
	case s.Password.IsZero():
		add("sasl.password", "must be set, or passwordFile")
	}
}
