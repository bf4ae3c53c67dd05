// Package cli is what the commands of edge-eventer share: the process that they run in, their flags, how a configuration is refused, and what
// a terminal is.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
)

// Process is what a command has of the process that it runs in: main gives it the real one, a test one of its own.
type Process struct {
	In       io.Reader
	Out, Err io.Writer
	// Version and Commit are what the binary was built of.
	Version, Commit string
	Signals
}

// Signals are those that a process is sent. A command that asks for none of them is ended by each, which is the default.
type Signals interface {
	// Interrupted returns a context that ends at the first SIGINT or SIGTERM; the second one ends the process, as it does after stop.
	Interrupted() (ctx context.Context, stop context.CancelFunc)
	// HangUps returns a channel that gets each SIGHUP until stop is called.
	HangUps() (hangUps <-chan os.Signal, stop func())
	// IgnoreClosedPipes makes a write to a pipe that nobody reads an error, which by default ends the process.
	IgnoreClosedPipes()
}

// What a command ends with. It has printed by then what went wrong; an error that is none of these is wrong use, and is yet to be printed.
var (
	// ErrFailed is a failure while running.
	ErrFailed = errors.New("failed while running")
	// ErrRefused is a configuration or an input that is refused.
	ErrRefused = errors.New("wrong use or configuration")
	// ErrUnknown is status where it may not ask: whether the agent works is not known, as it is of a monitoring check.
	ErrUnknown = errors.New("not known")
)
