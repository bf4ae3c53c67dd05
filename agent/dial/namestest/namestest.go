// Package namestest runs a name server on loopback for tests.
package namestest

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Server answers every question for an IPv4 address, with 127.0.0.1 until Answer says otherwise, and has no other address.
type Server struct {
	// TTL is the time to live of each answer in seconds.
	TTL atomic.Uint32
	// Drops is a type of question that gets no answer.
	Drops atomic.Uint32
	// Silent makes each answer a failure of the server.
	Silent atomic.Bool
	// Queries counts the questions, Bytes the bytes both ways.
	Queries atomic.Int64
	Bytes   atomic.Uint64

	conn    net.PacketConn
	address atomic.Pointer[netip.Addr]
}

// Start runs a Server until the test ends.
func Start(t testing.TB, ttl uint32) *Server {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{conn: conn}
	s.TTL.Store(ttl)
	s.Answer(netip.MustParseAddr("127.0.0.1"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return s
}

// Answer sets the address that questions are answered with.
func (s *Server) Answer(a netip.Addr) { s.address.Store(&a) }

// Dial connects to the server, whatever name server is meant.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
}

func (s *Server) serve() {
	b := make([]byte, 1500)
	for {
		size, from, err := s.conn.ReadFrom(b)
		if err != nil {
			return
		}
		s.Queries.Add(1)
		s.Bytes.Add(uint64(size))
		if out := s.answer(b[:size]); out != nil {
			s.Bytes.Add(uint64(len(out)))
			_, _ = s.conn.WriteTo(out, from)
		}
	}
}

// answer returns the answer to a packet; nil: none.
func (s *Server) answer(packet []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(packet) != nil || len(m.Questions) == 0 || uint32(m.Questions[0].Type) == s.Drops.Load() {
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	if s.Silent.Load() {
		m.RCode = dnsmessage.RCodeServerFailure
	} else if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: s.TTL.Load()},
			Body:   &dnsmessage.AResource{A: s.address.Load().As4()},
		}}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
