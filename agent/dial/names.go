package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
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
	// askTimeout bounds a look-up where something else is left to do without its answer: connecting to the last good one.
	askTimeout = 5 * time.Second
	// familyTimeout is how long the answer for the other family may take after the first. Some routers drop what they do not
	// know, and the resolver asks for 10 seconds and more.
	familyTimeout = time.Second
)

// names keeps the addresses of at most 64 hosts. Its methods may be called from any goroutine.
type names struct {
	// mu guards what follows.
	mu    sync.Mutex
	hosts map[string]answer
	// way counts the calls of expireAll. What was asked before the last of them is not used.
	way uint64
}

// newNames returns names that knows no host.
func newNames() *names { return &names{hosts: make(map[string]answer)} }

// answer is what is known of a host. Its times carry the monotonic clock, so a jump of the wall clock makes none of them
// valid.
type answer struct {
	addresses []netip.Addr
	asked     time.Time
	expires   time.Time
}

// known returns the addresses of host that were found last, valid or not; none if it was never found.
func (n *names) known(host string) []netip.Addr {
	known, _ := n.get(host)
	return known.addresses
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

// expire makes the next look-up of host ask again; the answer stays as the last good one.
func (n *names) expire(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, known := n.hosts[host]; known {
		a.expires = time.Time{}
		n.hosts[host] = a
	}
}

// prefer moves an address that was connected to the front of its host's.
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

// drop forgets host altogether.
func (n *names) drop(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.hosts, host)
}

// expireAll makes the next look-up of each host ask again, also those that are under way. The answers stay as last good ones.
func (n *names) expireAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.way++
	for host, a := range n.hosts {
		a.expires = time.Time{}
		n.hosts[host] = a
	}
}

// lookup returns the addresses of host: those that are kept while they are valid, else from name servers that dial connects to, else
// the last good ones. An error wraps that of net.Resolver.
func (n *names) lookup(ctx context.Context, host string, dial Func) ([]netip.Addr, error) {
	now := time.Now()
	known, way := n.get(host)
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
	q := query{dial: dial, ttl: -1}
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
	n.put(host, answer{addresses: addresses, asked: now, expires: now.Add(valid)}, way)
	return addresses, nil
}
