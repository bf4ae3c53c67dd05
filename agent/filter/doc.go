// Package filter decides which events are kept and which receiver gets them.
//
// It promises:
//
//   - Rules are compiled once and refused as a whole, with every mistake at once, each with the rule and the key it is in.
//   - An event that no rule of a Filter matches is kept; the first rule that matches decides.
//   - Matching allocates nothing, takes time linear in the length of the event's text (RE2), and may be done by any number of
//     goroutines at a time.
//   - Each rule counts the events it decided.
package filter
