// Package control lets the owner of the spool ask a running agent how it stands, and inspect and repair its queues, over a
// unix socket beside the spool. It promises:
//
//   - Only the user who runs the agent, and root, can connect: the socket has mode 0600 from the moment it has its name.
//   - Nothing here waits for the network, so it answers while the link is away and while a receiver hangs.
//   - An answer is bounded: at most 256 records or 256 KiB of them go into one page, whatever the queue holds.
//   - Dropping is counted: what an operator drops untold becomes a loss with the cause "dropped".
//   - The same [SpoolQueues] works on the spool directly when no agent runs, so a broken agent can still be emptied.
package control
