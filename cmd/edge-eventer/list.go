package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/edge-eventer/edge-eventer/agent/control"
)

// listFormats are what ls can print.
func listFormats() []string { return []string{"text", "wide", "json"} }

// ls prints a line for each entry, the reason first. Lines are cut on a terminal only, at its width: what is piped is searched, and pasted
// into other commands.
func (c *spoolCommand) ls(ctx context.Context, queues control.Queues) error {
	if c.format == "json" {
		return c.export(ctx, queues)
	}
	wide, most := c.format == "wide", terminalWidth(c.out)
	out := bufio.NewWriter(c.out)
	line := func(id, receiver, state, age, due, untold, what string) error {
		text := fmt.Sprintf("%-10s %-*s %-5s %7s %6s  %s", id[:min(10, len(id))], c.longestName, receiver, state, age, untold, what)
		if wide {
			text = fmt.Sprintf("%-32s %-*s %-5s %7s %7s %6s  %s", id, c.longestName, receiver, state, age, due, untold, what)
		} else if most > 0 {
			text = cut(text, most)
		}
		_, err := fmt.Fprintln(out, text)
		return err
	}
	err := line("ID", "RECEIVER", "STATE", "AGE", "DUE", "UNTOLD", "REASON AND OBJECT: MESSAGE")
	if err != nil {
		return err
	}
	now := time.Now()
	err = c.each(ctx, queues, func(e *control.Entry) error {
		state, due := "waits", "now"
		if left := e.Due.Sub(now); left > 0 {
			due = ago(left)
		}
		switch {
		case e.Dead:
			state, due = "dead", "-"
		case e.Untold == 0:
			state = "told"
		}
		return line(e.ID, clean(e.Receiver), state, ago(now.Sub(e.Added)), due, fmt.Sprint(e.Untold), clean(what(e)))
	})
	return errors.Join(err, out.Flush())
}

// what says what an entry holds.
func what(e *control.Entry) string {
	in := e.Incident
	if in == nil {
		return e.Undecoded
	}
	object := in.Event.InvolvedObject
	if object.Namespace != "" {
		object.Namespace += "/"
	}
	return fmt.Sprintf("%s %s %s%s: %s", in.Event.Reason, object.Kind, object.Namespace, in.Workload, in.Event.Message)
}

// terminalWidth returns how many columns a terminal has, that of a serial console where it does not say so, and 0 for what is no terminal.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(f) {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		return width
	}
	return columns
}
