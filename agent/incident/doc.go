// Package incident folds events into incidents: what a person calls one problem.
//
// It promises that no observation is forgotten by folding: an incident's untold count is the sum of what was observed
// since the receiver last confirmed it, whatever the order of events, tellings and clock jumps. The package is pure: it
// reads no clock and touches no disk. When an incident is told is a function of the policy and of the times passed in.
package incident
