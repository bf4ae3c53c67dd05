package notify

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// Severity says how bad an incident is.
type Severity string

// The two severities of an incident.
const (
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Incident is what a person calls one problem: the events with the same namespace, workload, kind and reason, folded.
// For a receiver with fold: event it is one event and its updates.
type Incident struct {
	// Event is the latest event of the incident: its message is the sample that is shown.
	event.Event

	// ID is stable over retries of the same content and differs between contents: a receiver that keeps it can tell a
	// repeated delivery from news.
	ID string
	// Cluster is the configured name of the cluster.
	Cluster string
	// Workload is the involved object's name without generated suffixes.
	Workload string
	Severity Severity
	// Occurrences counts the observations since the incident began, at least 1.
	Occurrences int
	// Untold counts the observations since the incident was last told to this receiver: Occurrences, if never.
	Untold int
	// FirstSeen and LastSeen are the times of the first and the latest observation.
	FirstSeen, LastSeen time.Time
	// Objects names the affected objects, newest first, at most 8.
	Objects []string
	// ObjectCount is how many different objects are known to be affected; it stops at 64.
	ObjectCount int
	// Own marks an incident of the agent itself, such as a damaged spool.
	Own bool
	// Notice marks what the agent tells of itself when all is well: the daily statistics, the heartbeat. People see no severity of it.
	Notice bool
}

// Loss is something that was lost on the way to one receiver and has not been told to it yet.
type Loss struct {
	// Cause is one of the spool's causes: evicted, expired, refused, damaged, unseen, undecodable.
	Cause string
	// Incidents and Events say how much was lost; both are 0 where it cannot be known.
	Incidents, Events uint64
	// Since is when the first of it was lost.
	Since time.Time
}

// Message is what one request tells a receiver.
type Message struct {
	// Now is the time of the attempt: delays are counted from it. A signature carries the time of its sending.
	Now time.Time
	// Incidents come worst and newest first. A renderer may take fewer than all of them, but at least the first.
	Incidents []Incident
	// Losses are told above the incidents. A message may have losses only.
	Losses []Loss
	// Digest is set when the message sums up a backlog; its incidents are then told in brief.
	Digest *Digest
	// Resolved are incidents that were told before and are over. Receivers that people read name them in one line.
	Resolved []Incident
}

// Digest sums up a backlog in a few messages. Each names as many of the message's incidents as fit.
type Digest struct {
	// Incidents and Events are all that the digest sums up, in all its messages.
	Incidents int
	Events    uint64
	// Since is when the oldest of them was first observed.
	Since time.Time
	// AwaySince is when the receiver could no longer be reached; zero: it could.
	AwaySince time.Time
	// Pause is how long what is not critical waits for the next message, because more goes wrong than can be told; zero: it does not.
	Pause time.Duration
	// Part numbers the messages of the digest from 1.
	Part int
	// Last is set for the last message. What it has no room for is counted in it.
	Last bool
	// MoreIncidents and MoreEvents are beyond those of the message. They are told in the message that names the last
	// of its incidents, and in the last message.
	MoreIncidents int
	MoreEvents    uint64
}

// LossesIn returns part where there is a loss to tell, and LossesNowhere where there is none.
func (m *Message) LossesIn(part LossPart) LossPart {
	if len(m.Losses) == 0 {
		return LossesNowhere
	}
	return part
}

// Unnamed returns how many incidents, with how many events, a message must count that names only the first n of its
// incidents; 0 while another message of the digest follows.
func (m *Message) Unnamed(n int) (incidents int, events uint64) {
	d := m.Digest
	if d == nil || !d.Last && n < len(m.Incidents) {
		return 0, 0
	}
	incidents, events = d.MoreIncidents, d.MoreEvents
	for i := range m.Incidents[n:] {
		incidents++
		events += uint64(m.Incidents[n+i].Untold)
	}
	return incidents, events
}

// Form is how a message is dressed.
type Form int

const (
	// Full is the receiver's richest form: a card, markdown.
	Full Form = iota
	// Simple is plain text with everything optional left out. It is tried once when the full form was refused.
	Simple
)
