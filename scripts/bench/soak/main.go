package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// timeout is that of an attempt.
	timeout = 3 * time.Second
	// maxBytes holds what waits in any outage but a storm: 4 MiB did not beside a ledger of 17,000 events, and with the datastore killed
	// now and then, which gives its events a new life, there were more of them than such a ledger knows.
	maxBytes = 16 << 20
	diskSize = "48m"
	// settle is how long the agent has for what is left once the sky is clear, and still how long it may tell nothing before
	// it is taken to have nothing left to tell: longer than any pause in the configuration, and than a probe's.
	settle = 6 * time.Minute
	still  = 75 * time.Second
	// eventTTL lets events expire within the run.
	eventTTL = 15 * time.Minute
)

type options struct {
	minutes float64
	seed    uint64
	agent   string
	disk    bool
	keep    bool
}

func main() {
	var o options
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	flags.Float64Var(&o.minutes, "minutes", 30, "how long the weather lasts")
	flags.Uint64Var(&o.seed, "seed", 0, "seed of the weather; 0: a random one")
	flags.StringVar(&o.agent, "agent", "", "the agent's binary, whose clock cannot be set; empty: one is built whose clock can")
	flags.BoolVar(&o.disk, "disk", false, "mount a small disk for the spool: only in a mount namespace of its own")
	flags.BoolVar(&o.keep, "keep", false, "keep the logs when nothing was found")
	_ = flags.Parse(os.Args[1:])
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	most := time.Duration(o.minutes*float64(time.Minute)) + settle + 10*time.Minute
	if err := stage.Run(most, func(s *stage.Stage) error { return soak(s, &o) }); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(s *stage.Stage, o *options) error {
	fmt.Printf("seed %d, %g minutes\n", o.seed, o.minutes)
	dir, err := os.MkdirTemp("", "edge-eventer-soak.")
	if err != nil {
		return err
	}
	keep := true
	// After the small disk is unmounted.
	s.Cleanup(func() {
		if !keep {
			_ = os.RemoveAll(dir)
		}
	})
	sky := &sky{stage: s}
	if o.agent == "" {
		if o.agent, err = buildWithClock(s.Context(), dir, "./cmd/edge-eventer"); err != nil {
			return err
		}
		if sky.clock, err = newClock(filepath.Join(dir, "clock")); err != nil {
			return err
		}
	} else {
		fmt.Println("clock jumps are left out: this agent has the machine's clock, which belongs to all")
	}
	cluster := clustertest.Start(s, clustertest.Options{EventTTL: eventTTL})
	proxy := cluster.FaultProxy(s)
	b := newBook()
	sky.book, sky.cluster, sky.proxy = b, cluster, proxy
	for _, namespace := range namespaces() {
		cluster.CreateNamespace(s, namespace)
	}
	spoolDir := filepath.Join(dir, "spool")
	if err := os.Mkdir(spoolDir, 0o700); err != nil {
		return err
	}
	if o.disk {
		if err := syscall.Mount("tmpfs", spoolDir, "tmpfs", 0, "size="+diskSize); err != nil {
			return fmt.Errorf("mount a small disk: %w", err)
		}
		s.Cleanup(func() { _ = syscall.Unmount(spoolDir, 0) })
		sky.disk = spoolDir
	} else {
		fmt.Println("full disks are left out: no mount namespace")
	}
	if sky.sink, err = newSink(s.Context(), b, rand.New(rand.NewPCG(o.seed, 100))); err != nil {
		return err
	}
	defer sky.sink.server.Close()
	if sky.wire, err = newWire(s.Context(), sky.sink.addr); err != nil {
		return err
	}
	defer sky.wire.close()
	if sky.rain, err = newRain(b, cluster.Server, cluster.AdminKubeconfig, rand.New(rand.NewPCG(o.seed, 101))); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	kubeconfig := proxy.Kubeconfig(s)
	path := filepath.Join(spoolDir, "spool.db")
	listen, err := freeAddress(s.Context())
	if err != nil {
		return err
	}
	text := func(name string) string { return configuration(name, kubeconfig, path, listen, sky.wire.address()) }
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(text("soak")), 0o600); err != nil {
		return err
	}
	sky.keeper = &keeper{
		stage: s, book: b, binary: o.agent, config: config, text: text, log: log, control: control.NewClient(control.SocketPath(path)),
		health: "http://" + listen + "/healthz",
	}
	if sky.clock != nil {
		sky.keeper.env = []string{clockVariable + "=" + sky.clock.file.Name()}
	}
	defer sky.keeper.control.Close()
	sky.keeper.start()

	weather, cancel := context.WithTimeout(s.Context(), time.Duration(o.minutes*float64(time.Minute)))
	defer cancel()
	go minutely(s.Context(), sky)
	sky.blow(weather, o.seed)
	if s.Context().Err() != nil {
		return s.Context().Err()
	}
	fmt.Printf("%s the sky is clear\n", b.at(time.Now()))
	took := sky.clear(o.agent, config)
	sky.keeper.stop()
	w, err := leftovers(path)
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	b.balance(w)
	b.report(os.Stdout, w)
	if sky.keeper.peak > 32<<10 {
		b.finding("the resident set reached %d KiB, the budget is 32 MiB", sky.keeper.peak)
	}
	if b.samples < sky.keeper.lives {
		b.finding("the agent told only %d times how its spool stands, in %d lives", b.samples, sky.keeper.lives)
	}
	fmt.Printf("settled %s after the weather; %d lives of the agent, asked %d times; the longest stop %s, the largest resident set %.1f MiB\n",
		took.Round(time.Second), sky.keeper.lives, b.samples, sky.keeper.longest.Round(time.Millisecond), float64(sky.keeper.peak)/1024)
	if len(b.findings) == 0 {
		fmt.Printf("no finding; seed %d\n", o.seed)
		keep = o.keep
		return nil
	}
	if err := keepSpool(path, dir); err != nil {
		fmt.Println("the spool is not kept:", err)
	}
	for i, f := range b.findings {
		if i == 50 {
			fmt.Println("and more")
			break
		}
		fmt.Printf("FINDING %d: %s\n", i+1, f)
	}
	return fmt.Errorf("%d findings; seed %d; the agent's log and spool are in %s", len(b.findings), o.seed, dir)
}

