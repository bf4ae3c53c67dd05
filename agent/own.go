package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// ownKind is the kind of object that the agent's own incidents are about. No API has it.
const ownKind = "EdgeEventer"

// ownIncidents tells the agent's own troubles to every receiver, as incidents in the same stream: folded, kept on disk
// and delivered like any other, whatever the receivers' filters say.
type ownIncidents struct {
	spool   *spool.Spool
	routes  func() []route
	arrived func(receiver string)
	host    string
}

// tell puts an incident with the given reason and message into the queues of the named receivers, or of all when none is
// named, and returns when it is on disk.
func (o *ownIncidents) tell(reason, message string, receivers ...string) error {
	return o.tellIn(reason, func(*spool.Tx) (string, error) { return message, nil }, receivers...)
}

// tellIn is tell with a message that is made in the same transaction.
func (o *ownIncidents) tellIn(reason string, message func(*spool.Tx) (string, error), receivers ...string) error {
	routes := o.routes()
	if len(receivers) > 0 {
		routes = slices.DeleteFunc(slices.Clone(routes), func(r route) bool { return !slices.Contains(receivers, r.receiver) })
	}
	err := o.spool.Update(func(tx *spool.Tx) error {
		text, err := message(tx)
		if err != nil {
			return err
		}
		observation := o.observation(reason, text)
		for i := range routes {
			r := &routes[i]
			if _, err := foldInto(tx.Queue(r.receiver), r.policy, observation); err != nil {
				return fmt.Errorf("queue for %s: %w", r.receiver, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tell %s: %w", reason, err)
	}
	for i := range routes {
		o.arrived(routes[i].receiver)
	}
	return nil
}

func (o *ownIncidents) observation(reason, message string) *incident.Observation {
	now := time.Now()
	return &incident.Observation{
		Event: notify.Event{
			ObjectMeta: notify.ObjectMeta{
				Name:              fmt.Sprintf("edge-eventer.%x", now.UnixNano()),
				UID:               fmt.Sprintf("edge-eventer-%x", now.UnixNano()),
				ResourceVersion:   "0",
				CreationTimestamp: now,
			},
			InvolvedObject:      notify.ObjectReference{Kind: ownKind, Name: o.host},
			Reason:              reason,
			Message:             message,
			Source:              notify.EventSource{Component: "edge-eventer", Host: o.host},
			FirstTimestamp:      now,
			LastTimestamp:       now,
			Count:               1,
			Type:                "Warning",
			ReportingController: "edge-eventer",
			ReportingInstance:   o.host,
		},
		Workload: o.host,
		New:      1,
		At:       now,
		Own:      true,
	}
}

// sightInterval is how often the agent looks whether the API server still shows events.
const sightInterval = 15 * time.Second

// watchSight tells an incident when the API server has shown no events for kubernetes.unreachableAfter, once per absence. It is
// the one alert that nothing inside a dead cluster can send.
func (a *Agent) watchSight(ctx context.Context, own *ownIncidents) error {
	if a.config.Kubernetes.UnreachableAfter == 0 {
		return nil
	}
	var told time.Time
	for wait(ctx, sightInterval) == nil {
		since, cause := a.blindSince()
		if since.IsZero() || since.Equal(told) || time.Since(since) < a.config.Kubernetes.UnreachableAfter {
			continue
		}
		message := fmt.Sprintf("No events can be seen since %s: %s.", since.UTC().Format(time.RFC3339), cause)
		if err := own.tell("APIServerUnreachable", message); err != nil {
			a.logger.Error("the receivers cannot be told that the API server is away", "err", err)
			continue
		}
		told = since
	}
	return nil
}

// blindSince returns since when no namespace can be watched, and why; the zero time if one can.
func (a *Agent) blindSince() (since time.Time, cause string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watcher == nil {
		return a.started, a.signInError
	}
	for _, n := range a.watcher.Status().Namespaces {
		if n.Failing == nil || !n.Failing.Unseen {
			return time.Time{}, ""
		}
		if since.IsZero() || n.Failing.Since.After(since) {
			since, cause = n.Failing.Since, n.Failing.Err.Error()
		}
	}
	return since, cause
}
