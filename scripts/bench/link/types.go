package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	server "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/alertmanager"
	"github.com/edge-eventer/edge-eventer/notify/cloudevents"
	"github.com/edge-eventer/edge-eventer/notify/elasticsearch"
	"github.com/edge-eventer/edge-eventer/notify/influxdb"
	"github.com/edge-eventer/edge-eventer/notify/kafka"
	"github.com/edge-eventer/edge-eventer/notify/kafkarest"
	"github.com/edge-eventer/edge-eventer/notify/mqtt"
	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/notify/otlp"
	"github.com/edge-eventer/edge-eventer/notify/record"
	"github.com/edge-eventer/edge-eventer/notify/webhook"
)

// batches are the sizes of a message whose bytes are counted.
func batches() []int { return []int{1, 10, 100} }

// typeRow is what one event costs over a connection that is warm, by batches: what is sent, and what comes back.
type typeRow struct {
	name    string
	out, in []int64
}

// typesRun sends the same events through each type of receiver that a machine reads.
func typesRun(ctx context.Context, seed uint64, out io.Writer) error {
	var rows []typeRow
	for _, s := range subjects() {
		row, err := s.measure(ctx, seed)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		rows = append(rows, row)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "seed %d; bytes for each event at the socket, sent and received, over a connection that is open, with the header of the request,\n"+
		"without TLS (29 bytes a record) and without headers of TCP and IP\n\n", seed)
	table.WriteString("| type | alone, sent | received | of 10, sent | received | of 100, sent | received |\n|---|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range rows {
		fmt.Fprintf(&table, "| %s |", r.name)
		for i := range batches() {
			fmt.Fprintf(&table, " %d | %d |", r.out[i], r.in[i])
		}
		table.WriteString("\n")
	}
	_, err := io.WriteString(out, table.String())
	return err
}

// subject is a type with its far end.
type subject struct {
	name string
	// start runs the far end, and returns the settings for it and what ends it.
	start func() (notify.Settings, func(), error)
}

func subjects() []subject {
	all := []subject{}
	web := func(name string, platform notifytest.Platform, settings func(url notify.Secret) notify.Settings) {
		all = append(all, subject{name, func() (notify.Settings, func(), error) {
			s := notifytest.Start(notifytest.New(platform))
			return settings(notify.SecretValue(s.URL() + "/hook")), s.Close, nil
		}})
	}
	web("webhook", &notifytest.Webhook{}, func(url notify.Secret) notify.Settings {
		s := webhook.Defaults().(*webhook.Config)
		s.URL = url
		return s
	})
	web("cloudevents", &notifytest.CloudEvents{Batched: true}, func(url notify.Secret) notify.Settings {
		s := cloudevents.Defaults().(*cloudevents.Config)
		// 100 is the default, which asks for no batch.
		s.URL, s.Batch.Max = url, 101
		return s
	})
	web("alertmanager", &notifytest.Alertmanager{}, func(url notify.Secret) notify.Settings {
		s := alertmanager.Defaults().(*alertmanager.Config)
		s.URL = url
		return s
	})
	web("kafka-rest", &notifytest.KafkaRest{}, func(url notify.Secret) notify.Settings {
		s := kafkarest.Defaults().(*kafkarest.Config)
		s.URL = url
		return s
	})
	web("otlp", &notifytest.OTLP{}, func(url notify.Secret) notify.Settings {
		s := otlp.Defaults().(*otlp.Config)
		s.URL = url
		return s
	})
	web("elasticsearch", &notifytest.Elasticsearch{}, func(url notify.Secret) notify.Settings {
		s := elasticsearch.Defaults().(*elasticsearch.Config)
		s.URL = url
		return s
	})
	web("influxdb", &notifytest.InfluxDB{API: "2"}, func(url notify.Secret) notify.Settings {
		s := influxdb.Defaults().(*influxdb.Config)
		s.URL, s.Organization, s.Bucket = url, "shops", "events"
		return s
	})
	return append(all, subject{"kafka", startKafka}, subject{"mqtt", startMQTT})
}

func startKafka() (notify.Settings, func(), error) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events-shop"))
	if err != nil {
		return nil, nil, err
	}
	s := kafka.Defaults().(*kafka.Config)
	s.Brokers, s.Plaintext = c.ListenAddrs(), true
	return s, c.Close, nil
}

