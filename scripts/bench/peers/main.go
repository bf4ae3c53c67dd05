// Command peers sends the same events through this agent and through others, and measures what each loses and costs. scripts/bench-peers
// starts it and says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// sizes says how many events there are in each phase, and how long the outage is.
type sizes struct {
	start, away, outage int
	down                time.Duration
}

// settle is how long nothing new arrives until a phase is over; kube-eventer sends every 30 seconds.
const settle = 40 * time.Second

// result is what a program did.
type result struct {
	name                string
	lost                [3]int // Of the events at the start, those while it was away, and those of the outage.
	again               int
	resident, anonymous int64   // Peaks in KiB.
	wire, disk          float64 // Bytes over the socket, and bytes written, for an event.
	cpu                 time.Duration
	written             int64
	stuck               string
}

func main() {
	flags := flag.NewFlagSet("bench-peers", flag.ExitOnError)
	paths := make(map[string]*string)
	for _, p := range programs() {
		paths[p.name] = flags.String(p.name, p.path, "the binary of "+p.name+"; empty: it is left out")
	}
	var n sizes
	flags.IntVar(&n.start, "start", 5000, "events that are there at the start")
	flags.IntVar(&n.away, "away", 500, "events while the program is away")
	flags.IntVar(&n.outage, "outage", 2000, "events while the receiver refuses connections")
	flags.DurationVar(&n.down, "down", 3*time.Minute, "how long it refuses them")
	_ = flags.Parse(os.Args[1:])
	err := stage.Run(context.Background(), 2*time.Hour, func(s *stage.Stage) error {
		var results []*result
		for _, p := range programs() {
			if path := *paths[p.name]; path != "" {
				s.Logf("== %s", p.name)
				r, err := measure(s, &p, path, n)
				if err != nil {
					return fmt.Errorf("%s: %w", p.name, err)
				}
				results = append(results, r)
			}
		}
		report(results, n)
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-peers:", err)
		os.Exit(1)
	}
}

// measure runs one program over a control plane of its own.
func measure(s *stage.Stage, p *program, path string, n sizes) (*result, error) {
	cluster := clustertest.Start(s, clustertest.Options{})
	defer func() { _ = cluster.Stop() }()
	r := &result{name: p.name}
	receiver, err := newReceiver(s.Context())
	if err != nil {
		return nil, err
	}
	defer receiver.refuse()
	site := &site{stage: s, cluster: cluster, dir: s.TempDir(), url: "http://" + receiver.address, host: receiver.address}
	command, err := p.prepare(site, path)
	if err != nil {
		return nil, err
	}
	create := func(prefix string, count int) {
		cluster.CreateEvents(s, count, clustertest.EventTemplate{Namespace: "peers", Prefix: prefix, Objects: count/100 + 1})
	}
	life := func() (*process, error) {
		log, err := os.OpenFile(filepath.Join(site.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer func() { _ = log.Close() }()
		return startProcess(s, command, log)
	}
	create("start", n.start)
	a, err := life()
	if err != nil {
		return nil, err
	}
	r.stuck = r.wait(s, a, receiver, "start", n.start)
	// As a rollout or a reboot ends it.
	a.Stop(10 * time.Second)
	r.cpu, r.written = r.cpu+a.CPU(), r.written+a.written
	create("away", n.away)
	if a, err = life(); err != nil {
		return nil, err
	}
	r.wait(s, a, receiver, "away", n.away)
	receiver.refuse()
	create("outage", n.outage)
	if err := r.sleep(s, a, n.down); err != nil {
		return nil, err
	}
	if err := receiver.accept(s.Context()); err != nil {
		return nil, err
	}
	r.wait(s, a, receiver, "outage", n.outage)
	a.Stop(10 * time.Second)
	r.cpu, r.written = r.cpu+a.CPU(), r.written+a.written
	receiver.judge(r, n)
	return r, nil
}

var errEnded = errors.New("the program ended by itself")

// wait ends when all events of a phase are there, or none came for the time of settle.
func (r *result) wait(s *stage.Stage, a *process, receiver *receiver, prefix string, n int) string {
	last, since := -1, time.Now()
	for time.Since(since) < settle {
		have := receiver.count(prefix)
		if have >= n {
			return ""
		}
		if have != last {
			last, since = have, time.Now()
		}
		if err := r.sleep(s, a, time.Second); err != nil {
			return err.Error()
		}
	}
	return fmt.Sprintf("%d of %d", last, n)
}

// sleep looks at the memory and the disk all the while.
func (r *result) sleep(s *stage.Stage, a *process, d time.Duration) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		r.resident, r.anonymous = max(r.resident, a.Status("VmHWM")), max(r.anonymous, a.Status("RssAnon"))
		select {
		case <-tick.C:
		case <-a.Done():
			return errEnded
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
	return nil
}

func report(results []*result, n sizes) {
	fmt.Printf("%d events at the start, %d while the program was away, %d while its receiver was, for %s. Load of the machine: %s.\n\n",
		n.start, n.away, n.outage, n.down, stage.LoadAverage())
	fmt.Println("| program | lost at the start | lost while away | lost in the outage | told again | peak resident, MiB | peak anonymous, MiB | CPU, s | bytes posted an event | written to disk an event |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, r := range results {
		fmt.Printf("| %s | %d | %d | %d | %d | %.1f | %.1f | %.1f | %.0f | %.0f |\n", r.name, r.lost[0], r.lost[1], r.lost[2], r.again,
			float64(r.resident)/1024, float64(r.anonymous)/1024, r.cpu.Seconds(), r.wire, r.disk)
	}
	for _, r := range results {
		if r.stuck != "" {
			fmt.Printf("\n%s did not deliver all that was there at its start: %s.\n", r.name, r.stuck)
		}
	}
}
