package operate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/status"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// listFormats are what ls can print.
func listFormats() []string { return []string{"text", "wide", "json"} }

// ls prints a line for each entry, the reason first. Lines are cut on a terminal only, at its width: what is piped is searched, and pasted
// into other commands. The columns have fixed widths: the lines are printed as they come.
func (c *spoolCommand) ls(ctx context.Context, queues control.Queues) error {
	if c.format == "json" {
		return c.export(ctx, queues)
	}
	wide, most := c.format == "wide", cli.TerminalColumns(c.Out)
	out := bufio.NewWriter(c.Out)
	line := func(id, receiver, state, age, due, untold, what string) error {
		text := fmt.Sprintf("%-10s %-*s %-5s %7s %6s  %s", id[:min(10, len(id))], c.longestName, receiver, state, age, untold, what)
		if wide {
			text = fmt.Sprintf("%-32s %-*s %-5s %7s %7s %6s  %s", id, c.longestName, receiver, state, age, due, untold, what)
		} else if most > 0 {
			text = cli.Cut(text, most)
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
			due = status.Span(left)
		}
		switch {
		case e.Dead:
			state, due = "dead", "-"
		case e.Untold == 0:
			state = "told"
		}
		return line(e.ID, untrusted.CleanLine(e.Receiver), state, status.Span(now.Sub(e.Added)), due, fmt.Sprint(e.Untold), untrusted.CleanLine(what(e)))
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
