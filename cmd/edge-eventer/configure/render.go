package configure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-eventer/edge-eventer/agent/config"
	"github.com/edge-eventer/edge-eventer/agent/control"
	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/watch/stream"
	"github.com/edge-eventer/edge-eventer/cmd/edge-eventer/cli"
	"github.com/edge-eventer/edge-eventer/notify"
)

// maxInput bounds the event that is read: etcd takes no object larger than 1.5 MiB.
const maxInput = 2 << 20

// Render is the command that prints what would be sent.
func Render(proc *cli.Process) *cobra.Command {
	command := &cobra.Command{
		Use:   "render",
		Short: "print the request that it would send for an event",
		Long: `Prints the request that it would send for the event on standard input, and sends nothing. The event is an object of the Kubernetes API, or what
edge-eventer spool show prints.`,
		Example: `  kubectl get event NAME -o json | edge-eventer render --receiver ops
  edge-eventer spool show 1f3a | edge-eventer render --receiver ops`,
		Args: cli.Takes(0, 0, ""),
	}
	path := cli.ConfigFlag(command, "")
	name := cli.ReceiverFlag(command, "the receiver, `NAME`; may be left out if there is only one", path)
	simple := command.Flags().Bool("simple", false, "the plain form that is tried when the receiver refused the full one")
	command.RunE = func(*cobra.Command, []string) error {
		form := notify.Full
		if *simple {
			form = notify.Simple
		}
		return render(*path, *name, form, proc)
	}
	return command
}

func render(path, name string, form notify.Form, proc *cli.Process) error {
	c, err := cli.Load(path, proc)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(c.Receivers, func(r config.Receiver) bool { return r.Name == name })
	if name == "" && len(c.Receivers) == 1 {
		i = 0
	}
	if i < 0 {
		return noReceiver(c, name, proc)
	}
	data, err := io.ReadAll(io.LimitReader(proc.In, maxInput))
	if err != nil {
		fmt.Fprintln(proc.Err, "edge-eventer render: read the event:", err)
		return cli.ErrFailed
	}
	events, err := eventsIn(data)
	if err != nil {
		fmt.Fprintln(proc.Err, "edge-eventer render: standard input is no event (kubectl get event NAME -o json, or spool show):", err)
		return cli.ErrRefused
	}
	for j := range events {
		if err := renderEvent(c, &c.Receivers[i], &events[j], form, proc); err != nil {
			fmt.Fprintln(proc.Err, "edge-eventer render:", err)
			return cli.ErrFailed
		}
	}
	return nil
}

// eventsIn reads objects of the API, and entries as spool show and spool export print them, one or several.
func eventsIn(data []byte) ([]event.Event, error) {
	var events []event.Event
	for decoder := json.NewDecoder(bytes.NewReader(data)); ; {
		var document json.RawMessage
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) && len(events) > 0 {
			return events, nil
		} else if err != nil {
			return nil, err
		}
		var entry struct {
			Incident *struct {
				Event *control.Event `json:"event"`
			} `json:"incident"`
		}
		if err := json.Unmarshal(document, &entry); err == nil && entry.Incident != nil && entry.Incident.Event != nil {
			events = append(events, entry.Incident.Event.Event)
			continue
		}
		e, err := stream.DecodeEvent(document)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
}

func renderEvent(c *config.Config, r *config.Receiver, e *event.Event, form notify.Form, proc *cli.Process) error {
	out := proc.Out
	common := r.Common(c)
	common.Version = proc.Version
	receiver, err := r.New(common)
	if err != nil {
		return err
	}
	defer receiver.Close()
	now := time.Now()
	policy := incident.Policy{
		PerEvent: r.Fold == "event", GroupWait: r.GroupWait, GroupInterval: r.GroupInterval,
		RepeatInterval: r.RepeatInterval, ResolveAfter: r.ResolveAfter,
	}
	in, _, _ := policy.Fold(nil, &incident.Observation{
		Event:    *e,
		Workload: event.Workload(e.InvolvedObject.Kind, e.InvolvedObject.Name),
		New:      uint32(max(1, e.Observed())), At: now,
	})
	request, err := receiver.Render(&notify.Message{
		Now:       now,
		Incidents: []notify.Incident{in.Alert(policy, c.Cluster, c.SeverityOf(e.Reason))},
	}, form)
	if err != nil {
		return err
	}
	// The URL is a secret and is not printed.
	fmt.Fprintln(out, request.Method)
	for _, key := range slices.Sorted(maps.Keys(request.Header)) {
		fmt.Fprintf(out, "%s: %s\n", key, request.Header[key])
	}
	if request.Topic != "" {
		fmt.Fprintf(out, "(topic: %s)\n", request.Topic)
	}
	for i := range request.Records {
		record := &request.Records[i]
		fmt.Fprintf(out, "\n(key: %s)\n", record.Key)
		for _, h := range record.Header {
			fmt.Fprintf(out, "%s: %s\n", h.Name, h.Value)
		}
		fmt.Fprintf(out, "\n%s\n", record.Value)
	}
	if len(request.Records) > 0 {
		return nil
	}
	_, err = fmt.Fprintf(out, "\n%s\n", request.Body)
	return err
}
