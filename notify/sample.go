package notify

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
)

// Sample returns a message with one incident that looks like a real one and says that it is a test. Every field of the
// event is set.
func Sample(cluster string, now time.Time) *Message {
	first := now.Add(-90 * time.Second)
	return &Message{
		Now: now,
		Incidents: []Incident{{
			Event: event.Event{
				ObjectMeta: event.ObjectMeta{
					Name:              "edge-eventer-test.18e9f709ff90f259",
					Namespace:         "default",
					UID:               "ff27b979-a23d-4cda-b30f-b7a11415d493",
					ResourceVersion:   "4562",
					CreationTimestamp: first,
				},
				InvolvedObject: event.Reference{
					Kind: "Pod", Namespace: "default", Name: "edge-eventer-test-7d9f8c6b5d-x2x4z", UID: "1d3a3fb0-d682-469a-b871-08ff3aa72d01",
					APIVersion: "v1", ResourceVersion: "4428", FieldPath: "spec.containers{test}",
				},
				Reason:              "BackOff",
				Message:             "This is a test of edge-eventer, not an alert: back-off restarting failed container test.",
				Source:              event.Source{Component: "edge-eventer", Host: "edge-eventer"},
				FirstTimestamp:      first,
				LastTimestamp:       now,
				Count:               2,
				Type:                "Warning",
				EventTime:           first,
				Series:              &event.Series{Count: 2, LastObservedTime: now},
				Action:              "Test",
				Related:             &event.Reference{Kind: "Node", Name: "edge-eventer", APIVersion: "v1"},
				ReportingController: "edge-eventer",
				ReportingInstance:   "edge-eventer",
			},
			// The time makes every test another one for receivers that drop repeats.
			ID:          "test-" + now.UTC().Format("20060102T150405.000"),
			Cluster:     cluster,
			Workload:    "edge-eventer-test",
			Severity:    Warning,
			Occurrences: 2,
			Untold:      2,
			FirstSeen:   first,
			LastSeen:    now,
			Objects:     []string{"edge-eventer-test-7d9f8c6b5d-x2x4z"},
			ObjectCount: 1,
		}},
	}
}

// SparseSample is the sample without all that an event need not have.
func SparseSample(cluster string, now time.Time) *Message {
	m := Sample(cluster, now)
	e := &m.Incidents[0].Event
	e.Series, e.Related = nil, nil
	e.FirstTimestamp, e.LastTimestamp, e.EventTime = time.Time{}, time.Time{}, time.Time{}
	e.Source, e.Action, e.Count = event.Source{}, "", 0
	return m
}
