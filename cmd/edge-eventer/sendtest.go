package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/notify"
)

func sendTestCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "send-test",
		Short: "send a sample, print what the receiver answered",
		Long: `Sends one sample alert to each receiver and prints what it answered, and what the agent would do after such an answer. Exit status 1: a receiver
did not confirm it.`,
		Example: `  edge-eventer send-test --receiver ops`,
		Args:    takes(0, 0, ""),
	}
	path := configFlag(command, "")
	name := receiverFlag(command, "only this receiver, `NAME`; default: all", path)
	command.RunE = func(*cobra.Command, []string) error { return ended(sendTest(*path, *name, s)) }
	return command
}

func sendTest(path, name string, s streams) int {
	c, code := loadConfig(path, s)
	if c == nil {
		return code
	}
	found := false
	for i := range c.Receivers {
		r := &c.Receivers[i]
		if name != "" && r.Name != name {
			continue
		}
		found = true
		if err := sendSample(context.Background(), c, r, s); err != nil {
			fmt.Fprintf(s.out, "%s (%s): NOT DELIVERED: %s\n", r.Name, r.Type, verdict(err))
			code = exitFailed
			continue
		}
		fmt.Fprintf(s.out, "%s (%s): delivered, the receiver confirmed it\n", r.Name, r.Type)
	}
	if !found {
		return noReceiver(c, name, s)
	}
	return code
}

func noReceiver(c *config.Config, name string, s streams) int {
	fmt.Fprintf(s.err, "edge-eventer: there is no receiver %q; the configuration has:", name)
	for _, r := range c.Receivers {
		fmt.Fprintf(s.err, " %s", r.Name)
	}
	fmt.Fprintln(s.err)
	return exitUsage
}

func sendSample(ctx context.Context, c *config.Config, r *config.Receiver, s streams) error {
	common := r.Common(c)
	common.Version, common.Output = version, s.out
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
		text += "\n  it answered: " + cut(clean(string(failure.Answer)), 400)
	}
	return text
}
