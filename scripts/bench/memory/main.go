package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

const (
	sampleInterval = 100 * time.Millisecond
	// mapInterval is longer: the kernel walks every page for smaps.
	mapInterval = time.Second
	// restTime is how long the agent is watched after everything is delivered.
	restTime = 20 * time.Second
	// phaseTimeout ends a run that makes no progress.
	phaseTimeout = 4 * time.Minute
	// eventsPerIncident of the events share workload and reason.
	eventsPerIncident = 500
	// phaseCount is how many a run has that comes to its end.
	phaseCount = 4
)

type options struct {
	agent         string
	start, outage int
	limits        []int64
	svg           string
}

func main() {
	// clustertest asks package testing whether tests are short, which wants its flags to exist: those are not this program's.
	testing.Init()
	if err := flag.CommandLine.Parse(nil); err != nil {
		panic(err)
	}
	flags := flag.NewFlagSet("bench-memory", flag.ExitOnError)
	var o options
	flags.StringVar(&o.agent, "agent", "bin/edge-eventer", "the agent's binary")
	flags.IntVar(&o.start, "start", 20_000, "events in the cluster when the agent starts")
	flags.IntVar(&o.outage, "outage", 50_000, "events during the outage")
	flags.StringVar(&o.svg, "svg", "", "write the plot to this file")
	limits := flags.String("limits", "0,32,24,16", "limits of the cgroups in MiB; 0: none")
	_ = flags.Parse(os.Args[1:])
	for text := range strings.SplitSeq(*limits, ",") {
		mib, err := strconv.ParseInt(text, 10, 64)
		if err != nil || mib < 0 || flags.NArg() > 0 {
			flags.Usage()
			os.Exit(2)
		}
		o.limits = append(o.limits, mib<<20)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench-memory:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, o options, out io.Writer) error {
	var results []*result
	for _, limit := range o.limits {
		r := &result{limit: limit, want: o.start + o.outage}
		if err := r.run(ctx, o); err != nil {
			return fmt.Errorf("limit %s: %w", limitName(limit), err)
		}
		results = append(results, r)
		fmt.Fprintf(os.Stderr, "limit %s: %s, VmHWM %s MiB\n", limitName(limit), r.ending(), mib(r.peak().peak))
	}
	report(out, results)
	if o.svg != "" {
		if err := os.WriteFile(o.svg, plot(results), 0o644); err != nil { //nolint:gosec // A picture for everyone.
			return err
		}
	}
	for _, r := range results {
		if !r.killed && !r.stuck && r.delivered+int(r.lost) < r.want {
			return fmt.Errorf("limit %s: %d events delivered and %d told to be lost, of %d", limitName(r.limit), r.delivered, r.lost, r.want)
		}
	}
	return nil
}

// phase is a part of a run.
type phase struct {
	name string
	from time.Duration
}

// result is one run.
type result struct {
	limit   int64
	want    int
	samples []sample
	phases  []phase
	// took is until everything was delivered; cpu is user and system time of the agent until its end.
	took, cpu time.Duration
	// killed by the kernel, or stuck: no end within phaseTimeout.
	killed, stuck bool
	// largest are the mappings when they were largest, atRest those at the end.
	largest, atRest mappings
	pressure        pressure
	delivered       int
	lost            uint64
	messages        int
}

// peak is the sample with the highest VmHWM, which is the last.
func (r *result) peak() *sample {
	if len(r.samples) == 0 {
		return new(sample)
	}
	return &r.samples[len(r.samples)-1]
}

func (r *result) peakAnon() (n int64) {
	for _, s := range r.samples {
		n = max(n, s.anon)
	}
	return n
}

func (r *result) ending() string {
	if r.killed {
		return fmt.Sprintf("**killed** after %.0f s, in %q", r.took.Seconds(), r.phases[len(r.phases)-1].name)
	}
	if r.stuck {
		return fmt.Sprintf("**stuck** after %.0f s, in %q", r.took.Seconds(), r.phases[len(r.phases)-1].name)
	}
	return fmt.Sprintf("done in %.0f s", r.took.Seconds())
}

// errEnded says that the agent was gone before its time.
var errEnded = errors.New("the agent ended")

// run makes one run with a control plane of its own.
func (r *result) run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "bench-memory.")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// Each phase has a time-out of its own.
	return stage.Run(ctx, time.Hour, func(s *stage.Stage) error { return r.inCluster(s, o, dir) })
}

