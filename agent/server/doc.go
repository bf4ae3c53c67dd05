// Package server serves HTTP to clients that nobody vouches for: any pod of the cluster, any web page that a browser on the host shows.
// It promises:
//
//   - At most MaxConns connections are served at once, each with a time limit for every phase and 4 KiB of header; all others wait in
//     the kernel's queue. What thousands of clients cost the process is what MaxConns cost.
//   - Nobody holds a place against the others: when all places are taken and somebody else comes, a connection that has sent no whole
//     request, or does not take its answer, is closed: the oldest of the address that has most of them. So a probe is answered during a flood.
//   - A document that costs something to make is made at most once a second (Shared), however many ask.
//   - A request whose Host is not one of the machine's own names is told apart (Gate): a web page reaches a port of the loopback by
//     making its own name point there (DNS rebinding), and then says that name.
package server
