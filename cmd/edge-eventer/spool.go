package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
)

const spoolUsage = `edge-eventer spool inspects and repairs the queues, also while the agent runs.

  edge-eventer spool ls      [--receiver NAME]          one line for each incident and dead letter
  edge-eventer spool show    [--receiver NAME] ID...    all of it
  edge-eventer spool retry   [--receiver NAME] [ID...]  tell it now; with no ID: try the receiver at once and
                                                        put all its dead letters back into the queue
  edge-eventer spool drop    [--receiver NAME] [ID...]  remove it for good, which is counted as a loss;
                                                        with no ID: everything in the receiver's queue
  edge-eventer spool export  [--receiver NAME]          JSON lines

An ID may be shortened to 4 characters or more, as long as only one entry begins with it. drop asks first, unless --yes.
`

// spoolCommand are the flags that all spool commands have.
type spoolCommand struct {
	streams
	receiver string
	yes      bool
	ids      []string
}

func runSpool(args []string, s streams) int {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") || args[0] == "help" {
		fmt.Fprint(s.err, spoolUsage)
		if len(args) > 0 && (args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
			return exitOK
		}
		return exitUsage
	}
	actions := map[string]func(*spoolCommand, context.Context, control.Queues) error{
		"ls": (*spoolCommand).ls, "show": (*spoolCommand).show, "retry": (*spoolCommand).retry, "drop": (*spoolCommand).drop, "export": (*spoolCommand).export,
	}
	name := args[0]
	action, ok := actions[name]
	if !ok {
		fmt.Fprintf(s.err, "edge-eventer spool: there is no command %q\n\n%s", name, spoolUsage)
		return exitUsage
	}
	c := &spoolCommand{streams: s}
	flags := flag.NewFlagSet("spool "+name, flag.ContinueOnError)
	path := flags.String("config", defaultConfig, "configuration `FILE`, which names the spool")
	flags.StringVar(&c.receiver, "receiver", "", "only the queue of this receiver, `NAME`")
	most := 0
	switch name {
	case "drop":
		flags.BoolVar(&c.yes, "yes", false, "do not ask")
		most = 1000
	case "show", "retry":
		most = 1000
	}
	if code, ok := parse(flags, args[1:], s, most); !ok {
		return code
	}
	c.ids = flags.Args()
	switch {
	case name == "show" && len(c.ids) == 0:
		fmt.Fprintln(s.err, "edge-eventer spool show: name at least one ID; spool ls lists them")
		return exitUsage
	case (name == "retry" || name == "drop") && len(c.ids) == 0 && c.receiver == "":
		fmt.Fprintf(s.err, "edge-eventer spool %s: name IDs, or --receiver NAME for all of its queue\n", name)
		return exitUsage
	}
	loaded, mistakes := config.LoadAnyway(*path)
	if loaded == nil {
		return refuse(*path, mistakes, s)
	}
	ctx := context.Background()
	queues := newReach(loaded.Spool.Path, loaded.Spool.MaxBytes, mistakes)
	defer queues.Close()
	err := action(c, ctx, queues)
	if errors.Is(err, mistakes) && mistakes != nil {
		return refuse(*path, mistakes, s)
	}
	if err != nil {
		fmt.Fprintf(s.err, "edge-eventer spool %s: %v\n", name, err)
		return exitFailed
	}
	return exitOK
}

// each calls fn for every entry.
func (c *spoolCommand) each(ctx context.Context, queues control.Queues, fn func(*control.Entry) error) error {
	query := control.Query{Receiver: c.receiver}
	for {
		page, err := queues.Entries(ctx, query)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			if err := fn(&page.Entries[i]); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		query.After = *page.Next
	}
}

func (c *spoolCommand) ls(ctx context.Context, queues control.Queues) error {
	out := bufio.NewWriter(c.out)
	fmt.Fprintf(out, "%-10s %-12s %-7s %-8s %6s  %s\n", "ID", "RECEIVER", "STATE", "AGE", "UNTOLD", "WHAT")
	err := c.each(ctx, queues, func(e *control.Entry) error {
		state := "waits"
		switch {
		case e.Dead:
			state = "dead"
		case e.Untold == 0:
			state = "told"
		}
		what := e.Undecoded
		if in := e.Incident; in != nil {
			what = fmt.Sprintf("%s %s/%s %s: %s", in.Event.InvolvedObject.Kind, in.Event.InvolvedObject.Namespace, in.Workload, in.Event.Reason, in.Event.Message)
		}
		_, err := fmt.Fprintln(out, cut(fmt.Sprintf("%-10s %-12s %-7s %-8s %6d  %s", e.ID[:min(10, len(e.ID))], cut(e.Receiver, 12), state,
			ago(time.Since(e.Added)), e.Untold, clean(what)), width))
		return err
	})
	return errors.Join(err, out.Flush())
}

func (c *spoolCommand) export(ctx context.Context, queues control.Queues) error {
	out := bufio.NewWriter(c.out)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	err := c.each(ctx, queues, func(e *control.Entry) error { return encoder.Encode(e) })
	return errors.Join(err, out.Flush())
}

func (c *spoolCommand) show(ctx context.Context, queues control.Queues) error {
	shown := make(map[string]bool)
	encoder := json.NewEncoder(c.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := c.each(ctx, queues, func(e *control.Entry) error {
		for _, id := range c.ids {
			if strings.HasPrefix(e.ID, id) {
				shown[id] = true
				return encoder.Encode(e)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range c.ids {
		if !shown[id] {
			return fmt.Errorf("%w: %s", control.ErrNoEntry, id)
		}
	}
	return nil
}

func (c *spoolCommand) retry(ctx context.Context, queues control.Queues) error {
	r, err := queues.Retry(ctx, control.Selection{Receiver: c.receiver, IDs: c.ids})
	if err != nil {
		return err
	}
	for _, kept := range r.Kept {
		fmt.Fprintln(c.err, kept)
	}
	fmt.Fprintf(c.out, "%d incidents with %d events are due now\n", r.Records, r.Events)
	return nil
}

func (c *spoolCommand) drop(ctx context.Context, queues control.Queues) error {
	what := fmt.Sprintf("%d entries", len(c.ids))
	if len(c.ids) == 0 {
		records, events := 0, uint64(0)
		err := c.each(ctx, queues, func(e *control.Entry) error {
			records++
			events += uint64(e.Untold)
			return nil
		})
		if err != nil {
			return err
		}
		what = fmt.Sprintf("all %d incidents of %s with %d untold events", records, c.receiver, events)
	}
	if !c.yes {
		fmt.Fprintf(c.err, "Drop %s for good? Type yes: ", what)
		answer, _ := bufio.NewReader(c.in).ReadString('\n')
		if strings.TrimSpace(answer) != "yes" {
			return errors.New("nothing was dropped")
		}
	}
	r, err := queues.Drop(ctx, control.Selection{Receiver: c.receiver, IDs: c.ids})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "dropped %d incidents with %d untold events\n", r.Records, r.Events)
	return nil
}
