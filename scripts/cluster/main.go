package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// ready is the line of JSON that says where everything is. All paths are absolute.
type ready struct {
	Dir             string `json:"dir"`
	AgentKubeconfig string `json:"agentKubeconfig"`
	AgentToken      string `json:"agentToken"`
	AdminKubeconfig string `json:"adminKubeconfig"`
	Server          string `json:"server"`
}

func main() {
	args := os.Args[1:]
	if len(args) > 1 && args[0] == "component" {
		os.Exit(runComponent(args[1], args[2:]))
	}
	os.Exit(run(args, os.Stdin, os.Stdout, os.Stderr))
}

// run returns the exit code: 0 after a clean stop, 1 after a failure, 2 for wrong use.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "run" {
		args = args[1:]
	}
	var o options
	flags := flag.NewFlagSet("cluster run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "dir", "", "folder for everything; it must not exist or be empty (default a new one for temporary files)")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder at the end")
	flags.StringVar(&o.workload, "workload", "", "YAML `file` of objects to create once the control plane is ready")
	flags.DurationVar(&o.eventTTL, "event-ttl", time.Hour, "how long an event lives after its last change")
	flags.DurationVar(&o.compaction, "etcd-compaction-interval", 5*time.Minute, "how often the API server compacts the datastore; 0 never")
	fromStdin := flags.Bool("stdin", false, "take commands from standard input, and stop when it ends")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "cluster: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	o.stderr = stderr

	// A parent that is gone must not end this program by SIGPIPE before it has cleaned up.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	var lines chan string
	if *fromStdin {
		lines = make(chan string)
		go readLines(stdin, lines, cancel)
	}

	c, err := newControlPlane(o)
	if err != nil {
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return 1
	}
	err = c.start(ctx)
	if err == nil {
		err = c.serve(ctx, lines, stdout)
	}
	// A stop that was asked for is not a failure, also while the components still start.
	if ctx.Err() != nil {
		err = nil
	}
	if err := errors.Join(err, c.stop()); err != nil {
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return 1
	}
	return 0
}

// serve tells the parent that all is ready and then does what it says until ctx ends.
func (c *controlPlane) serve(ctx context.Context, lines <-chan string, stdout io.Writer) error {
	if err := json.NewEncoder(stdout).Encode(ready{
		Dir:             c.dir,
		AgentKubeconfig: c.path("agent.kubeconfig"),
		AgentToken:      c.path("agent.token"),
		AdminKubeconfig: c.path("admin.kubeconfig"),
		Server:          c.server(),
	}); err != nil {
		return fmt.Errorf("tell that all is ready: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-lines:
			answer := "ok"
			if err := c.command(ctx, line); err != nil {
				answer = "error: " + oneLine(err.Error())
			}
			if _, err := fmt.Fprintln(stdout, answer); err != nil {
				return fmt.Errorf("answer a command: %w", err)
			}
		}
	}
}
