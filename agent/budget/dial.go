package budget

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

const (
	// maxHosts bounds the name cache.
	maxHosts = 64
	// maxAddresses bounds how many addresses of a host are kept and tried.
	maxAddresses = 4
	// minTTL and maxTTL bound how long an answer is used. Load balancers give seconds; at a backoff of minutes each attempt
	// would ask again.
	minTTL = 30 * time.Second
	maxTTL = time.Hour
	// defaultTTL is used when the answer's own cannot be read (over TCP, or from the hosts file).
	defaultTTL = 60 * time.Second
	// lastGood is how long an answer is used when no name server can be asked.
	lastGood = 24 * time.Hour
	// askTimeout bounds a look-up when there is a last good answer, so that time is left to connect.
	askTimeout = 5 * time.Second
)

// Dialer returns a function that counts for receiver what goes over the connections of next. It looks names up itself, with
// the time to live that the name server gave, at least 30 seconds and at most an hour; while no name server answers, the last good answer
// serves for a day. It tries the addresses of a host one after the other, IPv4 first: a race costs bytes.
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
		} else if addresses, err = b.lookup(ctx, receiver, host); err != nil {
			return nil, err
		}
		c, err := dialEach(ctx, next, network, addresses, port)
		if err != nil {
			// Perhaps the host has moved.
			b.names.expire(host)
			return nil, err
		}
		return &conn{Conn: c, count: func(c Count) { b.count(receiver, c) }}, nil
	}
}

// dialEach tries one address after the other; each but the last gets its share of the time.
func dialEach(ctx context.Context, next DialFunc, network string, addresses []netip.Addr, port string) (net.Conn, error) {
	var failures []error
	for i, address := range addresses {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok {
			attempt, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(addresses)-i))
		}
		c, err := next(attempt, network, net.JoinHostPort(address.String(), port))
		cancel()
		if err == nil {
			return c, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// conn counts what goes over a connection.
type conn struct {
	net.Conn
	count func(Count)
}

// Read counts what arrived, also together with an error.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.count(Count{In: uint64(max(n, 0))})
	return n, err
}

// Write counts what was handed to the kernel.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.count(Count{Out: uint64(max(n, 0))})
	return n, err
}

// packetConn is a conn over UDP. The resolver looks for net.PacketConn to tell UDP from TCP.
type packetConn struct {
	conn
	net.PacketConn
	answer func([]byte)
}

func (c *packetConn) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	if n > 0 {
		c.answer(p[:n])
	}
	return n, err
}
func (c *packetConn) Write(p []byte) (int, error)        { return c.conn.Write(p) }
func (c *packetConn) Close() error                       { return c.Conn.Close() }
func (c *packetConn) LocalAddr() net.Addr                { return c.Conn.LocalAddr() }
func (c *packetConn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(t) }
func (c *packetConn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(t) }
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(t) }

// names is the name cache of all receivers.
type names struct {
	dial DialFunc

	mu    sync.Mutex
	hosts map[string]answer
}

// answer is what is known of a host. Its times carry the monotonic clock, so a jump of the wall clock makes none of them valid.
type answer struct {
	addresses []netip.Addr
	asked     time.Time
	expires   time.Time
}

func newNames(dial DialFunc) *names {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return &names{dial: dial, hosts: make(map[string]answer)}
}

func (n *names) get(host string) answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[host]
}

func (n *names) put(host string, a answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.hosts[host]; !known && len(n.hosts) >= maxHosts {
		oldest := ""
		for h, other := range n.hosts {
			if oldest == "" || other.asked.Before(n.hosts[oldest].asked) {
				oldest = h
			}
		}
		delete(n.hosts, oldest)
	}
	n.hosts[host] = a
}

// expire makes the next look-up ask again; the answer stays as the last good one.
func (n *names) expire(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, known := n.hosts[host]; known {
		a.expires = time.Time{}
		n.hosts[host] = a
	}
}

// lookup returns the addresses of host, from the cache while they are valid.
func (b *Budget) lookup(ctx context.Context, receiver, host string) ([]netip.Addr, error) {
	now := time.Now()
	known := b.names.get(host)
	if now.Before(known.expires) {
		return known.addresses, nil
	}
	// The resolver asks for both families at once, from goroutines of its own.
	var mu sync.Mutex
	ttl := time.Duration(-1)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := b.names.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		counted := conn{Conn: c, count: func(c Count) { b.count(receiver, c) }}
		if p, ok := c.(net.PacketConn); ok {
			return &packetConn{conn: counted, PacketConn: p, answer: func(packet []byte) {
				if told, ok := timeToLive(packet); ok {
					mu.Lock()
					defer mu.Unlock()
					if ttl < 0 || told < ttl {
						ttl = told
					}
				}
			}}, nil
		}
		return &counted, nil
	}}
	asking, cancel := ctx, context.CancelFunc(func() {})
	usable := len(known.addresses) > 0 && now.Sub(known.asked) < lastGood
	if usable {
		asking, cancel = context.WithTimeout(ctx, askTimeout)
	}
	addresses, err := resolver.LookupNetIP(asking, "ip", host)
	cancel()
	if err != nil {
		dns, _ := errors.AsType[*net.DNSError](err)
		if usable && ctx.Err() == nil && (dns == nil || !dns.IsNotFound) {
			return known.addresses, nil
		}
		return nil, fmt.Errorf("look up: %w", err)
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	slices.SortStableFunc(addresses, func(x, y netip.Addr) int { return cmp.Compare(x.BitLen(), y.BitLen()) })
	addresses = slices.Compact(addresses)
	addresses = slices.Clone(addresses[:min(len(addresses), maxAddresses)])
	mu.Lock()
	valid := defaultTTL
	if ttl >= 0 {
		valid = min(max(ttl, minTTL), maxTTL)
	}
	mu.Unlock()
	b.names.put(host, answer{addresses: addresses, asked: now, expires: now.Add(valid)})
	return addresses, nil
}

// timeToLive returns the shortest time to live of an answer's records; ok is false without any.
func timeToLive(packet []byte) (ttl time.Duration, ok bool) {
	var p dnsmessage.Parser
	header, err := p.Start(packet)
	if err != nil || !header.Response || header.RCode != dnsmessage.RCodeSuccess || p.SkipAllQuestions() != nil {
		return 0, false
	}
	for {
		h, err := p.AnswerHeader()
		if err != nil || p.SkipAnswer() != nil {
			return ttl, ok
		}
		if d := time.Duration(h.TTL) * time.Second; !ok || d < ttl {
			ttl, ok = d, true
		}
	}
}
