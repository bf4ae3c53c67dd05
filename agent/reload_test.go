package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/agenttest"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/link"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/notify"
)

// reloaded is an agent without a cluster and without a network whose configuration is a file.
type reloaded struct {
	t         *testing.T
	agent     *Agent
	path      string
	sink      watch.Sink
	mu        sync.Mutex
	receivers map[string]*agenttest.Receiver
	stop      context.CancelFunc
	done      chan error
}

// file returns a configuration whose receivers are the given lines of YAML flow maps.
func (r *reloaded) write(filter string, receivers ...string) {
	r.t.Helper()
	text := fmt.Sprintf("cluster: shop-1\nspool: {path: %s}\nserver: {listen: \"\"}\nfilter: [%s]\nreceivers:\n", filepath.Join(filepath.Dir(r.path), "spool.db"), filter)
	for _, receiver := range receivers {
		text += "- " + receiver + "\n"
	}
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// reloadWith reloads a configuration with further settings.
func (r *reloaded) reloadWith(settings string, receivers ...string) {
	r.t.Helper()
	r.configure(settings, receivers...)
	if err := r.agent.Reload(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// configure writes a configuration with further settings.
func (r *reloaded) configure(settings string, receivers ...string) {
	r.t.Helper()
	r.write("", receivers...)
	text, err := os.ReadFile(r.path)
	if err == nil {
		err = os.WriteFile(r.path, append([]byte(settings), text...), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func receiver(name string, more ...string) string {
	return fmt.Sprintf("{name: %s, type: webhook, fold: incident, url: 'http://127.0.0.1:1/'%s}", name, strings.Join(more, ""))
}

func startReloaded(t *testing.T, receivers ...string) *reloaded {
	t.Helper()
	// The socket's path has at most 107 bytes.
	dir, err := os.MkdirTemp("", "reload")
	if err != nil {
		t.Fatal(err)
	}
	r := &reloaded{t: t, path: filepath.Join(dir, "c.yaml"), receivers: make(map[string]*agenttest.Receiver), done: make(chan error, 1)}
	r.write("", receivers...)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r.start()
	return r
}

// start runs an agent on the directory's configuration and spool.
func (r *reloaded) start() {
	t := r.t
	t.Helper()
	reread := func() (*config.Config, error) { return config.Load(r.path) }
	c, err := reread()
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	a, err := newAgent(c, Options{ConfigPath: r.path, Reread: reread}, hooks{
		makeReceiver: func(_ *config.Receiver, c notify.Common) (notify.Receiver, error) { return r.receiver(c.Name), nil },
		// A socket that is read would keep the bubble's clock from running.
		answer:    func(ctx context.Context) error { <-ctx.Done(); return nil },
		watchLink: func(context.Context, link.Options) *link.Link { return nil },
		watch: func(ctx context.Context, sink watch.Sink) error {
			r.sink = sink
			close(ready)
			<-ctx.Done()
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.agent = a
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.done <- a.Run(ctx) }()
	<-ready
}

// restart stops the agent as SIGTERM would and starts another on its spool.
func (r *reloaded) restart() {
	r.t.Helper()
	r.close()
	r.start()
}

// receiver returns the one of that name, which outlives the deliveries to it as a platform does.
func (r *reloaded) receiver(name string) *agenttest.Receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.receivers[name] == nil {
		r.receivers[name] = &agenttest.Receiver{}
	}
	return r.receivers[name]
}

func (r *reloaded) show(events ...event.Event) {
	r.t.Helper()
	for _, e := range events {
		if err := r.sink.Watched(context.Background(), watch.Change{Event: e}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *reloaded) close() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("run: %v", err)
	}
}

func (r *reloaded) status() status.Document {
	r.t.Helper()
	s, err := r.agent.Status()
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func TestReloadNeitherLosesNorRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"), receiver("old"))
		defer r.close()
		want := make(map[string]int)
		for i := range 60 {
			name := fmt.Sprintf("web%d", i)
			want[name] = 1
			r.show(agenttest.Warning(name, 10+i, 1, time.Now()))
			agenttest.Pass(700 * time.Millisecond)
			switch i % 15 {
			case 3:
				r.write("", receiver("ops", ", groupWait: 7s"), receiver("new"))
			case 9:
				r.write("", receiver("ops"), receiver("old"), receiver("new", ", maxBackoff: 1m"))
			default:
				continue
			}
			if err := r.agent.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r.receiver("ops"), want)
		for name, times := range r.receiver("old").Workloads() {
			if times != 1 {
				t.Errorf("old was told of %s %d times", name, times)
			}
		}
		for name, times := range r.receiver("new").Workloads() {
			if times != 1 {
				t.Errorf("new was told of %s %d times", name, times)
			}
		}
	})
}

func TestReloadPutsTheFilterToUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		r.write("drop: {reason: BackOff}", receiver("ops"))
		if err := r.agent.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		quiet, loud := agenttest.Warning("quiet", 10, 1, time.Now()), agenttest.Warning("loud", 11, 1, time.Now())
		loud.Reason = "FailedMount"
		r.show(quiet, loud)
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r.receiver("ops"), map[string]int{"loud": 1})
	})
}

func TestBadConfigurationIsRefusedAndTheOldOneStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		r.write("", receiver("ops", ", colour: red"))
		err := r.agent.Reload(t.Context())
		if err == nil || !strings.Contains(err.Error(), "colour") {
			t.Fatalf("reload says %v, want the mistake", err)
		}
		s := r.status()
		if s.Config.Refused.IsZero() || !strings.Contains(s.Config.Mistakes, "colour") {
			t.Errorf("the status says %+v", s.Config)
		}
		if !slices.ContainsFunc(s.Notes, func(n string) bool { return strings.Contains(n, "colour") }) {
			t.Errorf("the notes say %q", s.Notes)
		}
		if text := metricsOf(t, &s); !strings.Contains(text, "edge_eventer_config_reload_success 0\n") {
			t.Errorf("the metrics do not say that the configuration was refused:\n%s", text)
		}
		r.show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r.receiver("ops"), map[string]int{"web": 1})

		r.write("", receiver("ops"))
		if err := r.agent.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		s = r.status()
		if !s.Config.Refused.IsZero() || len(s.Notes) != 0 {
			t.Errorf("after a good one the status still says %+v, %q", s.Config, s.Notes)
		}
	})
}