func (r *result) inCluster(stage *stage.Stage, o options, dir string) error {
	ctx := stage.Context()
	cluster := clustertest.Start(stage, clustertest.Options{})
	there, err := newReceivers(ctx, filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	defer there.refuse()
	metrics, err := writeConfig(ctx, dir, cluster.AgentKubeconfig, there.address)
	if err != nil {
		return err
	}
	group, err := newCgroup(r.limit)
	if err != nil {
		return err
	}
	defer func() { _ = group.remove() }()
	create(cluster, stage, "start", o.start)

	p, err := startAgent(ctx, o.agent, dir, group)
	if err != nil {
		return err
	}
	stopped := make(chan struct{})
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		r.record(p, stopped)
	}()
	began := func(name string) { r.phases = append(r.phases, phase{name, time.Since(p.began)}) }
	wait := func(done func(*state) bool) error { return waitFor(ctx, p, metrics, done) }
	err = func() error {
		began(fmt.Sprintf("%d events at the start", o.start))
		if err := wait(func(s *state) bool { return s.committed >= o.start && s.untold == 0 }); err != nil {
			return err
		}
		began(fmt.Sprintf("%d more in an outage", o.outage))
		there.refuse()
		defer func() {
			if p.ended() {
				// The deferred refuse of the caller needs something to close.
				_ = there.accept(ctx)
			}
		}()
		create(cluster, stage, "outage", o.outage)
		if err := wait(func(s *state) bool { return s.committed >= o.start+o.outage }); err != nil {
			return err
		}
		began("delivery of what waited")
		if err := there.accept(ctx); err != nil {
			return err
		}
		if err := wait(func(s *state) bool { return s.untold == 0 }); err != nil {
			return err
		}
		r.took = time.Since(p.began)
		began("rest")
		timer := time.NewTimer(restTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-p.done:
			return errEnded
		}
	}()
	r.atRest = p.mappings()
	close(stopped)
	<-sampled
	r.pressure = group.pressure()
	p.stop()
	r.cpu = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	r.delivered, r.lost, r.messages = there.archived()
	switch {
	case errors.Is(err, errEnded) && r.pressure.kills > 0:
		r.killed, r.took, err = true, r.peak().at, nil
	case errors.Is(err, context.DeadlineExceeded):
		r.stuck, r.took, err = true, r.peak().at, nil
	}
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "agent.log"))
		return fmt.Errorf("%w; its log ends with\n%s", err, text[max(0, len(text)-2<<10):])
	}
	return nil
}

// quiet passes on nothing of what a helper says.
type quiet struct{ *stage.Stage }

// Logf says nothing.
func (quiet) Logf(string, ...any) {}

// create makes events of an incident for each 500, in a namespace of that name.
func create(cluster *clustertest.Cluster, s *stage.Stage, namespace string, n int) {
	began := time.Now()
	for i := 0; i*eventsPerIncident < n; i++ {
		cluster.CreateEvents(quiet{s}, min(eventsPerIncident, n-i*eventsPerIncident), clustertest.EventTemplate{
			Namespace: namespace, Prefix: fmt.Sprintf("%s-%03d", namespace, i),
			Message: "Back-off restarting failed container app in pod, restarting failed container=app: exit code 137, last state terminated",
		})
	}
	s.Logf("%d events were created in %.0f s", n, time.Since(began).Seconds())
}

// record samples until the process ends or stop is closed.
func (r *result) record(p *process, stop <-chan struct{}) {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for i := 0; ; i++ {
		if s, ok := p.sample(); ok {
			r.samples = append(r.samples, s)
		}
		if i%int(mapInterval/sampleInterval) == 0 {
			if m := p.mappings(); m.total() > r.largest.total() {
				r.largest = m
			}
		}
		select {
		case <-tick.C:
		case <-stop:
			return
		case <-p.done:
			return
		}
	}
}

// state is what the agent's metrics say.
type state struct {
	// committed events, untold observations in both queues.
	committed, untold int
}

var metricLine = regexp.MustCompile(`(?m)^(edge_eventer_events_total\{result="committed"\}|edge_eventer_queue_untold_events\{[^}]*\}) (\S+)$`)

func readState(ctx context.Context, address string) (*state, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	lines := metricLine.FindAllSubmatch(text, -1)
	if len(lines) != 3 {
		return nil, fmt.Errorf("the metrics have %d of 3 numbers", len(lines))
	}
	s := new(state)
	for _, line := range lines {
		n, err := strconv.ParseFloat(string(line[2]), 64)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(string(line[1]), "edge_eventer_events_total") {
			s.committed = int(n)
		} else {
			s.untold += int(n)
		}
	}
	return s, nil
}

// waitFor asks the agent once a second until done is true, the agent ends or phaseTimeout is over.
func waitFor(ctx context.Context, p *process, metrics string, done func(*state) bool) error {
	ctx, cancel := context.WithTimeout(ctx, phaseTimeout)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last *state
	for {
		// It may not listen yet, and one that is short of memory may be slow.
		if s, err := readState(ctx, metrics); err == nil {
			if last = s; done(s) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-p.done:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("no end of this phase within %s, at %+v: %w", phaseTimeout, last, ctx.Err())
		}
	}
}

// writeConfig writes what the agent reads and returns the address of its metrics.
func writeConfig(ctx context.Context, dir, kubeconfig, receivers string) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	metrics := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	ca := filepath.Join(dir, "ca.pem")
	// All is as it is by default but the times of the repeats, since the run shall not wait for the next telling.
	text := fmt.Sprintf(`cluster: shop-17
kubernetes: {kubeconfig: %q}
spool: {path: %q}
notify: {groupWait: 1s, groupInterval: 5s, repeatInterval: 10s, maxBackoff: 5s}
server: {listen: %q}
receivers:
  - {name: archive, type: webhook, url: "https://%s%s", tls: {caFile: %q}}
  - {name: ops, type: feishu, url: "https://%s%s", secret: %s, tls: {caFile: %q}}
`, kubeconfig, filepath.Join(dir, "spool", "spool.db"), metrics, receivers, archivePath, ca, receivers, feishuPath, feishuSecret, ca)
	return metrics, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600)
}
