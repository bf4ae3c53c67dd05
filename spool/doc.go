// Package spool is to an agent what a write-ahead log is to a database: the place where things are when the power goes.
// It keeps one queue of records per receiver, the ledger of what was taken, watch positions, counters, losses and dead
// letters in one bbolt file, and changes any of them together in one transaction. Bodies are opaque: the package knows
// nothing of Kubernetes, of receivers' protocols, or of what an incident is.
//
// It guarantees:
//
//   - When [Spool.Update] returns nil, all that its function did is on the disk, and is there after kill -9 and after a
//     power cut. When it returns an error, nothing of it is there.
//   - A record leaves its queue only by Delete, Bury, eviction or expiry. What was deleted stays deleted.
//   - A record that is replaced keeps its place in line, its sequence number and the time of its arrival, while its oldest untold
//     occurrence is the same. Its age is that of this occurrence, by a clock that nobody can set.
//   - The queue of one receiver neither delays, reorders nor removes records of another, except by eviction, which takes
//     first what nobody waits for, in all queues, and then the oldest record of all queues.
//   - The file never exceeds Options.MaxBytes. What has to go is counted as a loss in the same transaction, and each
//     loss is told once.
//   - Memory does not grow with the number of records.
//   - A second [Open] of the same file fails at once with [ErrLocked].
//   - Damage never keeps [Open] from succeeding: what can be read goes into a new file, the damaged one is set aside, and
//     [Spool.NextRescue] says what was found. Damage that shows only later is an error, not a crash, and is rescued by the
//     next call, which is said in the same way.
//   - Neither a rescue nor a compaction changes whose the file is, its mode, or a link that leads to it, and [Look] changes nothing.
//   - A full or read-only disk, or one that the process may not write, is an error that says so, changes nothing, and ends when its cause ends.
//   - A file written on arm, arm64 or amd64 opens on the others, whatever the page size of either kernel. All of them are
//     little-endian, which is what bbolt's page headers are written in.
//
// DESIGN.md describes the format of version 1, what a commit costs on a memory card, and why it is so.
package spool
