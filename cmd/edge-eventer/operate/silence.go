package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/matcher"
	"github.com/edge-eventer/edge-eventer/agent/silence"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// silenceCommand are the flags of the silence commands.
type silenceCommand struct {
	*cli.Process

	config string
	args   []string

	author, comment      string
	duration, start, end string
	critical             bool

	expired, quiet bool
	// format is that of ls: text, wide or json.
	format string
}

// Silence is the commands that add, list and expire silences, with the words and the flags of amtool.
func Silence(proc *cli.Process) *cobra.Command {
	parent := &cobra.Command{
		Use:   "silence",
		Short: "hold incidents back for a time",
		Long: `Holds incidents back for a time, with the matchers and words of amtool, also while the agent does not run. What a silence holds waits on disk; at its
end one line tells how much that was, and what still goes on is told. Critical incidents are told all the same, unless the silence has --critical.
Receivers with fold: event, which are archives, are not silenced.`,
		Args:                       cli.TakesCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(*cobra.Command, []string) error { return nil },
	}
	const most = 1000
	parent.AddCommand(
		silenceAction(proc, (*silenceCommand).add, &cobra.Command{
			Use:   "add MATCHER...",
			Short: "add a silence, and print its ID",
			Long: `Adds a silence for the incidents that all the matchers match, and prints its ID. A matcher is NAME=VALUE with one of = != =~ !~, where ~ takes an
RE2 expression that is anchored at both ends; the first one may be a reason alone. The names:
` + strings.Join(matcher.Names(), " ") + `.`,
			Example: `  edge-eventer silence add reason=BackOff 'namespace=~"shop|kiosk"' --duration 2h --comment moving
  edge-eventer silence add NodeNotReady node=pi-4 --critical -c "new SD card"`,
			Args: cli.Takes(1, most, "at least one matcher, such as reason=BackOff"),
		}),
		silenceAction(proc, (*silenceCommand).ls, &cobra.Command{
			Use:     "ls",
			Short:   "one line for each silence",
			Long:    "One line for each silence that is active or pending, those that end first in front.",
			Example: "  edge-eventer silence ls\n  edge-eventer silence ls --expired -o json",
			Args:    cli.Takes(0, 0, ""),
		}),
		silenceAction(proc, (*silenceCommand).expire, &cobra.Command{
			Use:   "expire ID...",
			Short: "end silences now",
			Long:  "Ends silences now. An ID may be shortened to 4 characters or more, as long as only one silence begins with it.",
			Example: `  edge-eventer silence expire b3ede22e
  edge-eventer silence expire $(edge-eventer silence ls -q)`,
			Args: cli.Takes(1, most, "at least one ID; silence ls lists them"),
		}),
	)
	return parent
}

// silenceAction makes a command of an action.
func silenceAction(proc *cli.Process, action func(*silenceCommand, context.Context, control.Queues) error, command *cobra.Command) *cobra.Command {
	c := &silenceCommand{Process: proc}
	path := cli.ConfigFlag(command, ", which names the spool")
	flags := command.Flags()
	switch command.Name() {
	case "add":
		flags.StringVarP(&c.author, "author", "a", "", "`NAME` of who adds it; default: the user")
		flags.StringVarP(&c.comment, "comment", "c", "", "why; must be set")
		flags.StringVarP(&c.duration, "duration", "d", "1h", "how long it lasts: 90m, 2h, 3d, 1w")
		flags.StringVar(&c.start, "start", "", "`TIME` when it starts, RFC 3339; default: now")
		flags.StringVar(&c.end, "end", "", "`TIME` when it ends, RFC 3339; overrides --duration")
		flags.BoolVar(&c.critical, "critical", false, "hold critical incidents back too")
	case "ls":
		flags.BoolVar(&c.expired, "expired", false, "those that are over too, which are kept for 120 hours")
		flags.BoolVarP(&c.quiet, "quiet", "q", false, "IDs only")
		flags.StringVarP(&c.format, "output", "o", "text", "`FORMAT`: text, wide (with state, start and last change), or json as Alertmanager's API")
		cli.Complete(command, "output", listFormats())
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		c.config, c.args = *path, args
		if command.Name() == "ls" && !slices.Contains(listFormats(), c.format) {
			return fmt.Errorf("--output takes text, wide or json, not %q", c.format)
		}
		return c.run(command.Context(), command.Name(), action)
	}
	return command
}

func (c *silenceCommand) run(ctx context.Context, name string, action func(*silenceCommand, context.Context, control.Queues) error) error {
	loaded, mistakes := config.LoadAnyway(c.config)
	if loaded == nil {
		return cli.Refuse(c.config, mistakes, c.Process)
	}
	queues := newReach(loaded, mistakes)
	defer queues.Close()
	err := action(c, ctx, queues)
	if errors.Is(err, mistakes) && mistakes != nil {
		return cli.Refuse(c.config, mistakes, c.Process)
	}
	if use, ok := errors.AsType[*useError](err); ok {
		return use.error
	}
	if err != nil {
		fmt.Fprintf(c.Err, "edge-eventer silence %s: %v\n", name, err)
		return cli.ErrFailed
	}
	return nil
}

