// Command edge-eventer tells people about the Warning events of an edge cluster, over a link that comes and goes.
//
// It promises an exit code that says what happened: 0 done, 1 failed while running, 2 wrong use or configuration, and of status 3: not known.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitUnknown = 3
)

// version and commit are set by the linker: see the Makefile.
var (
	version = "devel"
	commit  = "unknown"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs the command that args name and returns its exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	root := newCommand(&cli.Process{In: in, Out: out, Err: errOut, Version: version, Commit: commit, Signals: signals{}})
	root.SetArgs(args)
	command, err := root.ExecuteContextC(context.Background())
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, cli.ErrFailed):
		return exitFailed
	case errors.Is(err, cli.ErrUnknown):
		return exitUnknown
	case !errors.Is(err, cli.ErrRefused):
		fmt.Fprintf(errOut, "%s: %v\nSee: %s --help\n", command.CommandPath(), err, command.CommandPath())
	}
	return exitUsage
}

// signals are those of this process.
type signals struct{}

// Interrupted implements [cli.Signals].
func (signals) Interrupted() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// From the first signal on the default handling is back, so a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// HangUps implements [cli.Signals].
func (signals) HangUps() (<-chan os.Signal, func()) {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	return hangUps, func() { signal.Stop(hangUps) }
}

// IgnoreClosedPipes implements [cli.Signals].
func (signals) IgnoreClosedPipes() { signal.Ignore(syscall.SIGPIPE) }
