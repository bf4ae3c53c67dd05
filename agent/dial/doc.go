// Package dial opens the connections of receivers: it counts each byte that goes over them, keeps the addresses of their hosts, and
// tries these by turns.
//
// It promises:
//
//   - Every byte that is read from or written to a socket made by a Dialer is counted in its Budget, both ways, TLS handshakes and
//     failed attempts included, for its receiver and in all. Name look-ups for these sockets are counted too.
//   - A name is asked for when its answer has expired, the way out is another one, or nothing answered at its addresses. An answer is
//     used for the time to live that the name server gave, at least 30 seconds and at most an hour; while no name server answers, the
//     last good one serves for 24 hours. At most 64 hosts with 8 addresses each are kept.
//   - An address that does not answer holds up the next for 250 ms.
//   - A connection that died during a pause is found within seconds of what is sent next (Linux).
//
// Names come from the hosts file and the servers of resolv.conf; other sources of the C library (mDNS, NIS) are not asked.
//
// What a process cannot see is not counted: the headers of TCP and IP (40 to 52 bytes a segment over IPv4, 60 to 72 over IPv6,
// and 28 or 48 for a DNS packet), the segments of TCP that carry nothing (SYN, ACK, FIN), retransmissions, what the kernel,
// the modem and other programs send, and look-ups that another program makes for us, such as the encrypted DNS of a local resolver.
// One alert on a new connection takes 14 to 20 segments both ways, so a provider counts 0.6 to 1.2 KB more for it;
// a budget of four fifths of the contract's volume leaves room for that.
package dial
