package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/agent/clustertest/faultproxy"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// timeout is that of an attempt.
	timeout = 3 * time.Second
	// usualBytes holds what waits in any outage but a storm: 4 MiB did not beside a ledger of 17,000 events, and with the datastore
	// killed now and then, which gives its events a new life, there were more of them than such a ledger knows. smallBytes does not,
	// and with it there are smallScale times fewer events, so that its ledger knows them all.
	usualBytes = 16 << 20
	smallBytes = 1 << 20
	smallScale = 10
	// diskSize has room for the spool, two damaged files beside it, and a rescue.
	diskSize = "80m"
	// maxAge is the agent's default, and unreachableAfter when a blind watch is told of.
	maxAge           = 168 * time.Hour
	unreachableAfter = 30 * time.Second
	// settle is how long the agent has for what is left once the sky is clear, and still how long it may tell nothing before
	// it is taken to have nothing left to tell: longer than any pause in the configuration.
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
	network bool
	small   bool
	keep    bool
	// without names the kinds of weather that are left out.
	without string
}

// maxBytes is the bound of the spool.
func (o *options) maxBytes() int64 {
	if o.small {
		return smallBytes
	}
	return usualBytes
}

// leavesOut reports whether a kind of weather is not wanted.
func (o *options) leavesOut(kind string) bool {
	return slices.Contains(strings.Split(o.without, ","), kind)
}

func (o *options) scale() int {
	if o.small {
		return smallScale
	}
	return 1
}

