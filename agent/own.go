package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/watch"
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
			if err := foldOwn(tx.Queue(r.receiver), r.policy, observation); err != nil {
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
		Event: event.Event{
			ObjectMeta: event.ObjectMeta{
				Name:              fmt.Sprintf("edge-eventer.%x", now.UnixNano()),
				UID:               fmt.Sprintf("edge-eventer-%x", now.UnixNano()),
				ResourceVersion:   "0",
				CreationTimestamp: now,
			},
			InvolvedObject:      event.Reference{Kind: ownKind, Name: o.host},
			Reason:              reason,
			Message:             message,
			Source:              event.Source{Component: "edge-eventer", Host: o.host},
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

// watchSight tells an incident when events cannot be seen for kubernetes.unreachableAfter, once per absence: of the API server, or of
// single namespaces while others are seen. The first is the one alert that nothing inside a dead cluster can send.
func (a *Agent) watchSight(ctx context.Context, own *ownIncidents) error {
	if a.config.Kubernetes.UnreachableAfter == 0 {
		return nil
	}
	b := blindness{after: a.config.Kubernetes.UnreachableAfter}
	for wait(ctx, sightInterval) == nil {
		reason, message := b.look(time.Now(), a.failing())
		if reason == "" {
			continue
		}
		if err := own.tell(reason, message); err != nil {
			a.logger.Error("the receivers cannot be told that events cannot be seen", "err", err)
			continue
		}
		b.tell()
	}
	return nil
}

// failing returns each namespace that is to be watched and its failure, nil where it is seen. Before the agent has signed in, nothing
// is.
func (a *Agent) failing() map[string]*watch.Failing {
	namespaces := make(map[string]*watch.Failing)
	for _, n := range a.seen() {
		namespaces[n.Namespace] = n.Failing
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watcher == nil {
		namespaces[""] = &watch.Failing{Since: a.started, Unseen: true, Err: errors.New(a.signInError)}
	}
	return namespaces
}

// maxNamed is how many blind namespaces one message names.
const maxNamed = 8

// blindness says once of each namespace since when it cannot be seen.
type blindness struct {
	after time.Duration
	// told has since when the namespaces cannot be seen of which that was told, and told[everywhere] the same of all together.
	told map[string]time.Time
	// next becomes told once the receivers were.
	next map[string]time.Time
}

// everywhere stands for all namespaces together. None has this name.
const everywhere = "*"

// look returns what is to be told now; an empty reason stands for nothing.
func (b *blindness) look(now time.Time, namespaces map[string]*watch.Failing) (reason, message string) {
	blind := make(map[string]time.Time)
	var since time.Time
	var cause error
	for name, f := range namespaces {
		if f == nil || !f.Unseen {
			continue
		}
		blind[name] = f.Since
		if f.Since.After(since) {
			since, cause = f.Since, f.Err
		}
	}
	if len(blind) > 0 && len(blind) == len(namespaces) {
		blind[everywhere] = since
		b.next = blind
		if now.Sub(since) < b.after || b.told[everywhere].Equal(since) {
			return "", ""
		}
		return "APIServerUnreachable", fmt.Sprintf("No events can be seen since %s: %v.", since.UTC().Format(time.RFC3339), cause)
	}
	maps.DeleteFunc(blind, func(_ string, since time.Time) bool { return now.Sub(since) < b.after })
	maps.DeleteFunc(b.told, func(name string, _ time.Time) bool { _, still := blind[name]; return !still })
	b.next = blind
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(blind)) {
		if !b.told[name].Equal(blind[name]) {
			lines = append(lines, fmt.Sprintf("%s since %s: %v", name, blind[name].UTC().Format(time.RFC3339), namespaces[name].Err))
		}
	}
	if len(lines) == 0 {
		return "", ""
	}
	more := ""
	if n := len(lines) - maxNamed; n > 0 {
		lines, more = lines[:maxNamed], fmt.Sprintf("; and %d more", n)
	}
	return "NamespaceUnreachable", fmt.Sprintf("No events of these namespaces can be seen, while others are: %s%s.", strings.Join(lines, "; "), more)
}

// tell notes that what look returned was told.
func (b *blindness) tell() { b.told = b.next }
