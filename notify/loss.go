package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// MaxLosses is how many losses of a message a receiver tells at most. The spool knows fewer causes of loss.
const MaxLosses = 10

// LossID names a loss of a receiver: the same for a repeat, another one once more was lost.
func LossID(cluster, receiver string, l *Loss) string {
	h := sha256.New()
	for _, part := range []string{cluster, receiver, l.Cause} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	_, _ = fmt.Fprintf(h, "%d %d %d", l.Incidents, l.Events, l.Since.UnixMilli())
	return "loss-" + hex.EncodeToString(h.Sum(nil)[:16])
}

// LossText says in English what was lost, for the records of machines that people read now and then.
func LossText(l *Loss) string {
	cause := untrusted.Line(l.Cause, 64)
	if l.Events == 0 {
		return "events were lost, and nobody knows how many: " + cause
	}
	return fmt.Sprintf("%d events of %d incidents were lost: %s", l.Events, l.Incidents, cause)
}

// LossIncident stands for the losses of a message where only events can be told.
func (c *Common) LossIncident(m *Message) Incident {
	return Incident{
		Event: event.Event{
			InvolvedObject:      event.Reference{Kind: "EdgeEventer", Name: c.Cluster},
			Reason:              "EventsLost",
			Source:              event.Source{Component: "edge-eventer"},
			Type:                "Warning",
			Count:               1,
			FirstTimestamp:      m.Now,
			LastTimestamp:       m.Now,
			ReportingController: "edge-eventer",
		},
		ID:          "losses-" + BatchID(nil, m.Losses),
		Cluster:     c.Cluster,
		Workload:    c.Cluster,
		Severity:    Warning,
		Occurrences: 1,
		Untold:      1,
		FirstSeen:   m.Now,
		LastSeen:    m.Now,
		Own:         true,
	}
}

// BatchID is the same for the same incidents and losses, in the same order.
func BatchID(incidents []Incident, losses []Loss) string {
	h := sha256.New()
	for i := range incidents {
		_, _ = fmt.Fprintf(h, "%d:%s\n", len(incidents[i].ID), incidents[i].ID)
	}
	for _, l := range losses {
		_, _ = fmt.Fprintf(h, "loss %s %d %d %d\n", l.Cause, l.Incidents, l.Events, l.Since.UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
