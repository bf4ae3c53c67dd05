// Package memory keeps the process small: it sets the garbage collector by the memory cgroup that the process runs in, and gives
// pages of files that are mapped, which are the larger part of its resident memory, back to the page cache when they become many.
//
// It promises:
//
//   - GOGC, GOMEMLIMIT and GOMAXPROCS win where they are set.
//   - A limit is found in cgroup v1 and v2, on the host and in a container, also if it is set on a cgroup above; what cannot be
//     read counts as no limit.
//   - Only pages that the file still holds are given back. A mapping with pages of its own, as those of a relocated binary are,
//     is left alone.
//   - At rest it does nothing: its work is tied to the garbage collector's cycles, not to a clock.
//
// DESIGN.md of the agent has the figures, in the section "Memory".
package memory
