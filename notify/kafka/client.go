package kafka

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// maxBuffered is what the client holds of records that are under way.
	maxBuffered = 2 << 20
)

// connected returns the client, a new one where there is none or where the file of the password or one of tls changed. It opens no
// connection yet. The caller holds mu.
func (r *receiver) connected() (*kgo.Client, error) {
	password := ""
	if r.config.SASL.Mechanism != "" {
		var err error
		if password, err = r.config.SASL.Password.Read(); err != nil {
			return nil, &notify.Error{Outcome: notify.BadTarget, Reason: "sasl.password cannot be read", Err: err}
		}
	}
	files, err := r.dialer.Files()
	if err != nil {
		return nil, &notify.Error{Outcome: notify.Retry, Reason: "the files of tls cannot be used", Err: err}
	}
	if r.client != nil && (password != r.password || files != r.files) {
		r.drop()
	}
	if r.client == nil {
		client, err := kgo.NewClient(r.options(password)...)
		if err != nil {
			return nil, &notify.Error{Outcome: notify.BadTarget, Reason: "the client refuses its settings", Err: err}
		}
		r.client, r.password, r.files = client, password, files
		r.idle = time.AfterFunc(idleClose, r.closeIdle)
	}
	r.idle.Reset(idleClose)
	return r.client, nil
}

// closeIdle closes the client unless an attempt is under way, which sets the timer anew.
func (r *receiver) closeIdle() {
	if r.mu.TryLock() {
		defer r.mu.Unlock()
		r.drop()
	}
}

func (r *receiver) options(password string) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(r.config.Brokers...), kgo.ClientID("edge-eventer"), kgo.SoftwareNameAndVersion("edge-eventer", softwareVersion(r.common.Version)),
		// No RecordDeliveryTimeout: it counts from the time of the record, which is that of the event, and would refuse what waited through
		// an outage. The context bounds each record.
		// Acks stay all. The idempotent producer does not give control back when a broker is silent.
		kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordRetries(0), kgo.UnknownTopicRetries(0), kgo.RequestRetries(1),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(maxBatch + 1), kgo.MaxBufferedBytes(maxBuffered),
		kgo.FetchMaxBytes(1 << 20), kgo.BrokerMaxReadBytes(1 << 20),
		kgo.ProducerBatchCompression(codec(r.config.Compression)), kgo.DisableClientMetrics(),
		kgo.MetadataMaxAge(time.Hour), kgo.ConnIdleTimeout(2 * time.Minute),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			return r.dialer.Dial(ctx, network, address, !r.config.Plaintext)
		}),
	}
	if mechanism := r.mechanism(password); mechanism != nil {
		options = append(options, kgo.SASL(mechanism))
	}
	return options
}

// softwareVersion is of the characters that KIP-511 allows.
func softwareVersion(version string) string {
	version = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' {
			return c
		}
		return '-'
	}, version)
	return "v" + strings.Trim(strings.TrimPrefix(version, "v"), "-.")
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func (r *receiver) mechanism(password string) sasl.Mechanism {
	switch r.config.SASL.Mechanism {
	case "plain":
		return plain.Auth{User: r.config.SASL.User, Pass: password}.AsMechanism()
	case "scram-sha-256":
		return scram.Auth{User: r.config.SASL.User, Pass: password}.AsSha256Mechanism()
	case "scram-sha-512":
		return scram.Auth{User: r.config.SASL.User, Pass: password}.AsSha512Mechanism()
	}
	return nil
}
