// Package agent takes Warning events from a cluster to its receivers, over a link that comes and goes.
//
//	API server ─► watch ─► filter ─► fold ─► [ spool on disk ] ─► deliver ─► render ─► post ─► receiver
//
// It promises, in the order in which it wins when two parts conflict: nothing is lost silently; memory stays under 32 MiB;
// every byte on the link is paid for; the SD card lives.
//
//   - agent/watch lists and watches events; it alone knows Kubernetes.
//   - agent/filter decides which events matter, to whom.
//   - agent/incident folds events into incidents and says when each is due.
//   - intake.go commits them: record, ledger entry and watch position in one transaction of the spool.
//   - deliver.go drains one receiver's queue: peek, wait, send, and only after the receiver's own yes, acknowledge.
//   - own.go tells the agent's own troubles as incidents in the same stream.
//   - status.go reads how all of it stands; metrics.go, report.go, glance.go and serve.go show that.
//   - agent.go wires these in that order; when the agent stops, all end at once, and the spool is closed last.
package agent
