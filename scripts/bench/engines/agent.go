package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

const (
	typesFile = "agent/config/receivers.go"
	// sampleInterval is how often the memory is looked at.
	sampleInterval = 20 * time.Millisecond
	deliverTimeout = 5 * time.Minute
)

// sizes builds the agent for arm64, and again without each engine in the only list of types.
func sizes(s *stage.Stage, engines []engine, costs []cost) error {
	dir := s.TempDir()
	whole, err := build(s.Context(), dir, "")
	if err != nil {
		return err
	}
	source, err := os.ReadFile(typesFile)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(typesFile)
	if err != nil {
		return err
	}
	for i, e := range engines {
		if e.name == "webhook" {
			// Its templates are those of others too.
			continue
		}
		s.Logf("%s: the binary without it", e.name)
		lines := regexp.MustCompile(`(?m)^.*(/notify/` + e.name + `"|\b` + e.name + `\.Type:).*\n`)
		without := lines.ReplaceAll(source, nil)
		if len(lines.FindAll(source, -1)) != 2 {
			return fmt.Errorf("%s names %s in other ways than the import and the list", typesFile, e.name)
		}
		changed := filepath.Join(dir, e.name+".go")
		if err := os.WriteFile(changed, without, 0o600); err != nil {
			return err
		}
		text, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
		if err != nil {
			return err
		}
		overlay := filepath.Join(dir, e.name+".json")
		if err := os.WriteFile(overlay, text, 0o600); err != nil {
			return err
		}
		size, err := build(s.Context(), dir, overlay)
		if err != nil {
			return err
		}
		costs[i].binary = whole - size
	}
	return nil
}

func build(ctx context.Context, dir, overlay string) (int64, error) {
	binary := filepath.Join(dir, "agent")
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/edge-eventer")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// memory runs the agent with each engine alone over the same events.
func memory(s *stage.Stage, binary string, events int, engines []engine, costs []cost) error {
	cluster := clustertest.Start(s, clustertest.Options{})
	cluster.CreateEvents(s, events, clustertest.EventTemplate{Namespace: "engines", Prefix: "engines"})
	for i := range engines {
		s.Logf("%s: the agent's memory", engines[i].name)
		if err := engines[i].memory(s, binary, cluster.AgentKubeconfig, events, &costs[i]); err != nil {
			return fmt.Errorf("%s: %w", engines[i].name, err)
		}
	}
	return nil
}

func (e *engine) memory(s *stage.Stage, binary, kubeconfig string, events int, c *cost) error {
	dir := s.TempDir()
	listen, err := freeAddress(s.Context())
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("cluster: shop-17\nkubernetes: {kubeconfig: %q}\nspool: {path: %q}\nserver: {listen: %q}\n%s",
		kubeconfig, filepath.Join(dir, "spool", "spool.db"), listen, e.receivers())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	a, err := s.StartAgent(binary, config, log)
	if err != nil {
		return err
	}
	defer a.Kill()
	ctx, cancel := context.WithTimeout(s.Context(), deliverTimeout)
	defer cancel()
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for n := 0; ; n++ {
		c.anonymous, c.resident = max(c.anonymous, a.Status("RssAnon")), max(c.resident, a.Status("VmHWM"))
		// To ask for the metrics costs memory too.
		if n%50 == 49 {
			if done, err := delivered(ctx, listen, events); err == nil && done {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-a.Done():
			return fmt.Errorf("the agent ended; its log is %s", config)
		case <-ctx.Done():
			return fmt.Errorf("not delivered: %w", ctx.Err())
		}
	}
}

var metrics = regexp.MustCompile(`(?m)^(?:edge_eventer_events_total\{result="committed"\}|edge_eventer_queue_untold_events\{[^}]*\}) (\S+)$`) //nolint:gochecknoglobals // Compiled once.

// delivered asks the agent's metrics whether all events were committed and none waits.
func delivered(ctx context.Context, listen string, events int) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/metrics", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return false, err
	}
	var committed, untold float64
	found := metrics.FindAllSubmatch(text, -1)
	if len(found) != 2 {
		return false, fmt.Errorf("the metrics have %d of 2 numbers", len(found))
	}
	for i, number := range []*float64{&committed, &untold} {
		if _, err := fmt.Sscan(string(found[i][1]), number); err != nil {
			return false, err
		}
	}
	return int(committed) >= events && untold == 0, nil
}
