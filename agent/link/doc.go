// Package link knows whether this machine has a way out, from what the kernel tells, so that nothing is tried while there is none
// and everything is tried at once when it is back.
//
// It promises:
//
//   - Nothing polls: a netlink socket wakes it, and the kernel's tables are read again only then, at most five times a second.
//   - Down is said only when it is sure: a default route was there and is gone, or every named interface is away. In every other
//     doubt the state is Unknown, which means: do without, attempts follow the backoff.
//   - Where the links of the host cannot be seen (a pod without host network, a system other than Linux, a sandbox that forbids
//     netlink) the state is Unknown for good, and one line of the log says why.
//   - Its memory is bounded: 1,024 interfaces and 64 default routes are kept, whatever the host has.
package link
