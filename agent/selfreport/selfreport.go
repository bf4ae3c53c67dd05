// Package selfreport tells what the agent has to say of itself: its own troubles, the budget, the daily statistics, the heartbeat.
//
// It promises that these go the way of all incidents, folded, kept on disk and delivered like any other, whatever the receivers'
// filters say, and that what is told once is told once over restarts.
package selfreport

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/inbox"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/intake"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

// ownKind is the kind of object that the agent's own incidents are about. No API has it.
const ownKind = "EdgeEventer"

// Reporter puts self-reported incidents into the receivers' queues. Its fields are set once; its methods may be called from any
// goroutine.
type Reporter struct {
	Spool *spool.Spool
	// Routes returns where events go.
	Routes func() []intake.Route
	// Arrived is called with the receiver's name after something was put into its queue.
	Arrived func(receiver string)
	// Host is what the incidents are about: the cluster's name.
	Host string
	// Started is when the agent started.
	Started time.Time
	Logger  *slog.Logger
}

// Tell puts an incident with the given reason and message into the queues of the named receivers, or of all when none is
// named, and returns when it is on disk.
func (r *Reporter) Tell(reason, message string, receivers ...string) error {
	return r.TellIn(reason, func(*spool.Tx) (string, error) { return message, nil }, receivers...)
}

// TellIn is Tell with a message that is made in the same transaction.
func (r *Reporter) TellIn(reason string, message func(*spool.Tx) (string, error), receivers ...string) error {
	routes := r.Routes()
	if len(receivers) > 0 {
		routes = slices.DeleteFunc(slices.Clone(routes), func(to intake.Route) bool { return !slices.Contains(receivers, to.Receiver) })
	}
	err := r.Spool.Update(func(tx *spool.Tx) error {
		text, err := message(tx)
		if err != nil {
			return err
		}
		observation := r.observation(reason, text)
		if reason == notify.SiteStatus {
			r.asRecord(&observation.Event)
		}
		for i := range routes {
			to := &routes[i]
			if err := inbox.FoldOwn(tx.Queue(to.Receiver), to.Policy, observation); err != nil {
				return fmt.Errorf("queue for %s: %w", to.Receiver, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tell %s: %w", reason, err)
	}
	for i := range routes {
		r.Arrived(routes[i].Receiver)
	}
	return nil
}

// asRecord makes an event that is no warning, and each the next version of the one before, so that a queue of events too keeps the last only.
func (r *Reporter) asRecord(e *event.Event) {
	e.ResourceVersion = strconv.FormatInt(e.LastTimestamp.UnixMicro(), 10)
	e.Name, e.UID, e.CreationTimestamp, e.Type = "edge-eventer.site", "edge-eventer.site."+r.Host, r.Started, "Normal"
}

func (r *Reporter) observation(reason, message string) *incident.Observation {
	now := time.Now()
	return &incident.Observation{
		Event: event.Event{
			ObjectMeta: event.ObjectMeta{
				Name:              fmt.Sprintf("edge-eventer.%x", now.UnixNano()),
				UID:               fmt.Sprintf("edge-eventer-%x", now.UnixNano()),
				ResourceVersion:   "0",
				CreationTimestamp: now,
			},
			InvolvedObject:      event.Reference{Kind: ownKind, Name: r.Host},
			Reason:              reason,
			Message:             message,
			Source:              event.Source{Component: "edge-eventer", Host: r.Host},
			FirstTimestamp:      now,
			LastTimestamp:       now,
			Count:               1,
			Type:                "Warning",
			ReportingController: "edge-eventer",
			ReportingInstance:   r.Host,
		},
		Workload: r.Host,
		New:      1,
		At:       now,
		Own:      true,
	}
}
