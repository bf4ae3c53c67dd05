package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

// keeper starts and ends the agent. Its methods are not called at the same time, but for what mu guards.
type keeper struct {
	stage          *stage.Stage
	book           *book
	binary, config string
	text           func(cluster string) string
	log            *os.File
	control        *control.Client
	// prefix is the command that starts it. health is the URL at address that says whether the agent is alive, client asks it, dial
	// connects to it, and env is what its environment has besides.
	prefix  []string
	health  string
	address string
	client  *http.Client
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	env     []string
	// found lists the damaged files that were seen.
	found map[string]bool
	spool string

	agent *stage.Agent
	// expected is closed before the agent is ended.
	expected chan struct{}

	mu       sync.Mutex
	diskFull bool
	// peak is the largest resident set, in KiB, and longest the longest stop.
	peak    int64
	longest time.Duration
	lives   int
	// ahead is how far the agent's clock is, and aheadThen how far it was when the last agent ended.
	ahead, aheadThen time.Duration
}

func (k *keeper) start() {
	a, err := k.stage.StartAgentIn(k.prefix, k.binary, k.config, k.log, k.env...)
	if err != nil {
		k.book.finding("%v", err)
		return
	}
	expected := make(chan struct{})
	k.agent, k.expected = a, expected
	k.mu.Lock()
	k.lives++
	k.mu.Unlock()
	go k.attend(a, expected)
}

// attend asks an agent each second how it is, until it ends.
func (k *keeper) attend(a *stage.Agent, expected <-chan struct{}) {
	defer k.book.live()()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.aheadThen = k.ahead
	}()
	var links uint64
	defer func() { k.book.linkLost(links) }()
	answered, healthy := false, time.Now()
	for {
		select {
		case <-tick.C:
			k.measure(a)
			k.lookForDamage()
			if status := k.sample(); status != nil {
				links = status.Outages
				if !answered {
					k.mu.Lock()
					leap := k.ahead - k.aheadThen
					k.mu.Unlock()
					k.book.lived(leap)
				}
				answered = true
			}
			if k.probe() {
				healthy = time.Now()
			} else if time.Since(healthy) > deaf {
				k.book.finding("for %s nothing was heard from /healthz", deaf)
				healthy = time.Now()
			}
		case <-expected:
			return
		case <-a.Done():
			select {
			case <-expected:
			default:
				if k.metDamage() {
					k.book.begin("agent died of damage that a failed commit met")()
				} else {
					k.book.finding("the agent ended by itself, see its log; disk full: %t", k.isDiskFull())
				}
			}
			return
		}
	}
}

// metDamage reports whether the agent died as spool/DESIGN.md says: a commit failed, and bbolt met damage that nobody had noticed, in a
// goroutine of its own. The next start rescues.
func (k *keeper) metDamage() bool {
	const last = 16 << 10
	info, err := os.Stat(k.log.Name())
	if err != nil {
		return false
	}
	text := make([]byte, min(last, info.Size()))
	f, err := os.Open(k.log.Name())
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := f.ReadAt(text, info.Size()-int64(len(text))); err != nil {
		return false
	}
	return bytes.Contains(text, []byte("go.etcd.io/bbolt.(*DB).freepages"))
}

// ended reports whether the agent is gone.
func (k *keeper) ended() bool {
	select {
	case <-k.agent.Done():
		return true
	default:
		return false
	}
}

// lookForDamage notes files that the agent has set aside.
func (k *keeper) lookForDamage() {
	names, err := filepath.Glob(k.spool + ".damaged-*")
	if err != nil {
		return
	}
	for _, name := range names {
		if !k.found[name] {
			k.found[name] = true
			k.book.damaged(true)
		}
	}
}

func (k *keeper) setAhead(ahead time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ahead = ahead
}

func (k *keeper) measure(a *stage.Agent) {
	peak := a.Status("VmHWM")
	k.mu.Lock()
	defer k.mu.Unlock()
	k.peak = max(k.peak, peak)
}

// sample asks the agent how its spool stands. One that starts or ends does not answer.
func (k *keeper) sample() *status.Document {
	ctx, cancel := context.WithTimeout(k.stage.Context(), 5*time.Second)
	defer cancel()
	d, err := k.control.Status(ctx)
	if err != nil {
		return nil
	}
	counted := make(map[string]map[string]loss)
	for _, r := range d.Receivers {
		counted[r.Name] = make(map[string]loss)
		for _, l := range r.Losses {
			counted[r.Name][l.Cause] = loss{l.Incidents, l.Events}
		}
	}
	k.book.sampled(d.Spool.Used, counted)
	return &d
}

// deaf is for how long an agent may not answer a probe: a kubelet would end it.
const deaf = 40 * time.Second

// probe asks whether the agent is alive, as the kubelet does, and reports whether it said so. It may not say that it is not.
func (k *keeper) probe() bool {
	ctx, cancel := context.WithTimeout(k.stage.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.health, nil)
	if err != nil {
		k.book.finding("%v", err)
		return false
	}
	answer, err := k.client.Do(request)
	if err != nil {
		// One that starts or ends does not answer.
		return false
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if answer.StatusCode != http.StatusOK {
		k.book.finding("/healthz: %d: %s", answer.StatusCode, body)
	}
	return true
}

func (k *keeper) setDiskFull(full bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.diskFull = full
}

func (k *keeper) isDiskFull() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.diskFull
}

func (k *keeper) kill() {
	close(k.expected)
	k.measure(k.agent)
	k.agent.Kill()
}

func (k *keeper) stop() {
	close(k.expected)
	k.measure(k.agent)
	code, took := k.agent.Stop(20 * time.Second)
	k.mu.Lock()
	k.longest = max(k.longest, took)
	k.mu.Unlock()
	if code != 0 || took > 5*time.Second {
		k.book.finding("SIGTERM: exit code %d after %s, want 0 within 5s", code, took)
	}
}

// reload changes a name in the configuration, or puts a mistake into it, which must change nothing.
func (k *keeper) reload(good bool) {
	text := k.text(fmt.Sprintf("soak-%d", time.Now().Unix()))
	if !good {
		text += "mistake: true\n"
	}
	if err := os.WriteFile(k.config, []byte(text), 0o600); err != nil {
		k.book.finding("write the configuration: %v", err)
	}
	k.agent.Signal(syscall.SIGHUP)
	if good {
		return
	}
	select {
	case <-time.After(2 * time.Second):
	case <-k.agent.Done():
	}
	// The next start must find a good one.
	if err := os.WriteFile(k.config, []byte(k.text("soak")), 0o600); err != nil {
		k.book.finding("write the configuration: %v", err)
	}
}