func main() {
	var o options
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	flags.Float64Var(&o.minutes, "minutes", 30, "how long the weather lasts")
	flags.Uint64Var(&o.seed, "seed", 0, "seed of the weather; 0: a random one")
	flags.StringVar(&o.agent, "agent", "", "the agent's binary, whose clock cannot be set; empty: one is built whose clock can")
	flags.BoolVar(&o.disk, "disk", false, "mount a small disk for the spool: only in a mount namespace of its own")
	flags.BoolVar(&o.network, "network", false, "give the agent a network whose routes change: only in a network namespace of its own")
	flags.BoolVar(&o.small, "small", false, "a spool of 1 MiB and a tenth of the events, of which many are long")
	flags.BoolVar(&o.keep, "keep", false, "keep the logs when nothing was found")
	flags.StringVar(&o.without, "without", "", "kinds of weather that are left out, with commas: "+strings.Join(kinds(), ", "))
	_ = flags.Parse(os.Args[1:])
	for kind := range strings.SplitSeq(o.without, ",") {
		if kind != "" && !slices.Contains(kinds(), kind) {
			fmt.Fprintf(os.Stderr, "soak: -without takes %s, not %q\n", strings.Join(kinds(), ", "), kind)
			os.Exit(2)
		}
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	most := time.Duration(o.minutes*float64(time.Minute)) + settle + 10*time.Minute
	if err := stage.Run(context.Background(), most, func(s *stage.Stage) error { return soak(s, &o) }); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(s *stage.Stage, o *options) error {
	fmt.Printf("seed %d, %g minutes, a spool of %d MiB\n", o.seed, o.minutes, o.maxBytes()>>20)
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
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	sky := &sky{stage: s, book: newBook(o.maxBytes())}
	if err := sky.gather(o, dir); err != nil {
		return err
	}
	defer sky.sink.close()
	config, err := sky.employ(o, dir, log)
	if err != nil {
		return err
	}
	defer sky.keeper.control.Close()
	sky.keeper.start()

	weather, cancel := context.WithTimeout(s.Context(), time.Duration(o.minutes*float64(time.Minute)))
	defer cancel()
	go minutely(s.Context(), sky)
	sky.blow(weather, o)
	if s.Context().Err() != nil {
		return s.Context().Err()
	}
	fmt.Printf("%s the sky is clear\n", sky.book.at(time.Now()))
	took := sky.clear(o.agent, config)
	// What the agent says of itself explains what still waits.
	if out, err := exec.CommandContext(s.Context(), o.agent, "status", "--config", config, "-o", "json").Output(); err == nil {
		_ = os.WriteFile(filepath.Join(dir, "status.json"), out, 0o600)
	}
	sky.keeper.stop()
	if err := sky.judge(o, took); err != nil {
		return err
	}
	b := sky.book
	if len(b.findings) == 0 {
		fmt.Printf("no finding; seed %d\n", o.seed)
		keep = o.keep
		return nil
	}
	if err := keepSpool(sky.keeper.spool, dir); err != nil {
		fmt.Println("the spool is not kept:", err)
	}
	for i, f := range b.findings {
		if i == 50 {
			fmt.Println("and more")
			break
		}
		fmt.Printf("FINDING %d: %s\n", i+1, f)
	}
	return fmt.Errorf("%d findings; seed %d; the agent's log, last status and spool are in %s", len(b.findings), o.seed, dir)
}

// judge balances the book with what the agent left, and prints the table.
func (s *sky) judge(o *options, took time.Duration) error {
	b, k := s.book, s.keeper
	w, err := leftovers(k.spool, o.maxBytes())
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	b.balance(w)
	b.report(os.Stdout, w)
	if k.peak > 32<<10 {
		b.finding("the resident set reached %d KiB, the budget is 32 MiB", k.peak)
	}
	if b.samples < k.lives {
		b.finding("the agent told only %d times how its spool stands, in %d lives", b.samples, k.lives)
	}
	fmt.Printf("settled %s after the weather; %d lives of the agent, asked %d times; the longest stop %s, the largest resident set %.1f MiB\n",
		took.Round(time.Second), k.lives, b.samples, k.longest.Round(time.Millisecond), float64(k.peak)/1024)
	return nil
}

// gather sets up all that the weather is made of, but for the agent. What this machine cannot do is left out, and a line says so.
func (s *sky) gather(o *options, dir string) (err error) {
	if o.agent == "" {
		if o.agent, err = buildWithClock(s.stage.Context(), dir, "./cmd/edge-eventer"); err != nil {
			return err
		}
		if s.clock, err = newClock(filepath.Join(dir, "clock")); err != nil {
			return err
		}
	} else {
		fmt.Println("clock jumps are left out: this agent has the machine's clock, which belongs to all")
	}
	receivers := "127.0.0.1"
	if !o.network {
		fmt.Println("changes of routes are left out: no network namespace")
	} else if s.network, err = newNetwork(s.stage); err != nil {
		return fmt.Errorf("make the agent's network: %w", err)
	} else {
		receivers = receiversAddress
	}
	s.cluster = clustertest.Start(s.stage, clustertest.Options{EventTTL: eventTTL})
	s.proxy = faultproxy.Before(s.stage, s.cluster)
	for _, namespace := range namespaces() {
		s.cluster.CreateNamespace(s.stage, namespace)
	}
	if o.disk {
		s.disk = filepath.Join(dir, "spool")
		if err := os.Mkdir(s.disk, 0o700); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", s.disk, "tmpfs", 0, "size="+diskSize); err != nil {
			return fmt.Errorf("mount a small disk: %w", err)
		}
		s.stage.Cleanup(func() { _ = syscall.Unmount(s.disk, 0) })
	} else {
		fmt.Println("full disks are left out: no mount namespace")
	}
	if s.sink, err = newSink(s.stage.Context(), s.book, rand.New(rand.NewPCG(o.seed, 100)), receivers); err != nil {
		return err
	}
	for _, target := range []string{s.sink.plainAt, s.sink.tlsAt} {
		l, err := new(net.ListenConfig).Listen(s.stage.Context(), "tcp", receivers+":0")
		if err != nil {
			return err
		}
		w := newWire(s.stage.Context(), l, target)
		s.stage.Cleanup(w.close)
		s.wires = append(s.wires, w)
	}
	s.rain, err = newRain(s.book, s.cluster.Server, s.cluster.AdminKubeconfig, rand.New(rand.NewPCG(o.seed, 101)), o.scale())
	if err == nil && o.leavesOut(stuckKind) {
		s.rain.stuck = maxStuck
	}
	return err
}

// employ prepares who starts and ends the agent, and returns the path of the configuration.
func (s *sky) employ(o *options, dir string, log *os.File) (config string, err error) {
	ctx := s.stage.Context()
	authority := filepath.Join(dir, "receivers.crt")
	if err := os.WriteFile(authority, s.sink.authorityPEM, 0o600); err != nil {
		return "", err
	}
	spoolDir := filepath.Join(dir, "spool")
	if err := os.MkdirAll(spoolDir, 0o700); err != nil {
		return "", err
	}
	k := &keeper{
		stage: s.stage, book: s.book, binary: o.agent, config: filepath.Join(dir, "config.yaml"), log: log,
		spool: filepath.Join(spoolDir, "spool.db"), dial: new(net.Dialer).DialContext, found: make(map[string]bool),
	}
	if s.network != nil {
		k.prefix, k.dial = []string{"nsenter", "--net=" + s.network.file}, s.network.dial
		// The agent's loopback interface is another one: the API server is reached through it, as on a node of K3s.
		address := strings.TrimPrefix(s.proxy.Server, "https://")
		l, err := s.network.listen(ctx, address)
		if err != nil {
			return "", err
		}
		s.stage.Cleanup(newWire(ctx, l, address).close)
	}
	if k.address, err = freeAddress(ctx); err != nil {
		return "", err
	}
	k.health = "http://" + k.address + "/healthz"
	k.client = &http.Client{Transport: &http.Transport{DialContext: k.dial, DisableKeepAlives: true}}
	k.control = control.NewClient(control.SocketPath(k.spool))
	if s.clock != nil {
		k.env = []string{clockVariable + "=" + s.clock.file.Name()}
	}
	c := configuration{
		kubeconfig: s.proxy.Kubeconfig(s.stage), spool: k.spool, maxBytes: o.maxBytes(), listen: k.address,
		plain: s.wires[0].address(), tls: s.wires[1].address(), authority: authority,
	}
	k.text = c.text
	s.keeper = k
	if err := os.WriteFile(k.config, []byte(k.text("soak")), 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, o.agent, "check-config", k.config).CombinedOutput(); err != nil {
		return "", fmt.Errorf("check the configuration: %w: %s", err, out)
	}
	return k.config, nil
}

// clear waits until everything is told or nothing is told any more.
func (s *sky) clear(agent, config string) time.Duration {
	begin := time.Now()
	if s.keeper.ended() {
		s.keeper.start()
	}
	// One that has just begun does not answer yet.
	_ = s.stage.Until("ask the agent", time.Minute, func() bool {
		_, err := s.keeper.control.Status(s.stage.Context())
		return err == nil
	})
	for _, receiver := range receivers() {
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
		return time.Since(begin) > still && (events == 0 && observations == 0 || s.book.quiet() > still && !s.refuses())
	})
	return time.Since(begin)
}

