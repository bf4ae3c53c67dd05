package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // A container FROM scratch has no zone data: 0.4 MB of binary.

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/memory"
	"github.com/edge-eventer/edge-eventer/agent/watch"
)

// runFlags are the flags of the agent.
type runFlags struct {
	config *string
	level  slog.Level
	format string
}

func newRunFlags(command *cobra.Command) *runFlags {
	f := &runFlags{config: configFlag(command, "")}
	command.Flags().TextVar(&f.level, "log-level", slog.LevelInfo, "`LEVEL`: debug, info, warn or error")
	command.Flags().StringVar(&f.format, "log-format", "auto", "`FORMAT`: text, json, or auto: text on a terminal")
	complete(command, "log-level", []string{"debug", "info", "warn", "error"})
	complete(command, "log-format", []string{"auto", "text", "json"})
	return f
}

// runCommand is the agent as the command line's root: what runs when no command is named.
func runCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "edge-eventer",
		Short: "tell people about the Warning events of an edge cluster",
		Long: `edge-eventer watches the events of a Kubernetes or K3s cluster and tells a chat group or a webhook about the Warning ones, over a link that
comes and goes. What cannot be sent waits on disk, repeats of one problem are folded, and a backlog becomes a digest. A message counts as
delivered only when the receiver's own answer says so.

Without a command it is the agent: see edge-eventer run --help.`,
		Example: `  edge-eventer init
  edge-eventer check-config && edge-eventer send-test
  edge-eventer run
  edge-eventer status`,
	}
	flags := newRunFlags(command)
	asked := command.Flags().Bool("version", false, "print version and commit")
	command.RunE = func(*cobra.Command, []string) error {
		if *asked {
			return ended(printVersion(s))
		}
		return ended(runAgent(flags, s))
	}
	return command
}

// agentCommand is the agent under its name.
func agentCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "run",
		Short: "the agent; the default command",
		Long: `The agent; the default command. It ends on SIGINT or SIGTERM within 5 seconds, and reads its configuration again on SIGHUP and when the file
changes.`,
		Example: `  edge-eventer run --config /etc/edge-eventer/config.yaml --log-level debug`,
		Args:    takes(0, 0, ""),
	}
	flags := newRunFlags(command)
	command.RunE = func(*cobra.Command, []string) error { return ended(runAgent(flags, s)) }
	return command
}

func runAgent(flags *runFlags, s streams) int {
	path := flags.config
	logger, err := newLogger(s, flags.level, flags.format)
	if err != nil {
		fmt.Fprintln(s.err, "edge-eventer:", err)
		return exitUsage
	}
	c, err := config.Load(*path)
	if err != nil {
		return refuse(*path, err, s)
	}
	// A write to a pipe that nobody reads any more is an error of the stdout receiver, or a line of the log that nobody gets. By default it
	// would end the process, and every other receiver with it.
	signal.Ignore(syscall.SIGPIPE)
	tuned, trim := memory.Tune()
	watch.RouteClientLogs(logger)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// From the first signal on the default handling is back, so a second one ends the process at once.
	context.AfterFunc(ctx, func() {
		stop()
		logger.Info("stopping: a second signal ends at once")
	})
	// Asked for before "started" is said: until then a SIGHUP ends the process.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)

	a, err := agent.New(c, agent.Options{
		Version: version, Revision: commit, Logger: logger, ConfigPath: *path, Trim: trim,
		Reread: func() (*config.Config, error) { return config.Load(*path) },
	})
	if err != nil {
		fmt.Fprintf(s.err, "edge-eventer: %s: %v\n", *path, err)
		return exitUsage
	}
	logger.Info("started", "version", version, "commit", commit, "config", *path)
	if tuned.CgroupLimit > 0 {
		logger.Info("the memory is limited", "cgroup", tuned.CgroupLimit, "goMemoryLimit", tuned.SoftLimit)
	}
	go reloadOnHangup(ctx, hangup, a)
	go supervise(ctx, a.Stuck, logger)
	if err := a.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		logger.Error("stopped", "err", err)
		return exitFailed
	}
	logger.Info("stopped")
	return exitOK
}

// reloadOnHangup reads the configuration again at each SIGHUP. The agent logs what comes of it.
func reloadOnHangup(ctx context.Context, hangup <-chan os.Signal, a *agent.Agent) {
	for {
		select {
		case <-hangup:
			_ = a.Reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// newLogger writes text for a person at a terminal and JSON otherwise, unless format says which.
func newLogger(s streams, level slog.Level, format string) (*slog.Logger, error) {
	if format == "auto" {
		format = "json"
		if f, ok := s.err.(*os.File); ok && isTerminal(f) {
			format = "text"
		}
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		// JSON has no durations: "1m30s" is read by people, 90000000000 by nobody.
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(s.err, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(s.err, options)), nil
	}
	return nil, fmt.Errorf("--log-format takes auto, text or json, not %q", format)
}
