// Package serve is the command that runs the agent: its flags, its log, its signals and its supervisor.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	_ "time/tzdata" // A container FROM scratch has no zone data: 0.4 MB of binary.

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/memory"
	"github.com/edge-eventer/edge-eventer/agent/watch/apiclient"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

// runFlags are the flags of the agent.
type runFlags struct {
	config *string
	level  slog.Level
	format string
}

func newRunFlags(command *cobra.Command) *runFlags {
	f := &runFlags{config: cli.ConfigFlag(command, "")}
	command.Flags().TextVar(&f.level, "log-level", slog.LevelInfo, "`LEVEL`: debug, info, warn or error")
	command.Flags().StringVar(&f.format, "log-format", "auto", "`FORMAT`: text, json, or auto: text on a terminal")
	cli.Complete(command, "log-level", []string{"debug", "info", "warn", "error"})
	cli.Complete(command, "log-format", []string{"auto", "text", "json"})
	return f
}

// Agent gives a command the flags of the agent and returns what runs it: the root of the command line is the agent too.
func Agent(command *cobra.Command, proc *cli.Process) (run func() error) {
	flags := newRunFlags(command)
	return func() error { return runAgent(flags, proc) }
}

// Command is the agent under its name.
func Command(proc *cli.Process) *cobra.Command {
	command := &cobra.Command{
		Use:   "run",
		Short: "the agent; the default command",
		Long: `The agent; the default command. It ends on SIGINT or SIGTERM within 5 seconds, and reads its configuration again on SIGHUP and when the file
changes.`,
		Example: `  edge-eventer run --config /etc/edge-eventer/config.yaml --log-level debug`,
		Args:    cli.Takes(0, 0, ""),
	}
	run := Agent(command, proc)
	command.RunE = func(*cobra.Command, []string) error { return run() }
	return command
}

func runAgent(flags *runFlags, proc *cli.Process) error {
	path := *flags.config
	logger, err := newLogger(proc.Err, flags.level, flags.format)
	if err != nil {
		return err
	}
	c, err := cli.Load(path, proc)
	if err != nil {
		return err
	}
	// A write to a pipe that nobody reads any more is an error of the stdout receiver, or a line of the log that nobody gets. By default it
	// would end the process, and every other receiver with it.
	proc.IgnoreClosedPipes()
	tuned, trim := memory.Tune()
	apiclient.RouteClientLogs(logger)

	ctx, stop := proc.Interrupted()
	defer stop()
	context.AfterFunc(ctx, func() {
		stop()
		logger.Info("stopping: a second signal ends at once")
	})
	// Asked for before "started" is said: until then a SIGHUP ends the process.
	hangUps, ignore := proc.HangUps()
	defer ignore()

	a, err := agent.New(c, agent.Options{
		Version: proc.Version, Revision: proc.Commit, Logger: logger, ConfigPath: path, Trim: trim,
		Reread: func() (*config.Config, error) { return config.Load(path) },
	})
	if err != nil {
		fmt.Fprintf(proc.Err, "edge-eventer: %s: %v\n", path, err)
		return cli.ErrRefused
	}
	logger.Info("started", "version", proc.Version, "commit", proc.Commit, "config", path)
	if tuned.CgroupLimit > 0 {
		logger.Info("the memory is limited", "cgroup", tuned.CgroupLimit, "goMemoryLimit", tuned.SoftLimit)
	}
	go reloadOnHangUp(ctx, hangUps, a)
	go supervise(ctx, a.Stuck, logger)
	if err := a.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		logger.Error("stopped", "err", err)
		return cli.ErrFailed
	}
	logger.Info("stopped")
	return nil
}

// reloadOnHangUp reads the configuration again at each SIGHUP. The agent logs what comes of it.
func reloadOnHangUp(ctx context.Context, hangUps <-chan os.Signal, a *agent.Agent) {
	for {
		select {
		case <-hangUps:
			_ = a.Reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// newLogger writes text for a person at a terminal and JSON otherwise, unless format says which.
func newLogger(out io.Writer, level slog.Level, format string) (*slog.Logger, error) {
	if format == "auto" {
		format = "json"
		if cli.IsTerminal(out) {
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
		return slog.New(slog.NewTextHandler(out, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	}
	return nil, fmt.Errorf("--log-format takes auto, text or json, not %q", format)
}
