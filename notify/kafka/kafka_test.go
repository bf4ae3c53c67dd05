package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/kafka"
	"github.com/edge-eventer/edge-eventer/notify/record"
)

const produceKey = 0

func cluster(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(slices.Concat([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(2, "events-shop", "events-default")}, options)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func receiver(t *testing.T, c *kfake.Cluster, change func(*kafka.Config), common notify.Common) notify.Receiver {
	t.Helper()
	s := kafka.Defaults().(*kafka.Config)
	s.Brokers, s.Plaintext = c.ListenAddrs(), true
	if change != nil {
		change(s)
	}
	s.Check(func(key, format string, args ...any) { t.Errorf("%s: "+format, append([]any{key}, args...)...) })
	common.Name, common.Cluster = "bus", "shop-1"
	r, err := s.New(common)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func message(namespace string, n int) *notify.Message {
	m := notify.Sample("shop-1", time.Now())
	in := m.Incidents[0]
	m.Incidents = nil
	for i := range n {
		in.ID = fmt.Sprintf("incident-%d", i)
		in.Namespace, in.InvolvedObject.Namespace = namespace, namespace
		m.Incidents = append(m.Incidents, in)
	}
	return m
}

func send(t *testing.T, r notify.Receiver, m *notify.Message, within time.Duration) error {
	t.Helper()
	request, err := r.Render(m, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return r.Send(ctx, request)
}

func failure(t *testing.T, err error) *notify.Error {
	t.Helper()
	e, ok := errors.AsType[*notify.Error](err)
	if !ok {
		t.Fatalf("%v, want an *Error", err)
	}
	return e
}

// consume reads n records of a topic with a client of its own.
func consume(t *testing.T, c *kfake.Cluster, topic string, n int, options ...kgo.Opt) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(slices.Concat([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic)}, options)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []*kgo.Record
	for len(all) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", len(all), n, err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

func TestEveryFormatReadsOnForItsConsumers(t *testing.T) {
	for _, format := range record.Formats() {
		t.Run(format, func(t *testing.T) {
			c := cluster(t)
			r := receiver(t, c, func(s *kafka.Config) { s.Format, s.Headers = format, map[string]string{"team": "shops"} }, notify.Common{})
			m := message("shop", 3)
			if err := send(t, r, m, time.Minute); err != nil {
				t.Fatal(err)
			}
			for _, got := range consume(t, c, "events-shop", 3) {
				var v map[string]any
				if err := json.Unmarshal(got.Value, &v); err != nil {
					t.Fatal(err)
				}
				checkFormat(t, format, v, got)
				if header(got, "team") != "shops" || header(got, "cluster") != "shop-1" || !strings.HasPrefix(header(got, "edge-eventer-id"), "incident-") {
					t.Errorf("headers %v", got.Headers)
				}
				if string(got.Key) != "shop/Pod/edge-eventer-test" {
					t.Errorf("key %q", got.Key)
				}
			}
		})
	}
}

func checkFormat(t *testing.T, format string, v map[string]any, got *kgo.Record) {
	t.Helper()
	event := v
	switch format {
	case record.FormatEdgeEventer:
		event, _ = v["event"].(map[string]any)
	case record.FormatCloudEvents:
		data, _ := v["data"].(map[string]any)
		event, _ = data["event"].(map[string]any)
		if v["specversion"] != "1.0" || !strings.HasPrefix(header(got, "content-type"), "application/cloudevents+json") {
			t.Errorf("no structured CloudEvent: %v, %v", v, got.Headers)
		}
	case record.FormatCloudEventsBinary:
		event, _ = v["event"].(map[string]any)
		if header(got, "ce_specversion") != "1.0" || header(got, "ce_id") == "" || header(got, "content-type") != "application/json" {
			t.Errorf("no binary CloudEvent: %v", got.Headers)
		}
	case record.FormatKubeEventer:
		// As the Python scripts that read this topic do.
		text, _ := v["EventValue"].(string)
		if err := json.Unmarshal([]byte(text), &event); err != nil {
			t.Fatal(err)
		}
		tags, _ := v["EventTags"].(map[string]any)
		if tags["eventID"] == "" || tags["pod_name"] != "edge-eventer-test-7d9f8c6b5d-x2x4z" || tags["pod_id"] == "" || tags["hostname"] != "edge-eventer" || v["EventTimestamp"] == nil {
			t.Errorf("tags %v", tags)
		}
	case record.FormatEventrouter:
		event, _ = v["event"].(map[string]any)
		if v["verb"] != "ADDED" {
			t.Errorf("verb %v", v["verb"])
		}
	}
	metadata, _ := event["metadata"].(map[string]any)
	if metadata["namespace"] != "shop" || event["reason"] != "BackOff" {
		t.Errorf("event %v", event)
	}
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// TestBrokersAnswerDecides gives each documented error code of a Produce to a batch, and to nothing after it.
func TestBrokersAnswerDecides(t *testing.T) {
	for _, c := range []struct {
		code    *kerr.Error
		outcome notify.Outcome
		ofTopic bool
	}{
		{kerr.NotLeaderForPartition, notify.Retry, false},
		{kerr.RequestTimedOut, notify.Retry, false},
		{kerr.NotEnoughReplicas, notify.Retry, false},
		{kerr.NotEnoughReplicasAfterAppend, notify.Retry, false},
		{kerr.KafkaStorageError, notify.Retry, false},
		{kerr.CorruptMessage, notify.Retry, false},
		{kerr.UnknownServerError, notify.Retry, false},
		{kerr.ThrottlingQuotaExceeded, notify.Retry, false},
		{kerr.UnknownTopicOrPartition, notify.Retry, true},
		{kerr.TopicAuthorizationFailed, notify.BadTarget, true},
		{kerr.ClusterAuthorizationFailed, notify.BadTarget, false},
		{kerr.MessageTooLarge, notify.BadPayload, false},
		{kerr.InvalidRecord, notify.BadPayload, false},
		{kerr.InvalidTimestamp, notify.BadPayload, false},
		{kerr.UnsupportedForMessageFormat, notify.BadTarget, false},
	} {
		t.Run(c.code.Message, func(t *testing.T) {
			brokers := cluster(t)
			r := receiver(t, brokers, nil, notify.Common{})
			// The records of one message may come in several requests.
			var healed atomic.Bool
			brokers.ControlKey(produceKey, func(request kmsg.Request) (kmsg.Response, error, bool) {
				brokers.KeepControl()
				return refusal(request, c.code.Code), nil, !healed.Load()
			})
			e := failure(t, send(t, r, message("shop", 5), time.Minute))
			if e.Outcome != c.outcome || e.GroupOnly != c.ofTopic || len(e.Refused) != 0 {
				t.Errorf("%v: outcome %s, of its topic %v, refused %v; want %s, %v", e, e.Outcome, e.GroupOnly, e.Refused, c.outcome, c.ofTopic)
			}
			healed.Store(true)
			if err := send(t, r, message("shop", 5), time.Minute); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func refusal(request kmsg.Request, code int16) kmsg.Response {
	produce := request.(*kmsg.ProduceRequest)
	response := produce.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range produce.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode = partition.Partition, code
			t.Partitions = append(t.Partitions, p)
		}
		response.Topics = append(response.Topics, t)
	}
	return response
}

// TestControlComesBackWithinTheTimeout holds it whatever the brokers do, and that the next attempt goes through.
func TestControlComesBackWithinTheTimeout(t *testing.T) {
	const timeout = 2 * time.Second
	for name, fault := range map[string]func(*kfake.Cluster) (heal func()){
		"silent produce": func(c *kfake.Cluster) func() {
			done := make(chan struct{})
			c.ControlKey(produceKey, func(kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				select {
				case <-done:
					return nil, nil, false
				default:
				}
				c.SleepControl(func() { <-done })
				return nil, errors.New("cut"), true
			})
			return func() { close(done); c.DropControl() }
		},
		"cut produce": func(c *kfake.Cluster) func() {
			c.ControlKey(produceKey, func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("cut"), true
			})
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t)
			r := receiver(t, c, nil, notify.Common{})
			heal := fault(c)
			begin := time.Now()
			e := failure(t, send(t, r, message("shop", 3), timeout))
			took := time.Since(begin)
			heal()
			if e.Outcome != notify.Retry || took > timeout+10*time.Second {
				t.Errorf("%v after %s, want a retry after %s", e, took, timeout)
			}
			if err := send(t, r, message("shop", 3), time.Minute); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestDeadAndMovedLeadersAreRetried(t *testing.T) {
	c := cluster(t)
	r := receiver(t, c, nil, notify.Common{})
	if err := send(t, r, message("shop", 3), time.Minute); err != nil {
		t.Fatal(err)
	}
	c.ShufflePartitionLeaders()
	left := c.LeaderFor("events-shop", 0)
	if err := c.RemoveNode((left + 1) % 3); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 10 {
		if err = send(t, r, message("shop", 3), 20*time.Second); err == nil {
			break
		}
		if e := failure(t, err); e.Outcome != notify.Retry {
			t.Fatalf("%v, want a retry", e)
		}
	}
	if err != nil {
		t.Fatalf("after ten attempts: %v", err)
	}
}

// TestWhatWaitedForDaysIsWritten: a spool after an outage is old records, and their time is that of the event.
func TestWhatWaitedForDaysIsWritten(t *testing.T) {
	c := cluster(t)
	r := receiver(t, c, nil, notify.Common{})
	m := message("shop", 3)
	for i := range m.Incidents {
		m.Incidents[i].LastSeen = m.Now.Add(-7 * 24 * time.Hour)
	}
	if err := send(t, r, m, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, record := range consume(t, c, "events-shop", 3) {
		if !record.Timestamp.Equal(m.Incidents[0].LastSeen.Truncate(time.Millisecond)) {
			t.Errorf("the record's time is %s, want that of the event, %s", record.Timestamp, m.Incidents[0].LastSeen)
		}
	}
}

func TestMissingTopicHoldsNoOther(t *testing.T) {
	c := cluster(t)
	r := receiver(t, c, nil, notify.Common{})
	m := message("shop", 2)
	m.Incidents = append(m.Incidents, message("forbidden", 2).Incidents...)
	first, err := r.Render(m, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	if first.Group != "events-shop" || !slices.Equal(first.Taken, []int{0, 1}) {
		t.Fatalf("group %q of %v", first.Group, first.Taken)
	}
	if err := r.Send(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	e := failure(t, send(t, r, message("forbidden", 2), time.Minute))
	if !e.GroupOnly || r.(notify.Grouper).Group(&message("forbidden", 1).Incidents[0]) != "events-forbidden" {
		t.Errorf("%v is not about its topic only", e)
	}
}

func TestLossIsARecordOfItsOwn(t *testing.T) {
	c := cluster(t)
	r := receiver(t, c, nil, notify.Common{})
	m := message("shop", 2)
	m.Losses = []notify.Loss{{Cause: "evicted", Incidents: 3, Events: 40, Since: m.Now}}
	request, err := r.Render(m, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Send(t.Context(), request); err != nil || !request.LossesTold(err) || request.Incidents != 2 {
		t.Fatalf("%v, told %v, %d incidents", err, request.LossesTold(err), request.Incidents)
	}
	found := false
	for _, record := range consume(t, c, "events-shop", 3) {
		found = found || strings.Contains(string(record.Value), `"events":40`) && strings.Contains(string(record.Value), "40 events of 3 incidents were lost: evicted")
	}
	if !found {
		t.Error("no record tells the loss")
	}
	alone := &notify.Message{Now: time.Now(), Losses: m.Losses}
	if err := send(t, r, alone, time.Minute); err != nil {
		t.Errorf("a loss alone: %v", err)
	}
}

func TestScramOverTLSWithOwnAuthority(t *testing.T) {
	serverTLS, caFile := certificate(t)
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := cluster(t, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "edge", "right-password"), kfake.TLS(serverTLS))
			password := filepath.Join(t.TempDir(), "password")
			write := func(text string) {
				if err := os.WriteFile(password, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			change := func(s *kafka.Config) {
				s.Plaintext = false
				s.SASL = kafka.SASL{Mechanism: mechanism, User: "edge", Password: notify.SecretFile(password)}
			}
			write("wrong-password")
			r := receiver(t, c, change, notify.Common{TLS: notify.TLS{CAFile: caFile}})
			err := send(t, r, message("shop", 1), 20*time.Second)
			if e := failure(t, err); strings.Contains(e.Error(), "wrong-password") {
				t.Errorf("the password is in %v", e)
			}
			// The file is read at each attempt.
			write("right-password")
			if err := send(t, r, message("shop", 1), time.Minute); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var doubted []string
			untrusting := receiver(t, c, change, notify.Common{Doubt: func(host string, wrong bool) {
				mu.Lock()
				defer mu.Unlock()
				if wrong {
					doubted = append(doubted, host)
				}
			}})
			if e := failure(t, send(t, untrusting, message("shop", 1), 20*time.Second)); e.Outcome != notify.Retry || !strings.Contains(e.Error(), "not trusted") {
				t.Errorf("%v, want a retry that says so", e)
			}
			untrusting.Close()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Contains(doubted, "127.0.0.1") {
				t.Errorf("the name of a broker that cannot be trusted is not doubted: %v", doubted)
			}
			if got := untrusting.(interface{ Destination() string }).Destination(); got != "127.0.0.1" {
				t.Errorf("the destination is %q", got)
			}
		})
	}
}

// certificate makes a TLS configuration for loopback and the file of the authority that it stands for.
func certificate(t *testing.T) (server *tls.Config, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafka"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, caFile
}
