package operate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
)

// spoolCommand are the flags that all spool commands have.
type spoolCommand struct {
	*cli.Process

	config   string
	receiver string
	yes      bool
	ids      []string
	// format is that of ls: text, wide or json.
	format string
	// longestName is the length of the longest name of a receiver.
	longestName int
}

// Spool is the commands that inspect and repair the queues.
func Spool(proc *cli.Process) *cobra.Command {
	parent := &cobra.Command{
		Use:   "spool",
		Short: "inspect and repair the queues",
		Long: `Inspects and repairs the queues, also while the agent runs. An ID may be shortened to 4 characters or more, as long as only one entry begins
with it.`,
		Args: cli.TakesCommand,
		// What SuggestionsFor takes for near.
		SuggestionsMinimumDistance: 2,
		RunE:                       func(*cobra.Command, []string) error { return nil },
	}
	const most = 1000
	parent.AddCommand(
		spoolAction(proc, (*spoolCommand).ls, &cobra.Command{
			Use:     "ls",
			Short:   "one line for each incident and dead letter",
			Long:    "One line for each incident and dead letter that waits on disk. Lines are cut on a terminal only, at its width.",
			Example: "  edge-eventer spool ls --receiver ops\n  edge-eventer spool ls -o wide | grep BackOff",
			Args:    cli.Takes(0, 0, ""),
		}),
		spoolAction(proc, (*spoolCommand).show, &cobra.Command{
			Use:     "show ID...",
			Short:   "all of it, as JSON",
			Long:    "All that is known of the entries with these IDs, as JSON. edge-eventer render takes it.",
			Example: `  edge-eventer spool show 1f3a | edge-eventer render --receiver ops`,
			Args:    cli.Takes(1, most, "at least one ID; spool ls lists them"),
		}),
		spoolAction(proc, (*spoolCommand).retry, &cobra.Command{
			Use:     "retry [ID...]",
			Short:   "tell it now",
			Long:    "Tells the entries now. With no ID it tries the receiver that --receiver names at once and puts all its dead letters back into the queue.",
			Example: `  edge-eventer spool retry --receiver ops`,
			Args:    cli.Takes(0, most, ""),
		}),
		spoolAction(proc, (*spoolCommand).drop, &cobra.Command{
			Use:   "drop [ID...]",
			Short: "remove it for good, which is counted as a loss",
			Long: `Removes the entries for good, which is counted as a loss, and asks first. With no ID it removes everything in the queue of the receiver that
--receiver names.`,
			Example: `  edge-eventer spool drop 1f3a
  edge-eventer spool drop --receiver old --yes`,
			Args: cli.Takes(0, most, ""),
		}),
		spoolAction(proc, (*spoolCommand).export, &cobra.Command{
			Use:     "export",
			Short:   "the entries as lines of JSON",
			Long:    "The entries as lines of JSON.",
			Example: `  edge-eventer spool export | jq -r .incident.event.reason | sort | uniq -c`,
			Args:    cli.Takes(0, 0, ""),
		}),
	)
	return parent
}

// spoolAction makes a command of an action.
func spoolAction(proc *cli.Process, action func(*spoolCommand, context.Context, control.Queues) error, command *cobra.Command) *cobra.Command {
	c := &spoolCommand{Process: proc}
	path := cli.ConfigFlag(command, ", which names the spool")
	receiver := cli.ReceiverFlag(command, "only the queue of this receiver, `NAME`", path)
	switch command.Name() {
	case "drop":
		command.Flags().BoolVar(&c.yes, "yes", false, "do not ask")
	case "ls":
		command.Flags().StringVarP(&c.format, "output", "o", "text", "`FORMAT`: text, wide (whole IDs, when each is due; never cut), or json as export")
		cli.Complete(command, "output", listFormats())
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		c.config, c.receiver, c.ids = *path, *receiver, args
		if command.Name() == "ls" && !slices.Contains(listFormats(), c.format) {
			return fmt.Errorf("--output takes text, wide or json, not %q", c.format)
		}
		if (command.Name() == "retry" || command.Name() == "drop") && len(args) == 0 && c.receiver == "" {
			return errors.New("name IDs, or --receiver NAME for all of its queue")
		}
		return c.run(command.Context(), command.Name(), action)
	}
	return command
}

// run does an action on the queues that can be reached.
func (c *spoolCommand) run(ctx context.Context, name string, action func(*spoolCommand, context.Context, control.Queues) error) error {
	loaded, mistakes := config.LoadAnyway(c.config)
	if loaded == nil {
		return cli.Refuse(c.config, mistakes, c.Process)
	}
	c.longestName = len("RECEIVER")
	for i := range loaded.Receivers {
		c.longestName = max(c.longestName, len(loaded.Receivers[i].Name))
	}
	queues := newReach(loaded, mistakes)
	defer queues.Close()
	err := action(c, ctx, queues)
	if errors.Is(err, mistakes) && mistakes != nil {
		return cli.Refuse(c.config, mistakes, c.Process)
	}
	if err != nil {
		fmt.Fprintf(c.Err, "edge-eventer spool %s: %v\n", name, err)
		return cli.ErrFailed
	}
	return nil
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

func (c *spoolCommand) export(ctx context.Context, queues control.Queues) error {
	out := bufio.NewWriter(c.Out)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	err := c.each(ctx, queues, func(e *control.Entry) error { return encoder.Encode(e) })
	return errors.Join(err, out.Flush())
}

func (c *spoolCommand) show(ctx context.Context, queues control.Queues) error {
	shown := make(map[string]bool)
	encoder := json.NewEncoder(c.Out)
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
		fmt.Fprintln(c.Err, kept)
	}
	fmt.Fprintf(c.Out, "%d incidents with %d events are due now\n", r.Records, r.Events)
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
		fmt.Fprintf(c.Err, "Drop %s for good? Type yes: ", what)
		answer, _ := bufio.NewReader(c.In).ReadString('\n')
		if strings.TrimSpace(answer) != "yes" {
			return errors.New("nothing was dropped")
		}
	}
	r, err := queues.Drop(ctx, control.Selection{Receiver: c.receiver, IDs: c.ids})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "dropped %d incidents with %d untold events\n", r.Records, r.Events)
	return nil
}
