package budget

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// maxHosts bounds the name cache.
	maxHosts = 64
	// maxAddresses bounds how many addresses of a host are kept and tried.
	maxAddresses = 8
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
	// familyTimeout is how long the answer for the other family may take after the first. Some routers drop what they do not
	// know, and the resolver asks for 10 seconds and more.
	familyTimeout = time.Second
)

// names is the name cache of all receivers.
type names struct {
	dial DialFunc

	// mu guards what follows.
	mu    sync.Mutex
	hosts map[string]answer
	// way counts the calls of forget. What was asked before the last of them is not used.
	way uint64
}

// answer is what is known of a host. Its times carry the monotonic clock, so a jump of the wall clock makes none of them
// valid.
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

func (n *names) get(host string) (known answer, way uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[host], n.way
}

// put keeps an answer that was asked for when the way out was way. Over another way it is only a last good one.
func (n *names) put(host string, a answer, way uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if way != n.way {
		a.expires = time.Time{}
	}
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

// prefer moves an address that was connected to the front.
func (n *names) prefer(host string, address netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, known := n.hosts[host]
	i := slices.Index(a.addresses, address)
	if !known || i <= 0 {
		return
	}
	// The slice may be in the hands of a dialer.
	a.addresses = slices.Concat([]netip.Addr{address}, a.addresses[:i], a.addresses[i+1:])
	n.hosts[host] = a
}

// Doubt makes the next connection to host ask for its addresses again. With wrong set, somebody else than the host was
// found there, such as a captive portal: the answer is not kept as the last good one either.
func (b *Budget) Doubt(host string, wrong bool) {
	if !wrong {
		b.names.expire(host)
		return
	}
	b.names.mu.Lock()
	defer b.names.mu.Unlock()
	delete(b.names.hosts, host)
}

// ForgetNames makes the next connection to each host ask for its addresses again, because the way out is another one: what
// one network's name servers said may be of no use in another. The answers stay as last good ones.
func (b *Budget) ForgetNames() {
	b.names.mu.Lock()
	defer b.names.mu.Unlock()
	b.names.way++
	for host, a := range b.names.hosts {
		a.expires = time.Time{}
		b.names.hosts[host] = a
	}
}

// Near reports whether reaches says so of an address of host. Where none is known yet, it asks for them, but only name
// servers that reaches says so of.
func (b *Budget) Near(ctx context.Context, receiver, host string, reaches func(netip.Addr) bool) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return reaches(address)
	}
	known, _ := b.names.get(host)
	addresses := known.addresses
	if len(addresses) == 0 {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		var err error
		addresses, err = b.lookup(ctx, receiver, host, func(ctx context.Context, network, address string) (net.Conn, error) {
			server, err := netip.ParseAddrPort(address)
			if err != nil || !reaches(server.Addr()) {
				return nil, syscall.ENETUNREACH
			}
			return b.names.dial(ctx, network, address)
		})
		if err != nil {
			return false
		}
	}
	return slices.ContainsFunc(addresses, reaches)
}

// lookup returns the addresses of host, from the cache while they are valid, else from name servers that dial connects to.
func (b *Budget) lookup(ctx context.Context, receiver, host string, dial DialFunc) ([]netip.Addr, error) {
	now := time.Now()
	known, way := b.names.get(host)
	if now.Before(known.expires) {
		return known.addresses, nil
	}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	usable := len(known.addresses) > 0 && now.Sub(known.asked) < lastGood
	if usable {
		asking, cancel = context.WithTimeout(ctx, askTimeout)
		defer cancel()
	}
	q := query{dial: dial, count: func(c Count) { b.count(receiver, c) }, ttl: -1}
	addresses, complete, err := q.ask(asking, host)
	if err != nil {
		dns, _ := errors.AsType[*net.DNSError](err)
		if usable && ctx.Err() == nil && (dns == nil || !dns.IsNotFound) {
			return known.addresses, nil
		}
		return nil, fmt.Errorf("look up: %w", err)
	}
	valid := q.valid()
	if !complete {
		// The other family is asked for again soon.
		valid = minTTL
	}
	b.names.put(host, answer{addresses: addresses, asked: now, expires: now.Add(valid)}, way)
	return addresses, nil
}

// query is one look-up.
type query struct {
	dial  DialFunc
	count func(Count)

	// mu guards ttl, the shortest time to live so far; negative: none was told.
	mu  sync.Mutex
	ttl time.Duration
}

// found is what one family's look-up ended with.
type found struct {
	addresses []netip.Addr
	err       error
}

// ask asks for both families at once and returns their addresses by turns, IPv4 first. complete is not set if the look-up of
// one family took too long.
func (q *query) ask(ctx context.Context, host string) (addresses []netip.Addr, complete bool, err error) {
	resolver := &net.Resolver{PreferGo: true, Dial: q.dialServer}
	families := [2]chan found{make(chan found, 1), make(chan found, 1)}
	for i, network := range []string{"ip4", "ip6"} {
		go func() {
			a, err := resolver.LookupNetIP(ctx, network, host)
			families[i] <- found{a, err}
		}()
	}
	var all [2]found
	var late <-chan time.Time
	left := 2
	for left > 0 {
		var i int
		select {
		case all[0] = <-families[0]:
		case all[1] = <-families[1]:
			i = 1
		case <-late:
			return interleave(all[0].addresses, all[1].addresses), false, nil
		}
		left--
		if all[i].err == nil && left > 0 {
			late = time.After(familyTimeout)
		}
	}
	if addresses := interleave(all[0].addresses, all[1].addresses); len(addresses) > 0 {
		return addresses, true, nil
	}
	if err := all[1].temporary(); err != nil && all[0].temporary() == nil {
		return nil, false, err
	}
	return nil, false, all[0].err
}

// temporary returns the error of a look-up that did not say that there is no such address.
func (f *found) temporary() error {
	if dns, ok := errors.AsType[*net.DNSError](f.err); ok && dns.IsNotFound {
		return nil
	}
	if _, other := errors.AsType[*net.AddrError](f.err); other {
		// The hosts file has addresses of the other family.
		return nil
	}
	return f.err
}

// interleave takes the addresses of two families by turns, at most maxAddresses.
func interleave(first, second []netip.Addr) []netip.Addr {
	var all []netip.Addr
	for i := range max(len(first), len(second)) {
		for _, family := range [][]netip.Addr{first, second} {
			if i < len(family) && len(all) < maxAddresses && !slices.Contains(all, family[i].Unmap()) {
				all = append(all, family[i].Unmap())
			}
		}
	}
	return all
}

// dialServer connects to a name server and counts.
func (q *query) dialServer(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := q.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	counted := &conn{Conn: c, opened: time.Now(), count: q.count}
	if p, ok := c.(net.PacketConn); ok {
		return &packetConn{conn: counted, PacketConn: p, answer: q.note}, nil
	}
	return counted, nil
}

// note reads the time to live of an answer. The resolver asks from goroutines of its own.
func (q *query) note(packet []byte) {
	if told, ok := timeToLive(packet); ok {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.ttl < 0 || told < q.ttl {
			q.ttl = told
		}
	}
}

// valid is how long the answer is used.
func (q *query) valid() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ttl < 0 {
		return defaultTTL
	}
	return min(max(q.ttl, minTTL), maxTTL)
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