// useError is a mistake of the command line.
type useError struct{ error }

func (c *silenceCommand) add(ctx context.Context, queues control.Queues) error {
	s, err := c.silence(time.Now())
	if err != nil {
		return &useError{err}
	}
	added, err := queues.AddSilence(ctx, s)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Out, added.ID)
	return err
}

// silence is what the flags and arguments say.
func (c *silenceCommand) silence(now time.Time) (s silence.Silence, err error) {
	if _, err := matcher.Parse(c.args[0]); err != nil && !strings.ContainsAny(c.args[0], "=!") {
		c.args[0] = "alertname=" + c.args[0]
	}
	for _, text := range c.args {
		m, err := matcher.Parse(text)
		if err != nil {
			return s, err
		}
		s.Matchers = append(s.Matchers, m)
	}
	s.StartsAt = now
	if c.start != "" {
		if s.StartsAt, err = time.Parse(time.RFC3339, c.start); err != nil {
			return s, fmt.Errorf("--start %q is no time; write it as %s", c.start, now.Format(time.RFC3339))
		}
	}
	if c.end != "" {
		if s.EndsAt, err = time.Parse(time.RFC3339, c.end); err != nil {
			return s, fmt.Errorf("--end %q is no time; write it as %s", c.end, now.Add(time.Hour).Format(time.RFC3339))
		}
	} else {
		length, err := parseDuration(c.duration)
		if err != nil || length <= 0 {
			return s, fmt.Errorf("--duration %q is no duration above 0; write 90m, 2h, 3d or 1w", c.duration)
		}
		s.EndsAt = s.StartsAt.Add(length)
	}
	if strings.TrimSpace(c.comment) == "" {
		return s, errors.New("comment required: --comment says why, for whoever wonders at night")
	}
	s.Comment, s.CreatedBy, s.Critical = c.comment, c.author, c.critical
	if s.CreatedBy == "" {
		if who, err := user.Current(); err == nil {
			s.CreatedBy = who.Username
		}
	}
	return s, nil
}

// parseDuration reads a duration with weeks and days in front, as amtool does.
func parseDuration(text string) (time.Duration, error) {
	var sum time.Duration
	found := regexp.MustCompile(`^(?:(\d{1,4})w)?(?:(\d{1,4})d)?`).FindStringSubmatch(text)
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour} {
		if n, err := strconv.Atoi(found[i+1]); err == nil {
			sum += time.Duration(n) * unit
		}
	}
	if rest := text[len(found[0]):]; rest != "" {
		d, err := time.ParseDuration(rest)
		return sum + d, err
	}
	return sum, nil
}

// shownSilence is a silence as Alertmanager's API shows it.
type shownSilence struct {
	*silence.Silence
	Status struct {
		State string `json:"state"`
	} `json:"status"`
}

func (c *silenceCommand) ls(ctx context.Context, queues control.Queues) error {
	all, err := queues.Silences(ctx, struct{}{})
	if err != nil {
		return err
	}
	now := time.Now()
	all = slices.DeleteFunc(all, func(s *silence.Silence) bool { return !c.expired && s.State(now) == silence.Expired })
	switch {
	case c.quiet:
		for _, s := range all {
			fmt.Fprintln(c.Out, s.ID)
		}
		return nil
	case c.format == "json":
		shown := make([]shownSilence, len(all))
		for i, s := range all {
			shown[i].Silence = s
			shown[i].Status.State = s.State(now)
		}
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(shown)
	}
	return c.table(all, now)
}

// table prints amtool's columns.
func (c *silenceCommand) table(all []*silence.Silence, now time.Time) error {
	const layout = "2006-01-02 15:04:05 MST"
	w := tabwriter.NewWriter(c.Out, 0, 8, 2, ' ', 0)
	wide := ""
	if c.format == "wide" {
		wide = "State\tStarts At\tUpdated At\t"
	}
	fmt.Fprintf(w, "ID\tMatchers\t%sEnds At\tCreated By\tComment\n", wide)
	for _, s := range all {
		if wide != "" {
			wide = fmt.Sprintf("%s\t%s\t%s\t", s.State(now), s.StartsAt.UTC().Format(layout), s.UpdatedAt.UTC().Format(layout))
		}
		what := untrusted.CleanLine(s.Matchers.String())
		if s.Critical {
			what += " (critical too)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s%s\t%s\t%s\n", s.ID, what, wide, s.EndsAt.UTC().Format(layout), untrusted.CleanLine(s.CreatedBy), untrusted.CleanLine(s.Comment))
	}
	return w.Flush()
}

func (c *silenceCommand) expire(ctx context.Context, queues control.Queues) error {
	_, err := queues.ExpireSilences(ctx, control.IDs{IDs: c.args})
	return err
}