// clear waits until everything is told or nothing is told any more.
func (s *sky) clear(agent, config string) time.Duration {
	begin := time.Now()
	for _, receiver := range []string{archive, alerts, chat} {
		// A receiver that refused message after message is probed slowly; the operator knows that it is well again.
		command := exec.CommandContext(s.stage.Context(), agent, "spool", "retry", "--config", config, "--receiver", receiver)
		if out, err := command.CombinedOutput(); err != nil {
			s.book.finding("spool retry --receiver %s: %v: %s", receiver, err, out)
		}
	}
	s.book.mu.Lock()
	s.book.lastTold = time.Now()
	s.book.mu.Unlock()
	_ = s.stage.Until("settle", settle, func() bool {
		events, observations := s.book.open()
		// The chat is told at its own pace: repeats are held back, and a rate is kept.
		return time.Since(begin) > still && (events == 0 && observations == 0 || s.book.quiet() > still)
	})
	return time.Since(begin)
}

// configuration has short times instead of hours: what is counted does not depend on them.
func configuration(name, kubeconfig, path, listen, address string) string {
	return fmt.Sprintf(`cluster: %s
kubernetes: {kubeconfig: %q, unreachableAfter: 30s}
spool: {path: %q, maxBytes: %d, commitInterval: 300ms}
server: {listen: %q}
notify: {groupWait: 300ms, groupInterval: 2s, repeatInterval: 8s, resolveAfter: 12s, timeout: %s, maxBackoff: 3s}
receivers:
  - {name: archive, type: webhook, url: "http://%s/archive", gzip: true, success: {json: {ok: true}}}
  - {name: alerts, type: webhook, url: "http://%s/alerts", fold: incident, success: {json: {ok: true}}}
  - {name: chat, type: feishu, url: "http://%s%s", secret: %s}
`, name, kubeconfig, path, maxBytes, listen, timeout, address, address, address, chatPath, chatSecret)
}

// freeAddress is one where nobody listened just now.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func minutely(ctx context.Context, s *sky) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		events, observations := s.book.open()
		s.book.mu.Lock()
		made, findings := len(s.book.entries), len(s.book.findings)
		s.book.mu.Unlock()
		s.keeper.mu.Lock()
		lives, peak := s.keeper.lives, s.keeper.peak
		s.keeper.mu.Unlock()
		fmt.Printf("%s %d events made, %d and %d observations not told yet, %d lives, peak %.1f MiB, %d findings\n",
			s.book.at(time.Now()), made, events, observations, lives, float64(peak)/1024, findings)
	}
}

// leftovers reads the spool of an agent that has ended.
func leftovers(path string) (w *waiting, err error) {
	s, err := spool.Open(spool.Options{Path: path, MaxBytes: maxBytes})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	w = &waiting{
		events: make(map[string]int32), observations: make(map[string]uint64),
		lostRecords: make(map[string]map[string]uint64), lostEvents: make(map[string]map[string]uint64), untold: make(map[string]map[string]uint64),
	}
	err = s.View(func(tx *spool.Tx) error {
		for _, receiver := range []string{archive, alerts, chat} {
			q := tx.Queue(receiver)
			for record := range q.All() {
				in, err := incident.Decode(record.Body)
				if err != nil {
					return err
				}
				if in.Own || in.Untold() == 0 {
					continue
				}
				switch receiver {
				case archive:
					w.events[in.Event.Name] = in.Event.Count
				case chat:
					w.chat += uint64(in.Untold())
				default:
					w.observations[fmt.Sprintf("%x", record.Key)] += uint64(in.Untold())
				}
			}
			w.lostRecords[receiver], w.lostEvents[receiver], w.untold[receiver] = map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
			for _, l := range q.TotalLosses() {
				w.lostRecords[receiver][l.Cause], w.lostEvents[receiver][l.Cause] = l.Records, l.Events
			}
			for _, l := range q.UntoldLosses() {
				w.untold[receiver][l.Cause] = l.Events
			}
		}
		return nil
	})
	return w, err
}

// keepSpool copies the spool from the small disk, which goes with this process.
func keepSpool(path, dir string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "spool.db"), data, 0o600)
}
