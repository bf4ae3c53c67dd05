package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/notify/notifytest/engine"
)

// engineBatch is batch.max of every receiver of the test: what a kill can repeat at most.
const engineBatch = 100

// bus is a Kafka cluster that can be made to cut each connection.
type bus struct {
	*kfake.Cluster
	down atomic.Bool
}

func newBus(t *testing.T, topic string) *bus {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(2, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := &bus{Cluster: c}
	c.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, errors.New("cut"), b.down.Load()
	})
	return b
}

// read returns the names of the events in all records, with how often each was there, and of each the reason and the ID.
func (b *bus) read(t *testing.T) (names, ids map[string]int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.ListenAddrs()...), kgo.ConsumeTopics("events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	names, ids = make(map[string]int), make(map[string]int)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// The offsets at the end say when everything was read.
	end := b.stored("events")
	for read := int64(0); read < end; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", read, end, err)
		}
		for _, r := range fetches.Records() {
			read++
			var value struct {
				ID    string
				Event struct {
					Metadata struct{ Name string }
					Reason   string
				}
			}
			if err := json.Unmarshal(r.Value, &value); err != nil {
				t.Fatal(err)
			}
			if name := value.Event.Metadata.Name; strings.HasPrefix(name, "shop-") {
				names[name]++
				ids[value.Event.Reason+" "+value.ID]++
			}
		}
	}
	return names, ids
}

func (b *bus) stored(topic string) int64 {
	var n int64
	for partition := range int32(2) {
		if p := b.PartitionInfo(topic, partition); p != nil {
			n += p.HighWatermark
		}
	}
	return n
}

// writeEnginesConfig writes a configuration of four receivers that keep each event, and returns its path.
func writeEnginesConfig(t *testing.T, kubeconfig, logs, metrics string, brokers []string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`cluster: shop-17
kubernetes: {kubeconfig: %q, namespaces: [engines]}
spool: {path: %q, commitInterval: 500ms, maxBytes: 64Mi}
server: {listen: ""}
notify: {groupWait: 1s, maxBackoff: 1s}
fleet: {every: 0s} # The records of a site would be counted among the events.
receivers:
  - {name: otlp, type: otlp, fold: event, url: "%s/insert/opentelemetry", headers: {VL-Stream-Fields: k8s.cluster.name}}
  - {name: bulk, type: elasticsearch, fold: event, index: "", url: "%s/insert/elasticsearch/?_time_field=@timestamp&_msg_field=message&_stream_fields=cluster"}
  - {name: points, type: influxdb, fold: event, api: "1", database: events, numbersOnly: true, url: %q}
  - {name: bus, type: kafka, fold: event, topic: events, plaintext: true, brokers: [%s]}
`, kubeconfig, filepath.Join(dir, "spool", "spool.db"), logs, logs, metrics, strings.Join(brokers, ", "))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// named counts the rows that tell an event of the test, by the name in a field.
func named(rows []map[string]string, field string) map[string]int {
	count := make(map[string]int)
	for _, row := range rows {
		if name := row[field]; strings.HasPrefix(name, "shop-") {
			count[name]++
		}
	}
	return count
}

