package kafka

import (
	"context"
	"crypto/sha256"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/template"
)

// idleClose is how long a client without work is kept. The client refreshes its picture of the cluster by a new connection now and
// then also when nothing is sent, which a metered link pays for.
const idleClose = time.Minute

type receiver struct {
	config     *Config
	common     notify.Common
	dialer     *notify.Dialer
	topic, key *template.Text

	mu sync.Mutex
	// client is nil while there was no work for idleClose. idle closes it. mu guards both.
	client *kgo.Client
	idle   *time.Timer
	// password is the one that client signs in with, files tells which files of tls it opens connections with.
	password string
	files    [sha256.Size]byte
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	topic, err := template.ParseText("topic", c.Topic, common)
	if err != nil {
		return nil, err
	}
	key, err := template.ParseText("key", c.Key, common)
	if err != nil {
		return nil, err
	}
	return &receiver{config: c, common: common, dialer: notify.NewDialer(common), topic: topic, key: key}, nil
}

// Limits bounds a batch by the configuration.
func (r *receiver) Limits() notify.Limits {
	return notify.Limits{Batch: r.config.Batch.Max, BatchBytes: r.config.Batch.MaxBytes, OldestFirst: true}
}

// Destination returns the host of the first broker, by whose route is judged whether there is a way to the brokers.
func (r *receiver) Destination() string {
	host, _, err := net.SplitHostPort(r.config.Brokers[0])
	if err != nil {
		return ""
	}
	return host
}

// Close closes the client. Nothing is under way then.
func (r *receiver) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
}

// drop closes the client. The caller holds mu.
func (r *receiver) drop() {
	if r.idle != nil {
		r.idle.Stop()
	}
	if r.client != nil {
		r.client.Close()
	}
	r.client, r.idle = nil, nil
}

// Send produces the records and returns when the leaders of all partitions have answered, or the deadline of ctx has passed.
func (r *receiver) Send(ctx context.Context, request *notify.Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	client, err := r.connected()
	if err != nil {
		return err
	}
	records := make([]*kgo.Record, len(request.Records))
	for i := range request.Records {
		records[i] = produced(&request.Records[i], request)
	}
	v := newVerdict(request, records)
	for _, result := range client.ProduceSync(ctx, records...) {
		v.add(result)
	}
	failure := v.err(ctx)
	if failure != nil && v.lostTouch {
		// What the client knows of the cluster may be what is wrong, and a buffered record would go out behind our back.
		r.drop()
	}
	if failure == nil {
		return nil
	}
	return failure
}

func produced(record *notify.Record, request *notify.Request) *kgo.Record {
	p := &kgo.Record{Topic: request.Topic, Key: []byte(record.Key), Value: record.Value, Timestamp: record.Time}
	// A broker refuses a time that is more than an hour ahead of its own; a node's clock may be.
	if p.Timestamp.After(request.Time) || p.Timestamp.Year() < 1970 {
		p.Timestamp = request.Time
	}
	for _, h := range record.Header {
		p.Headers = append(p.Headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
	}
	return p
}
