// Package budget counts the bytes that go over the link and says when to save.
//
// It promises:
//
//   - Every byte that is read from or written to a socket made by Dialer is counted, both ways, TLS handshakes and failed attempts
//     included, for its receiver and in all, by local day and month. Name look-ups for these sockets are counted too.
//   - The counters survive a restart up to what Save returned last, and no jump of the clock, in either direction, empties
//     the counters of a day or month twice.
//   - Each budget gives one notice at 80 % and one at 100 % a period, also over restarts.
//   - The stored state is at most 4 KiB, for at most 32 receivers; the name cache holds at most 64 hosts.
//
// Numbers are exact bytes, never rounded. 80 % means used*5 >= limit*4. A limit is looked at before a message, not within one, so
// what is used may exceed it by the messages under way and by those of severity critical.
//
// What a process cannot see is not counted: the headers of TCP and IP (40 to 52 bytes a segment over IPv4, 60 to 72 over IPv6,
// and 28 or 48 for a DNS packet), the segments of TCP that carry nothing (SYN, ACK, FIN), retransmissions, what the kernel,
// the modem and other programs send, and look-ups that another program makes for us, such as the encrypted DNS of a local resolver.
// One alert on a new connection takes 14 to 20 segments both ways, so a provider counts 0.6 to 1.2 KB more for it;
// a budget of four fifths of the contract's volume leaves room for that.
package budget
