package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
)

// Func opens a connection, as net.Dialer.DialContext does.
type Func = func(ctx context.Context, network, address string) (net.Conn, error)

// attemptDelay is how long an address has to answer before the next is tried beside it (RFC 8305, section 5).
const attemptDelay = 250 * time.Millisecond

// Dialer opens the connections of all receivers. Its methods may be called from any goroutine.
type Dialer struct {
	budget *budget.Budget
	names  *names
	// servers opens the connections to name servers.
	servers Func
}

// New returns a Dialer that counts in b. The connections to name servers are opened by servers; nil is a net.Dialer.
func New(b *budget.Budget, servers Func) *Dialer {
	if servers == nil {
		servers = (&net.Dialer{}).DialContext
	}
	return &Dialer{budget: b, names: newNames(), servers: servers}
}

// For returns a function that counts for receiver what goes over the connections of next. It looks names up itself.
// The addresses of a host are tried by turns of their families, first the one that was connected last, then IPv4: each 250 ms after
// the one before, or once that failed. A nil next is a net.Dialer without keep-alive probes.
func (d *Dialer) For(receiver string, next Func) Func {
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
		} else if addresses, err = d.names.lookup(ctx, host, d.counted(receiver, d.servers)); err != nil {
			return nil, err
		}
		c, connected, err := race(ctx, next, network, addresses, port)
		if err != nil {
			// Perhaps the host has moved.
			d.names.expire(host)
			return nil, err
		}
		d.names.prefer(host, connected)
		return d.count(receiver, c), nil
	}
}

// count returns c with its bytes counted for receiver.
func (d *Dialer) count(receiver string, c net.Conn) net.Conn {
	return &conn{Conn: c, opened: time.Now(), count: func(n budget.Count) { d.budget.Add(receiver, n) }}
}

// counted returns next with the bytes of its connections counted for receiver.
func (d *Dialer) counted(receiver string, next Func) Func {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := next(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return d.count(receiver, c), nil
	}
}

// Doubt makes the next connection to host ask for its addresses again. With wrong set, somebody else than the host was
// found there, such as a captive portal: the answer is not kept as the last good one either.
func (d *Dialer) Doubt(host string, wrong bool) {
	if wrong {
		d.names.drop(host)
	} else {
		d.names.expire(host)
	}
}

// ForgetNames makes the next connection to each host ask for its addresses again, because the way out is another one: what
// one network's name servers said may be of no use in another. The answers stay as last good ones.
func (d *Dialer) ForgetNames() { d.names.expireAll() }

// Near reports whether reaches says so of an address of host. Where none is known yet, it asks for them for at most 5 seconds, but
// only name servers that reaches says so of; receiver pays for that.
func (d *Dialer) Near(ctx context.Context, receiver, host string, reaches func(netip.Addr) bool) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return reaches(address)
	}
	addresses := d.names.known(host)
	if len(addresses) == 0 {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		near := func(ctx context.Context, network, address string) (net.Conn, error) {
			server, err := netip.ParseAddrPort(address)
			if err != nil || !reaches(server.Addr()) {
				return nil, syscall.ENETUNREACH
			}
			return d.servers(ctx, network, address)
		}
		var err error
		if addresses, err = d.names.lookup(ctx, host, d.counted(receiver, near)); err != nil {
			return false
		}
	}
	return slices.ContainsFunc(addresses, reaches)
}

// attempt is how the connection to one address ended.
type attempt struct {
	conn    net.Conn
	address netip.Addr
	err     error
}

// race returns the first connection that one of the addresses takes. It waits for none of the others.
func race(ctx context.Context, next Func, network string, addresses []netip.Addr, port string) (net.Conn, netip.Addr, error) {
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
