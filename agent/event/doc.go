// Package event has the words in which everything else speaks of a Kubernetes event: the event itself, the object that it is about,
// the workload that this object belongs to, and how two versions of an event are ordered.
//
// It imports the standard library only, so that receivers can speak of events without knowing Kubernetes or the agent: it is the one
// package below agent that package notify may import.
package event