func metricsOf(t *testing.T, s *status.Document) string {
	t.Helper()
	var b strings.Builder
	if err := s.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestQueueOfARemovedReceiverIsKeptAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"), receiver("old"))
		defer r.close()
		r.receiver("old").Answer = func(context.Context, *notify.Message, notify.Form) error { return agenttest.ErrUnreachable }
		r.show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(time.Minute)
		r.write("", receiver("ops"))
		if err := r.agent.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := r.status()
		if len(s.Receivers) != 2 || s.Receivers[1].Name != "old" || s.Receivers[1].Type != "" || s.Receivers[1].Untold != 1 {
			t.Fatalf("the status shows %+v", s.Receivers)
		}
		if !slices.ContainsFunc(s.Notes, func(n string) bool { return strings.Contains(n, "queue old has no receiver") }) {
			t.Errorf("the notes say %q", s.Notes)
		}
		// Configured again, it gets what waited.
		r.receiver("old").Answer = nil
		r.write("", receiver("ops"), receiver("old"))
		if err := r.agent.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		agenttest.Pass(time.Minute)
		agenttest.WantTold(t, r.receiver("old"), map[string]int{"web": 1})
		agenttest.WantTold(t, r.receiver("ops"), map[string]int{"web": 1})
	})
}

func TestChangedFileIsLoadedOnceItIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		agenttest.Pass(time.Minute)
		// A ConfigMap's update replaces the file that the path leads to.
		r.write("", receiver("ops"), receiver("new"))
		agenttest.Pass(45 * time.Second)
		if n := len(r.status().Receivers); n != 2 {
			t.Errorf("%d receivers run, want 2", n)
		}
	})
}

func TestReloadTriesAReceiverThatRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startReloaded(t, receiver("ops"))
		defer r.close()
		ops := r.receiver("ops")
		refusal := &notify.Error{Outcome: notify.BadTarget, Reason: "the signature is refused", Err: errors.New("code 19021")}
		ops.Answer = func(context.Context, *notify.Message, notify.Form) error {
			if refusal != nil {
				return refusal
			}
			return nil
		}
		r.show(agenttest.Warning("web", 10, 1, time.Now()))
		agenttest.Pass(10 * time.Second)
		refusal = nil
		if err := r.agent.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		agenttest.Pass(time.Second)
		agenttest.WantTold(t, ops, map[string]int{"web": 1})
	})
}
