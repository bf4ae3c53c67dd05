// Package inhibit says which incidents are a consequence of another one that is open, and so are held back: the pods of a node that is not
// ready, the pulls of an image from a registry that does not answer.
//
// A rule has a source and a target. An incident that matches the target is held while a source is open whose values of the rule's equal labels
// are the same; labels that both lack are equal. An incident that matches both sides is not held by another one that does, unless the
// rule folds: then the first of a group is the source, and the others are held. A source is open until it was quiet for
// resolveAfter, or until it is said to be over.
//
// The package is pure: it reads no clock and touches no disk. It keeps at most 256 open sources in memory; what is lost by a restart is
// built again by observing what the queues hold.
//
// Source: prometheus/alertmanager 0.25.0, inhibit/inhibit.go; for the built-in rules, the events of Kubernetes 1.36 (DESIGN.md).
package inhibit
