package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // A container FROM scratch has no zone data: 0.4 MB of binary.

	"github.com/edge-eventer/edge-eventer/agent"
	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/memory"
	"github.com/edge-eventer/edge-eventer/agent/watch"
)

func runAgent(args []string, s streams) int {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	path := flags.String("config", defaultConfig, "configuration `FILE`")
	var level slog.Level
	flags.TextVar(&level, "log-level", slog.LevelInfo, "`LEVEL`: debug, info, warn or error")
	format := flags.String("log-format", "auto", "`FORMAT`: text, json, or auto: text on a terminal")
	if code, ok := parse(flags, args, s, 0); !ok {
		return code
	}
	logger, err := newLogger(s, level, *format)
	if err != nil {
		fmt.Fprintln(s.err, "edge-eventer:", err)
		return exitUsage
	}
	c, err := config.Load(*path)
	if err != nil {
		fmt.Fprintf(s.err, "edge-eventer: %s: the configuration is refused\n%v\n", *path, err)
		return exitUsage
	}
	// A write to a pipe that nobody reads any more is an error of the stdout receiver, or a line of the log that nobody gets. By default it
	// would end the process, and every other receiver with it.
	signal.Ignore(syscall.SIGPIPE)
	tuned := memory.Tune()
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
		Version: version, Logger: logger, ConfigPath: *path,
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
