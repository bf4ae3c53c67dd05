// Package operate is the commands that look at a running agent and at its spool, and repair the queues.
package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/screen"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// redraw is how often --watch asks.
const redraw = 2 * time.Second

// Status is the command that asks the agent how it stands.
func Status(proc *cli.Process) *cobra.Command {
	command := &cobra.Command{
		Use:   "status",
		Short: "is it working, and if not, why",
		Long: `What the agent is doing: link, queues, budget, losses, last deliveries. The first line says whether it works; lines with ! say why not, > what
that means and what to do, * what else is worth knowing. Colours only on a terminal, and not where NO_COLOR is set. Exit status 1: no agent
answers; 3: it may not be asked, so whether it works is not known.`,
		Example: `  sudo edge-eventer status --watch
  kubectl -n edge-eventer exec deploy/edge-eventer -- edge-eventer status -o json`,
		Args: cli.Takes(0, 0, ""),
	}
	c := &statusCommand{Process: proc, painter: screen.Painter{Colours: cli.Colours(proc.Out)}}
	path := cli.ConfigFlag(command, ", which names the spool")
	command.Flags().StringVarP(&c.format, "output", "o", "text", "`FORMAT`: text or json")
	cli.Complete(command, "output", []string{"text", "json"})
	command.Flags().BoolVar(&c.watch, "watch", false, "draw again every 2 seconds until interrupted")
	command.RunE = func(*cobra.Command, []string) error {
		if c.format != "text" && c.format != "json" {
			return fmt.Errorf("--output takes text or json, not %q", c.format)
		}
		return c.run(*path)
	}
	return command
}

// statusCommand is one call of status.
type statusCommand struct {
	*cli.Process

	format  string
	watch   bool
	painter screen.Painter
}

func (c *statusCommand) run(path string) error {
	loaded, mistakes := config.LoadAnyway(path)
	if errors.Is(mistakes, fs.ErrPermission) {
		fmt.Fprint(c.Err, c.painter.Unknown(fmt.Errorf("%w; run it with sudo", mistakes)))
		return cli.ErrUnknown
	}
	if loaded == nil {
		return cli.Refuse(path, mistakes, c.Process)
	}
	c.painter.Language = loaded.Language
	ctx, stop := c.Interrupted()
	defer stop()
	client := control.NewClient(loaded.Socket())
	defer client.Close()
	if _, err := client.Status(ctx); err != nil && !errors.Is(err, control.ErrDenied) && mistakes != nil {
		// An agent that runs says itself what it thinks of the file.
		return cli.Refuse(path, mistakes, c.Process)
	}
	for {
		err := c.show(ctx, loaded, client)
		if ctx.Err() != nil {
			return nil
		}
		if !c.watch {
			return err
		}
		select {
		case <-time.After(redraw):
		case <-ctx.Done():
			return nil
		}
	}
}

// show asks once and prints the answer.
func (c *statusCommand) show(ctx context.Context, loaded *config.Config, client *control.Client) error {
	document, err := client.Status(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if c.watch && c.format == "text" && cli.Controllable(c.Out) {
		// Home and clear to the end, so that nothing flickers.
		fmt.Fprint(c.Out, "\x1b[H\x1b[J")
	}
	switch {
	case errors.Is(err, control.ErrDenied):
		fmt.Fprint(c.Err, c.painter.Unknown(err))
		return cli.ErrUnknown
	case err != nil:
		fmt.Fprint(c.Err, c.painter.Absent(err, whyNot(ctx, loaded, err)))
		return cli.ErrFailed
	case c.format == "json":
		if err := json.NewEncoder(c.Out).Encode(document); err != nil {
			fmt.Fprintln(c.Err, "edge-eventer status:", err)
			return cli.ErrFailed
		}
		return nil
	}
	fmt.Fprint(c.Out, c.painter.Status(&document))
	return nil
}

// whyNot says what an agent that does not answer on its socket says of itself: while it cannot open its spool, only the HTTP
// port is there.
func whyNot(ctx context.Context, c *config.Config, err error) []string {
	if !errors.Is(err, control.ErrNotRunning) || c.Server.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Server.Listen)
	if err != nil {
		return nil
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return nil
	}
	// A proxy of the environment has no business with the agent beside us.
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return []string{"look at: systemctl status edge-eventer, journalctl -u edge-eventer -n 50"}
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	return []string{"something answers on " + c.Server.Listen + ": " + untrusted.CleanLine(string(body))}
}
