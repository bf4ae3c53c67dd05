// Command idle measures what an agent does that has nothing to do. scripts/bench-idle starts it.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/clustertest"
	"github.com/edge-eventer/edge-eventer/scripts/bench/stage"
)

func main() {
	flags := flag.NewFlagSet("bench-idle", flag.ExitOnError)
	agent := flags.String("agent", "bin/edge-eventer", "the agent's binary")
	minutes := flags.Float64("minutes", 5, "how long it is watched")
	_ = flags.Parse(os.Args[1:])
	period := time.Duration(*minutes * float64(time.Minute))
	if err := stage.Run(context.Background(), period+10*time.Minute, func(s *stage.Stage) error { return run(s, *agent, period) }); err != nil {
		fmt.Fprintln(os.Stderr, "bench-idle:", err)
		os.Exit(1)
	}
}

func run(s *stage.Stage, binary string, period time.Duration) error {
	dir := s.TempDir()
	cluster := clustertest.Start(s, clustertest.Options{})
	var messages atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		messages.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("kubernetes: {kubeconfig: %q}\nspool: {path: %q}\nserver: {listen: \"127.0.0.1:0\"}\nnotify: {groupWait: 1s}\nreceivers:\n  - {name: idle, type: webhook, url: %q}\n",
		cluster.AgentKubeconfig, filepath.Join(dir, "spool", "spool.db"), receiver.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	agent, err := s.StartAgent(binary, config, log)
	if err != nil {
		return err
	}
	// One event shows that the watch is open. Its connection is closed after a minute and a half, and what it cost is written
	// within the minute after: then nothing is left to do.
	cluster.CreateEvents(s, 1, clustertest.EventTemplate{Namespace: "idle", Prefix: "idle"})
	if err := s.Until("the first event", time.Minute, func() bool { return messages.Load() > 0 }); err != nil {
		return err
	}
	if err := s.Pass(3 * time.Minute); err != nil {
		return err
	}
	load := stage.LoadAverage()
	before, err := agent.Work()
	if err != nil {
		return err
	}
	begin, told := time.Now(), messages.Load()
	if err := s.Pass(period); err != nil {
		return err
	}
	after, err := agent.Work()
	if err != nil {
		return err
	}
	took := time.Since(begin)
	cpu := after.CPU - before.CPU
	fmt.Printf("load average %s before, %s after; %d messages in between\n\n", load, stage.LoadAverage(), messages.Load()-told)
	fmt.Println("| idle for | CPU ms | % of a core | wake-ups | a second | preempted | bytes written | resident MiB |\n|---|---|---|---|---|---|---|---|")
	fmt.Printf("| %s | %.1f | %.3f | %d | %.2f | %d | %d | %.1f |\n", took.Round(time.Second), float64(cpu)/float64(time.Millisecond),
		100*cpu.Seconds()/took.Seconds(), after.Waits-before.Waits, float64(after.Waits-before.Waits)/took.Seconds(),
		after.Preempted-before.Preempted, after.Written-before.Written, float64(agent.Status("VmRSS"))/1024)
	return nil
}
