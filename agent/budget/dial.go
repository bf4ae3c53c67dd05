package budget

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// attemptDelay is how long an address has to answer before the next is tried beside it (RFC 8305, section 5).
const attemptDelay = 250 * time.Millisecond

// Dialer returns a function that counts for receiver what goes over the connections of next. It looks names up itself, with
// the time to live that the name server gave, at least 30 seconds and at most an hour; while no name server answers, the
// last good answer serves for a day. The addresses of a host are tried by turns of their families, first the one that was
// connected last, then IPv4: each 250 ms after the one before, or once that failed.
// Names come from the hosts file and the servers of resolv.conf; other sources of the C library are not asked.
// A nil next is a net.Dialer without keep-alive probes.
func (b *Budget) Dialer(receiver string, next DialFunc) DialFunc {
	if next == nil {
		next = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		addresses := []netip.Addr{}
		if ip, err := netip.ParseAddr(host); err == nil {
			addresses = append(addresses, ip)
		} else if addresses, err = b.lookup(ctx, receiver, host, b.names.dial); err != nil {
			return nil, err
		}
		c, connected, err := race(ctx, next, network, addresses, port)
		if err != nil {
			// Perhaps the host has moved.
			b.names.expire(host)
			return nil, err
		}
		b.names.prefer(host, connected)
		return &conn{Conn: c, opened: time.Now(), count: func(c Count) { b.count(receiver, c) }}, nil
	}
}

// attempt is how the connection to one address ended.
type attempt struct {
	conn    net.Conn
	address netip.Addr
	err     error
}

// race returns the first connection that one of the addresses takes. It waits for none of the others.
func race(ctx context.Context, next DialFunc, network string, addresses []netip.Addr, port string) (net.Conn, netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan attempt, len(addresses))
	var failures []error
	running := 0
	for {
		var late <-chan time.Time
		if len(addresses) > 0 {
			address := addresses[0]
			addresses = addresses[1:]
			running++
			go func() {
				c, err := next(ctx, network, net.JoinHostPort(address.String(), port))
				ended <- attempt{c, address, err}
			}()
			if len(addresses) > 0 {
				late = time.After(attemptDelay)
			}
		}
		select {
		case a := <-ended:
			running--
			if a.err == nil {
				go discard(ended, running)
				return a.conn, a.address, nil
			}
			failures = append(failures, a.err)
		case <-late:
		case <-ctx.Done():
			go discard(ended, running)
			return nil, netip.Addr{}, errors.Join(append(failures, context.Cause(ctx))...)
		}
		if running == 0 && len(addresses) == 0 {
			return nil, netip.Addr{}, errors.Join(failures...)
		}
	}
}

// discard closes the connections that came too late.
func discard(ended <-chan attempt, running int) {
	for range running {
		if a := <-ended; a.err == nil {
			_ = a.conn.Close()
		}
	}
}
