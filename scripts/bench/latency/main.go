// Command latency measures how long an event takes from the API server to a receiver. scripts/bench-latency starts it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

const (
	namespace = "latency"
	// groupWait is for how long the second receiver waits for companions; it is subtracted. Events that come one at a time have none.
	groupWait = time.Second
)

func main() {
	flags := flag.NewFlagSet("bench-latency", flag.ExitOnError)
	agent := flags.String("agent", "bin/edge-eventer", "the agent's binary")
	events := flags.Int("events", 300, "events of each row; a third of them where they come one at a time")
	_ = flags.Parse(os.Args[1:])
	if err := stage.Run(context.Background(), 20*time.Minute, func(s *stage.Stage) error { return run(s, *agent, *events) }); err != nil {
		fmt.Fprintln(os.Stderr, "bench-latency:", err)
		os.Exit(1)
	}
}

// clock is when each event was asked for, confirmed by the API server, and posted to each receiver.
type clock struct {
	mu               sync.Mutex
	asked, confirmed map[string]time.Time
	posted           map[string]map[string]time.Time
}

func (c *clock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	receiver := strings.TrimPrefix(r.URL.Path, "/")
	var body struct {
		Incidents []struct {
			Event struct {
				Metadata struct {
					Name string `json:"name"`
				} `json:"metadata"`
			} `json:"event"`
		} `json:"incidents"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, in := range body.Incidents {
		name := in.Event.Metadata.Name
		if _, ok := c.posted[receiver][name]; !ok {
			c.posted[receiver][name] = now
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func run(s *stage.Stage, binary string, events int) error {
	dir := s.TempDir()
	cluster := clustertest.Start(s, clustertest.Options{})
	cluster.CreateNamespace(s, namespace)
	c := &clock{
		asked: make(map[string]time.Time), confirmed: make(map[string]time.Time),
		posted: map[string]map[string]time.Time{"now": {}, "grouped": {}},
	}
	l, err := new(net.ListenConfig).Listen(s.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`kubernetes: {kubeconfig: %q}
spool: {path: %q}
server: {listen: ""}
receivers:
  - {name: now, type: webhook, url: "http://%s/now", groupWait: 0s}
  - {name: grouped, type: webhook, url: "http://%s/grouped", fold: incident, groupWait: %s}
`, cluster.AgentKubeconfig, filepath.Join(dir, "spool", "spool.db"), l.Addr(), l.Addr(), groupWait)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := s.StartAgent(binary, config, log); err != nil {
		return err
	}
	// The first ones are not counted: they wait for the sign-in and the list.
	if err := c.make(s, cluster, "first", 3, 2*time.Second); err != nil {
		return err
	}
	fmt.Printf("load average %s\n\n", stage.LoadAverage())
	fmt.Println("| from the event to the POST | receiver | events | p50 ms | p90 ms | p99 ms | max ms | p99 ms after the API server's answer |\n|---|---|---|---|---|---|---|---|")
	for _, load := range []struct {
		what   string
		n      int
		period time.Duration
	}{
		{"one each 2 s", events / 3, 2 * time.Second},
		{"10 a second", events, 100 * time.Millisecond},
	} {
		prefix := strings.ReplaceAll(load.what, " ", "-")
		if err := c.make(s, cluster, prefix, load.n, load.period); err != nil {
			return err
		}
		c.row(load.what, "groupWait: 0s", prefix, "now", 0)
		c.row(load.what, "groupWait: 1s, subtracted", prefix, "grouped", groupWait)
	}
	fmt.Printf("\nMeasured from the request that creates the event; the API server itself takes p50 %s ms, p99 %s ms of that until it answers.\nload average %s\n",
		c.own(50), c.own(99), stage.LoadAverage())
	return nil
}

// make creates events, each an incident of its own, and waits until both receivers have them.
func (c *clock) make(s *stage.Stage, cluster *clustertest.Cluster, prefix string, n int, period time.Duration) error {
	// The create helper logs each call.
	quiet := &silent{s}
	tick := time.NewTicker(period)
	defer tick.Stop()
	var running sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		select {
		case <-tick.C:
		case <-s.Context().Done():
			return s.Context().Err()
		}
		running.Go(func() {
			one := fmt.Sprintf("%s-%d", prefix, i)
			asked := time.Now()
			errs[i] = s.Try(func() {
				cluster.CreateEvents(quiet, 1, clustertest.EventTemplate{Namespace: namespace, Prefix: one})
			})
			c.mu.Lock()
			defer c.mu.Unlock()
			c.asked[one+"-00000"], c.confirmed[one+"-00000"] = asked, time.Now()
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.Until("all events of "+prefix, time.Minute, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for name := range c.asked {
			for _, posted := range c.posted {
				if _, ok := posted[name]; !ok {
					return false
				}
			}
		}
		return true
	})
}

// silent is a stage that logs nothing.
type silent struct{ *stage.Stage }

func (*silent) Logf(string, ...any) {}

func (c *clock) row(what, how, prefix, receiver string, less time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var took, after []time.Duration
	for name, at := range c.asked {
		if strings.HasPrefix(name, prefix+"-") {
			posted := c.posted[receiver][name]
			took = append(took, posted.Sub(at)-less)
			after = append(after, posted.Sub(c.confirmed[name])-less)
		}
	}
	slices.Sort(took)
	slices.Sort(after)
	fmt.Printf("| %s | %s | %d | %s | %s | %s | %s | %s |\n", what, how, len(took),
		percentile(took, 50), percentile(took, 90), percentile(took, 99), percentile(took, 100), percentile(after, 99))
}

// own is a percentile of what the API server takes to create an event.
func (c *clock) own(p int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var took []time.Duration
	for name, at := range c.asked {
		took = append(took, c.confirmed[name].Sub(at))
	}
	slices.Sort(took)
	return percentile(took, p)
}

func percentile(sorted []time.Duration, p int) string {
	i := max(0, (len(sorted)*p+99)/100-1)
	return fmt.Sprintf("%.0f", float64(sorted[i])/float64(time.Millisecond))
}
