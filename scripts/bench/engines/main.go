package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/edge-eventer/edge-eventer/notify/notifytest"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// batches are the sizes that are measured.
var batches = [...]int{1, 10, 100} //nolint:gochecknoglobals // An array cannot be a constant.

// topic is where the records of kafka go.
const topic = "events"

// engine is a type of receiver with its far end.
type engine struct {
	// name is the word of the configuration, and that of the package.
	name string
	// keys are those of its receiver in the configuration, with fold: event and TLS.
	keys string
}

// cost is what an engine costs.
type cost struct {
	// binary is in bytes, what the arm64 binary is larger by; 0 where the agent does not do without.
	binary int64
	// anonymous and resident are the peaks in KiB.
	anonymous, resident int64
	// first is of one event over a new connection, wire of an event in each of the batches, both ways at the socket.
	first int64
	wire  [len(batches)]float64
}

func main() {
	flags := flag.NewFlagSet("bench-engines", flag.ExitOnError)
	agent := flags.String("agent", "bin/edge-eventer", "the agent's binary")
	events := flags.Int("events", 5000, "events that the agent delivers while its memory is looked at; 0 leaves memory out")
	binary := flags.Bool("binary", true, "build the agent without each engine")
	_ = flags.Parse(os.Args[1:])
	if err := stage.Run(context.Background(), 30*time.Minute, func(s *stage.Stage) error { return run(s, *agent, *events, *binary) }); err != nil {
		fmt.Fprintln(os.Stderr, "bench-engines:", err)
		os.Exit(1)
	}
}

func run(s *stage.Stage, agent string, events int, binary bool) error {
	engines, err := start(s)
	if err != nil {
		return err
	}
	incidents, err := recorded()
	if err != nil {
		return err
	}
	costs := make([]cost, len(engines))
	for i := range engines {
		s.Logf("%s: bytes on the wire", engines[i].name)
		if err := engines[i].wire(s.Context(), incidents, &costs[i]); err != nil {
			return fmt.Errorf("%s: %w", engines[i].name, err)
		}
	}
	if binary {
		if err := sizes(s, engines, costs); err != nil {
			return err
		}
	}
	if events > 0 {
		if err := memory(s, agent, events, engines, costs); err != nil {
			return err
		}
	}
	fmt.Printf("Load of the machine while it was measured: %s.\n\n", stage.LoadAverage())
	fmt.Println("| type | binary, arm64, kB | peak RssAnon, MiB | peak VmHWM, MiB | first event, new connection, B | an event alone, B | of 10, B | of 100, B |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|")
	for i, e := range engines {
		c := costs[i]
		size, anonymous, resident := "-", "-", "-"
		if c.binary > 0 {
			size = fmt.Sprintf("%.0f", float64(c.binary)/1e3)
		}
		if c.anonymous > 0 {
			anonymous, resident = fmt.Sprintf("%.1f", float64(c.anonymous)/1024), fmt.Sprintf("%.1f", float64(c.resident)/1024)
		}
		fmt.Printf("| %s | %s | %s | %s | %d | %.0f | %.0f | %.0f |\n", e.name, size, anonymous, resident, c.first, c.wire[0], c.wire[1], c.wire[2])
	}
	return nil
}

// start starts a far end for each engine, all with TLS.
func start(s *stage.Stage) ([]engine, error) {
	fake := func(p notifytest.Platform) string {
		server := notifytest.StartTLS(notifytest.New(p))
		s.Cleanup(server.Close)
		return server.URL()
	}
	engines := []engine{
		{"webhook", fmt.Sprintf("url: %q, gzip: true", fake(&notifytest.Webhook{})+"/events")},
		{"otlp", fmt.Sprintf("url: %q", fake(&notifytest.OTLP{}))},
		{"elasticsearch", fmt.Sprintf("url: %q", fake(&notifytest.Elasticsearch{}))},
		{"influxdb", fmt.Sprintf("url: %q, api: \"2\", organization: shops, bucket: events, token: t", fake(&notifytest.InfluxDB{API: "2", Token: "t"}))},
	}
	// The certificate is that of httptest, as for the others.
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	defer certificates.Close()
	withTLS := &tls.Config{Certificates: certificates.TLS.Certificates}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.TLS(withTLS))
	if err != nil {
		return nil, fmt.Errorf("start a Kafka cluster: %w", err)
	}
	s.Cleanup(cluster.Close)
	broker, err := startBroker(s, withTLS)
	if err != nil {
		return nil, fmt.Errorf("start an MQTT broker: %w", err)
	}
	return append(engines,
		engine{"kafka", fmt.Sprintf("brokers: [%s], topic: %s", strings.Join(cluster.ListenAddrs(), ", "), topic)},
		engine{"mqtt", fmt.Sprintf("url: \"mqtts://%s\", topic: %s", broker, topic)}), nil
}

// startBroker starts an MQTT broker with a subscriber to everything, and returns its address.
func startBroker(s *stage.Stage, withTLS *tls.Config) (string, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", withTLS)
	if err != nil {
		return "", err
	}
	broker := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := errors.Join(broker.AddHook(new(everybody), nil), broker.AddListener(listeners.NewNet("bench", l)), broker.Serve()); err != nil {
		return "", err
	}
	s.Cleanup(func() { _ = broker.Close() })
	return l.Addr().String(), broker.Subscribe("#", 1, func(*mqtt.Client, packets.Subscription, packets.Packet) {})
}

// everybody may connect to the broker, and publish what he likes.
type everybody struct{ mqtt.HookBase }

// ID names the hook.
func (*everybody) ID() string { return "everybody" }

// Provides says what the hook decides.
func (*everybody) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}

// OnConnectAuthenticate lets a client in.
func (*everybody) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck allows a topic.
func (*everybody) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// receivers are the lines of a configuration with the engine only.
func (e *engine) receivers() string {
	return fmt.Sprintf("receivers:\n  - {name: %s, type: %s, fold: event, tls: {insecureSkipVerify: true}, %s}\n", e.name, e.name, e.keys)
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