// anybody lets every client in.
type anybody struct{ server.HookBase }

func (*anybody) ID() string { return "anybody" }
func (*anybody) Provides(b byte) bool {
	return b == server.OnConnectAuthenticate || b == server.OnACLCheck
}
func (*anybody) OnConnectAuthenticate(*server.Client, packets.Packet) bool { return true }
func (*anybody) OnACLCheck(*server.Client, string, bool) bool              { return true }

func startMQTT() (notify.Settings, func(), error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	b := server.New(&server.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	err = errors.Join(b.AddHook(new(anybody), nil), b.AddListener(listeners.NewNet("bench", l)), b.Serve(),
		b.Subscribe("#", 1, func(*server.Client, packets.Subscription, packets.Packet) {}))
	s := mqtt.Defaults().(*mqtt.Config)
	s.URL = notify.SecretValue("mqtt://" + l.Addr().String())
	return s, func() { _ = b.Close() }, err
}

// measure sends a first message, and counts those after it.
func (s *subject) measure(ctx context.Context, seed uint64) (row typeRow, err error) {
	settings, stop, err := s.start()
	if err != nil {
		return row, err
	}
	defer stop()
	var counted wire
	r, err := settings.New(notify.Common{Name: s.name, Cluster: "shop-17", DialContext: counted.dial})
	if err != nil {
		return row, err
	}
	defer r.Close()
	made := newMaker(seed)
	if err := send(ctx, r, made.message(100)); err != nil {
		return row, err
	}
	row.name = s.name
	for _, n := range batches() {
		const rounds = 10
		out, in := counted.out.Load(), counted.in.Load()
		for range rounds {
			if err := send(ctx, r, made.message(n)); err != nil {
				return row, err
			}
		}
		row.out = append(row.out, (counted.out.Load()-out)/int64(rounds*n))
		row.in = append(row.in, (counted.in.Load()-in)/int64(rounds*n))
	}
	return row, nil
}

// send sends all of a message, in as many requests as the receiver makes of it.
func send(ctx context.Context, r notify.Receiver, m *notify.Message) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for len(m.Incidents) > 0 {
		request, err := r.Render(m, notify.Full)
		if err != nil {
			return err
		}
		if err := r.Send(ctx, request); err != nil {
			return err
		}
		m.Incidents = m.Incidents[request.Incidents:]
	}
	return nil
}

// wire counts what goes over all connections.
type wire struct{ out, in atomic.Int64 }

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	return &wireConn{c, w}, err
}

type wireConn struct {
	net.Conn

	wire *wire
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.in.Add(int64(n))
	return n, err
}

func (c *wireConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.wire.out.Add(int64(n))
	return n, err
}

// maker makes incidents of an archive: each is one event, with IDs that nobody can guess, as the agent and the API server make them.
type maker struct {
	random *rand.Rand
	source *cluster
	at     time.Time
}

func newMaker(seed uint64) *maker {
	return &maker{rand.New(rand.NewPCG(seed, seed)), newCluster(seed), time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)}
}

func (m *maker) message(n int) *notify.Message {
	message := &notify.Message{Now: time.Now()}
	for range n {
		m.at = m.at.Add(time.Second)
		e, err := record.ParseObject(m.source.add(m.random.IntN(50), m.at))
		if err != nil {
			panic(err)
		}
		e.UID, e.InvolvedObject.UID = m.uid(), m.uid()
		e.Name = fmt.Sprintf("%s.%x", e.InvolvedObject.Name, m.random.Uint64()|1<<60)
		message.Incidents = append(message.Incidents, notify.Incident{
			Event: e, ID: e.UID + "." + e.ResourceVersion, Cluster: "shop-17", Workload: e.InvolvedObject.Name[:6], Severity: notify.Warning,
			Occurrences: 1, Untold: 1, FirstSeen: m.at, LastSeen: m.at, Objects: []string{e.InvolvedObject.Name}, ObjectCount: 1,
		})
	}
	return message
}

// uid is a random UUID.
func (m *maker) uid() string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], m.random.Uint64())
	binary.LittleEndian.PutUint64(b[8:], m.random.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
