// Package agent takes Warning events from a cluster to its receivers, over a link that comes and goes.
//
//	API server ─► watch ─► filter ─► ledger ─► incident ─► [ spool ] ─► inbox ─► deliver ─► notify ─► receiver
//
// It promises, in the order in which it wins when two parts conflict: nothing is lost silently; memory stays under 32 MiB;
// every byte on the link is paid for; the SD card lives. It holds wiring only: [New] wires in the order in which the parts depend on one
// another, [Agent.Run] starts them and stops them in reverse.
//
// # The way of an event
//
// Read in this order, each function calls the next, or leaves on disk what the next one finds:
//
//  1. [github.com/edge-eventer/edge-eventer/agent/watch.Watcher.Run] lists, then watches, and shows what came to its sink.
//  2. [github.com/edge-eventer/edge-eventer/agent/intake.Intake.Watched] takes one change of a watch.
//  3. [github.com/edge-eventer/edge-eventer/agent/intake.Intake.List] takes one page of a list.
//  4. [github.com/edge-eventer/edge-eventer/agent/intake.Intake.Run] gathers changes until a batch is to be committed.
//  5. [github.com/edge-eventer/edge-eventer/agent/ledger.Transaction.Take] says what of an event is new.
//  6. [github.com/edge-eventer/edge-eventer/agent/filter.Filter.Keep] says whether anybody wants it.
//  7. [github.com/edge-eventer/edge-eventer/agent/filter.Matcher.Match] says who.
//  8. [github.com/edge-eventer/edge-eventer/agent/inbox.Fold] folds it into the receiver's queue.
//  9. [github.com/edge-eventer/edge-eventer/agent/incident.Policy.Fold] says when the incident is due.
//  10. [github.com/edge-eventer/edge-eventer/spool.Spool.Update] makes all of that durable, with the position of the watch.
//  11. [github.com/edge-eventer/edge-eventer/agent/deliver.Delivery.Run] wakes when something is due and may leave.
//  12. [github.com/edge-eventer/edge-eventer/agent/inbox.Reading.Due] peeks at what the next message tells.
//  13. [github.com/edge-eventer/edge-eventer/notify.Receiver.Render] writes the message as the receiver wants it.
//  14. [github.com/edge-eventer/edge-eventer/notify.Receiver.Send] posts it, and judges the answer.
//  15. [github.com/edge-eventer/edge-eventer/agent/inbox.Inbox.Acknowledge] takes out of the queue what the receiver confirmed.
//
// Beside that way: agent/selfreport folds in what the agent has to say of itself, agent/status is the one document of how all of it
// stands, and agent/server, agent/page and agent/control show it.
package agent
