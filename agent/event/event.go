package event

import (
	"slices"
	"time"
)

// Event is a Kubernetes core/v1 Event as its receivers see it. The fields have the Go names of k8s.io/api/core/v1, so
// that a template written for kubernetes-event-exporter or kube-eventer finds what it names; this package knows
// nothing else of Kubernetes. A time that the API server did not set is the zero time.
type Event struct {
	ObjectMeta

	InvolvedObject      Reference
	Reason              string
	Message             string
	Source              Source
	FirstTimestamp      time.Time
	LastTimestamp       time.Time
	Count               int32
	Type                string
	EventTime           time.Time
	Series              *Series
	Action              string
	Related             *Reference
	ReportingController string
	ReportingInstance   string
}

// ObjectMeta is the part of an object's metadata that an alert can use.
type ObjectMeta struct {
	Name              string
	Namespace         string
	UID               string
	ResourceVersion   string
	CreationTimestamp time.Time
}

// Reference names the object that an event is about.
type Reference struct {
	Kind            string
	Namespace       string
	Name            string
	UID             string
	APIVersion      string
	ResourceVersion string
	FieldPath       string
}

// Source says who reported an event through core/v1.
type Source struct {
	Component string
	Host      string
}

// Series is how an event that was written through events.k8s.io/v1 tells its repeats.
type Series struct {
	Count            int32
	LastObservedTime time.Time
}

// LastSeen returns when the event was last observed: the first of series.lastObservedTime, lastTimestamp, eventTime,
// firstTimestamp and creationTimestamp that is set. The scheduler sets only eventTime, so lastTimestamp alone
// would date its events to year 1.
func (e *Event) LastSeen() time.Time {
	var observed time.Time
	if e.Series != nil {
		observed = e.Series.LastObservedTime
	}
	return firstSet(observed, e.LastTimestamp, e.EventTime, e.FirstTimestamp, e.CreationTimestamp)
}

// FirstSeen returns when the event was first observed: the first of firstTimestamp, eventTime, creationTimestamp and
// lastTimestamp that is set.
func (e *Event) FirstSeen() time.Time {
	return firstSet(e.FirstTimestamp, e.EventTime, e.CreationTimestamp, e.LastTimestamp)
}

// Observed returns how often the event was observed, at least 1: series.count if there is a series, else count.
// Reporters throttle their writes, so it may jump by more than 1 between two versions of the event.
func (e *Event) Observed() int {
	switch {
	case e.Series != nil && e.Series.Count > 0:
		return int(e.Series.Count)
	case e.Count > 0:
		return int(e.Count)
	}
	return 1
}

// Reporter returns the component that reported the event: source.component, else reportingController.
func (e *Event) Reporter() string {
	if e.Source.Component != "" {
		return e.Source.Component
	}
	return e.ReportingController
}

// Host returns the node that reported the event: source.host, else reportingInstance.
func (e *Event) Host() string {
	if e.Source.Host != "" {
		return e.Source.Host
	}
	return e.ReportingInstance
}

// BoundTime returns t within the years 1 to 9999 in every time zone: encoding/json refuses others, and fmt and templates then
// panic or fail. Anybody who may create events may write any time. What is earlier becomes the zero time, which stands for not
// set, what is later the 30th of December 9999.
func BoundTime(t time.Time) time.Time {
	// A day and a half before the year 10000: in no zone is it later than year 9999.
	latest := time.Date(9999, time.December, 30, 12, 0, 0, 0, time.UTC)
	switch {
	case t.UTC().Year() < 1:
		return time.Time{}
	case t.After(latest):
		return latest
	}
	return t
}

func firstSet(times ...time.Time) time.Time {
	if i := slices.IndexFunc(times, func(t time.Time) bool { return !t.IsZero() }); i >= 0 {
		return times[i]
	}
	return time.Time{}
}
