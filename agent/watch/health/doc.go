// Package health says how the watch of each namespace stands: what it is doing, up to when it has seen everything, and which streak of
// failures it is in.
//
// A failure is logged when a streak begins or becomes another one, in a sentence for the operator, and not at each try; so is its end.
package health