// refuses reports whether the agent believes that a receiver refuses everything: a row of messages that are bad looks like that, and is
// passed by probes that are further apart than still.
func (s *sky) refuses() bool {
	d, err := s.keeper.control.Status(s.stage.Context())
	return err == nil && slices.ContainsFunc(d.Receivers, func(r status.Receiver) bool { return r.State == "refused" })
}

// configuration is what differs between runs.
type configuration struct {
	kubeconfig, spool, listen string
	maxBytes                  int64
	// plain and tls are the addresses of the receivers, authority the file that certifies the second.
	plain, tls, authority string
}

// text has short times instead of hours: what is counted does not depend on them.
func (c *configuration) text(name string) string {
	return fmt.Sprintf(`cluster: %s
kubernetes: {kubeconfig: %q, namespaces: [%s], unreachableAfter: %s, eventTTL: %s}
spool: {path: %q, maxBytes: %d, commitInterval: 300ms}
server: {listen: %q}
notify: {groupWait: 300ms, groupInterval: 2s, repeatInterval: 8s, resolveAfter: 12s, timeout: %s, maxBackoff: 3s}
receivers:
  - {name: archive, type: webhook, url: "http://%s/archive", gzip: true, success: {json: {ok: true}}}
  - {name: alerts, type: webhook, url: "https://%s/alerts", tls: {caFile: %q}, fold: incident, success: {json: {ok: true}}}
  - {name: chat, type: feishu, url: "http://%s%s", secret: %s}
`, name, c.kubeconfig, strings.Join(namespaces(), ", "), unreachableAfter, eventTTL, c.spool, c.maxBytes, c.listen, timeout,
		c.plain, c.tls, c.authority, c.plain, chatPath, chatSecret)
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
func leftovers(path string, maxBytes int64) (w *waiting, err error) {
	s, err := spool.Open(spool.Options{Path: path, MaxBytes: maxBytes})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	w = newWaiting()
	err = s.View(func(tx *spool.Tx) error {
		for _, receiver := range receivers() {
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
					w.chat[in.Event.Name] += uint64(in.Untold())
				default:
					key := fmt.Sprintf("%x", record.Key)
					w.observations[key] += uint64(in.Untold())
					w.sample[key] = in.Event.Name
				}
			}
			for _, l := range q.TotalLosses() {
				w.lost[receiver][l.Cause] = loss{l.Records, l.Events}
				w.times[receiver][l.Cause] = l.Times
			}
			for _, l := range q.UntoldLosses() {
				w.untold[receiver][l.Cause] = loss{l.Records, l.Events}
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
