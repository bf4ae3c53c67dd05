package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// query is one look-up.
type query struct {
	dial Func

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

// dialServer connects to a name server.
func (q *query) dialServer(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := q.dial(ctx, network, address)
	if err != nil || !strings.HasPrefix(network, "udp") {
		return c, err
	}
	return &datagrams{Conn: c, answer: q.note}, nil
}

// datagrams is a connection over UDP that shows each answer. The resolver looks for net.PacketConn to tell UDP from TCP.
type datagrams struct {
	net.Conn
	answer func([]byte)
}

// Read shows what arrived.
func (c *datagrams) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.answer(p[:n])
	}
	return n, err
}

// ReadFrom is Read: the connection has one other side.
func (c *datagrams) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.Read(p)
	return n, c.RemoteAddr(), err
}

// WriteTo is Write, for the same reason.
func (c *datagrams) WriteTo(p []byte, _ net.Addr) (int, error) { return c.Write(p) }

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
