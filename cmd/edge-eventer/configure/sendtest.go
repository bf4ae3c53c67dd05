package configure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// SendTest is the command that sends a sample.
func SendTest(proc *cli.Process) *cobra.Command {
	command := &cobra.Command{
		Use:   "send-test",
		Short: "send a sample, print what the receiver answered",
		Long: `Sends one sample alert to each receiver and prints what it answered, and what the agent would do after such an answer. Exit status 1: a receiver
did not confirm it.`,
		Example: `  edge-eventer send-test --receiver ops`,
		Args:    cli.Takes(0, 0, ""),
	}
	path := cli.ConfigFlag(command, "")
	name := cli.ReceiverFlag(command, "only this receiver, `NAME`; default: all", path)
	command.RunE = func(*cobra.Command, []string) error { return sendTest(*path, *name, proc) }
	return command
}

func sendTest(path, name string, proc *cli.Process) error {
	c, err := cli.Load(path, proc)
	if err != nil {
		return err
	}
	found, failed := false, error(nil)
	for i := range c.Receivers {
		r := &c.Receivers[i]
		if name != "" && r.Name != name {
			continue
		}
		found = true
		if err := sendSample(context.Background(), c, r, proc); err != nil {
			fmt.Fprintf(proc.Out, "%s (%s): NOT DELIVERED: %s\n", r.Name, r.Type, verdict(err))
			failed = cli.ErrFailed
			continue
		}
		fmt.Fprintf(proc.Out, "%s (%s): delivered, the receiver confirmed it\n", r.Name, r.Type)
	}
	if !found {
		return noReceiver(c, name, proc)
	}
	return failed
}

func noReceiver(c *config.Config, name string, proc *cli.Process) error {
	fmt.Fprintf(proc.Err, "edge-eventer: there is no receiver %q; the configuration has:", name)
	for _, r := range c.Receivers {
		fmt.Fprintf(proc.Err, " %s", r.Name)
	}
	fmt.Fprintln(proc.Err)
	return cli.ErrRefused
}

func sendSample(ctx context.Context, c *config.Config, r *config.Receiver, proc *cli.Process) error {
	common := r.Common(c)
	common.Version, common.Output = proc.Version, proc.Out
	receiver, err := r.New(common)
	if err != nil {
		return err
	}
	defer receiver.Close()
	request, err := receiver.Render(notify.Sample(c.Cluster, time.Now()), notify.Full)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("no answer within %s", r.Timeout))
	defer cancel()
	return receiver.Send(ctx, request)
}

// verdict says what an error means and what the agent would do.
func verdict(err error) string {
	failure, ok := errors.AsType[*notify.Error](err)
	if !ok {
		return err.Error()
	}
	var then string
	switch failure.Outcome {
	case notify.Retry:
		then = "the agent would try again later"
	case notify.BadPayload:
		then = "the receiver refuses this message, and may take others"
	case notify.BadTarget:
		then = "the receiver refuses every message: correct its configuration"
	}
	text := failure.Error() + "; " + then
	if len(failure.Answer) > 0 {
		text += "\n  it answered: " + untrusted.Prepared(string(failure.Answer), 400, untrusted.Runes, untrusted.CleanLine)
	}
	return text
}