// TestNoEngineLosesAnEventOfAnOutageAndKills: the servers of four receivers go away, 5,000 events come, the agent is killed in the
// middle of them, and again while it delivers. Every event is read back from the engines themselves, and a kill costs at most a
// batch of repeats.
func TestNoEngineLosesAnEventOfAnOutageAndKills(t *testing.T) {
	logs, metrics, kafka := engine.VictoriaLogs(t), engine.VictoriaMetrics(t), newBus(t, "events")
	cluster := clustertest.Shared(t)
	config := writeEnginesConfig(t, cluster.AgentKubeconfig, logs.URL, metrics.URL, kafka.ListenAddrs())
	const batches, perBatch, before = 10, 500, 1
	// A reason of their own for each batch: in VictoriaMetrics, which keeps no names, they are a series.
	// The outage was long: what comes out of it is old.
	at := time.Now().Add(-50 * time.Minute)
	create := func(from, to int) {
		for i := from; i < to; i++ {
			cluster.CreateEvents(t, perBatch, clustertest.EventTemplate{
				Namespace: "engines", Prefix: fmt.Sprintf("shop-%02d", i), Reason: fmt.Sprintf("Reason%02d", i), At: at,
			})
		}
	}
	// Since the start of a server, repeats too. Rows are read back at the end only: to ask for them all the time takes the machine.
	taken := func() int {
		least := int(metrics.Metric(t, "vm_rows_inserted_total", `type="influx"`)) / 2
		for _, kind := range []string{`type="opentelemetry_protobuf"`, `type="elasticsearch_bulk"`} {
			least = min(least, int(logs.Metric(t, "vl_rows_ingested_total", kind)))
		}
		return least
	}

	p := startAgent(t, config)
	create(0, before)
	engine.Until(t, time.Minute, "the first events are stored", func() bool { return taken() >= before*perBatch && kafka.stored("events") >= before*perBatch })

	logs.Stop(t)
	metrics.Stop(t)
	kafka.down.Store(true)
	create(before, batches/2)
	p.kill()
	p = startAgent(t, config)
	create(batches/2, batches)
	until(t, "the agent has tried in vain", func() bool { return strings.Contains(p.log.String(), `"receiver":"otlp"`) })

	kafka.down.Store(false)
	logs.Start(t)
	metrics.Start(t)
	engine.Until(t, time.Minute, "a part of what waited is delivered", func() bool { return taken() >= 2*perBatch })
	p.kill()
	p = startAgent(t, config)

	const total = batches * perBatch
	var inLogs, inBulk map[string]int
	var samples []engine.Sample
	var inKafka, ids map[string]int
	engine.Until(t, 2*time.Minute, "all engines have all events", func() bool {
		// What was delivered before the last start is not in it.
		if taken() < total-2*before*perBatch-3*perBatch || kafka.stored("events") < total {
			return false
		}
		rows := logs.Logs(t, `* | fields "k8s.event.name", eventName`)
		inLogs, inBulk = named(rows, "k8s.event.name"), named(rows, "eventName")
		samples = metrics.Samples(t, "kubernetes_events_count{reason=~'Reason.*'}")
		if len(inLogs) < total || len(inBulk) < total || len(samples) < total {
			return false
		}
		// Its offsets also count what the agent tells of itself.
		inKafka, ids = kafka.read(t)
		return len(inKafka) >= total
	})
	p.signal(syscall.SIGTERM)
	p.exit()

	for name, got := range map[string]map[string]int{"kafka": inKafka, "otlp": inLogs, "elasticsearch": inBulk} {
		repeats := -total
		for _, n := range got {
			repeats += n
		}
		t.Logf("%s: %d events, %d repeats", name, len(got), repeats)
		if len(got) != total || repeats > 2*engineBatch {
			t.Errorf("%s: %d events with %d repeats, want %d with at most a batch of %d for each kill", name, len(got), repeats, total, engineBatch)
		}
	}
	checkSamples(t, samples, ids)
}

// checkSamples holds the points against the reasons and IDs of the events: VictoriaMetrics keeps no names, and of a time the
// milliseconds, which the ID decides.
func checkSamples(t *testing.T, samples []engine.Sample, ids map[string]int) {
	t.Helper()
	type point struct {
		reason      string
		millisecond int64
	}
	got, want := make(map[point]int), make(map[point]int)
	for _, s := range samples {
		got[point{s.Labels["reason"], s.Milliseconds % 1000}]++
	}
	for text := range ids {
		reason, id, _ := strings.Cut(text, " ")
		sum := sha256.Sum256([]byte(id))
		want[point{reason, int64(binary.BigEndian.Uint64(sum[:]) % 1_000_000_000 / 1_000_000)}]++
	}
	repeats := len(samples) - len(ids)
	t.Logf("influxdb: %d points for %d events", len(samples), len(ids))
	for p, n := range want {
		if got[p] < n {
			t.Errorf("influxdb: %d points of %s in millisecond %d, want %d", got[p], p.reason, p.millisecond, n)
		}
	}
	if repeats > 2*engineBatch {
		t.Errorf("influxdb: %d repeats, want at most a batch of %d for each kill", repeats, engineBatch)
	}
}
