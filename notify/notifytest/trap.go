package notifytest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Trap is a far end that goes wrong in one phase of an exchange and stays there until its connection is closed: whatever it
// does, an attempt must end at its time-out.
type Trap struct {
	// Name says in which phase.
	Name string
	// TLS says that the far end is asked by https. Handshake says that it completes the handshake first.
	TLS, Handshake bool
	// Proxy says that the far end is a proxy on the way to an https URL.
	Proxy bool
	serve func(net.Conn)
}

// trickle is the pause between two bytes of a far end that is slow on purpose: no gap is long enough to be taken for silence.
const trickle = 100 * time.Millisecond

// Traps are the phases of an exchange: accept, TLS, status line, 1xx, 101, header, body, trailer, and another protocol.
func Traps() []Trap {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	chunked := ok + "Transfer-Encoding: chunked\r\n\r\n"
	// What a server of HTTP/2 says first: an empty SETTINGS frame, then pings.
	settings, ping := "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00\x08\x06\x00\x00\x00\x00\x00pingpong"
	return []Trap{
		{Name: "accept", serve: silence},
		{Name: "read nothing", serve: deaf},
		{Name: "TLS silence", TLS: true, serve: silence},
		{Name: "TLS bytes", TLS: true, serve: slowly("\x16\x03\x03\x40\x00\x02", "\x00")},
		{Name: "TLS flood", TLS: true, serve: flood("", "\x16\x03\x03\x00\x04\x00\x00\x00\x00")},
		{Name: "after TLS", TLS: true, Handshake: true, serve: silence},
		{Name: "status line silence", serve: answer("HTTP/1.1 2", silence)},
		{Name: "status line bytes", serve: answer("", slowly("HTTP/1.1 200 ", "x"))},
		{Name: "status line flood", serve: answer("", flood("HTTP/1.1 200 ", "x"))},
		{Name: "1xx bytes", serve: answer("", slowly("", "HTTP/1.1 100 Continue\r\n\r\n"))},
		{Name: "1xx flood", serve: answer("", flood("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"))},
		{Name: "101 silence", serve: answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", silence)},
		{Name: "101 bare", serve: answer("HTTP/1.1 101 Switching Protocols\r\n\r\n", silence)},
		{Name: "101 flood", serve: answer("", flood("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", settings))},
		{Name: "101 bytes", serve: answer("", slowly("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", ping))},
		{Name: "101 after TLS", TLS: true, Handshake: true, serve: answer("HTTP/1.1 101 Switching Protocols\r\n\r\n", silence)},
		{Name: "header silence", serve: answer("HTTP/1.1 200 OK\r\nX-A", silence)},
		{Name: "header bytes", serve: answer("", slowly("HTTP/1.1 200 OK\r\nX-A: ", "a"))},
		{Name: "header flood", serve: answer("", flood("HTTP/1.1 200 OK\r\n", "X-A: aaaaaaaaaaaaaaaa\r\n"))},
		{Name: "body silence", serve: answer(ok+"Content-Length: 100\r\n\r\n{", silence)},
		{Name: "body bytes", serve: answer("", slowly(ok+"Content-Length: 100000\r\n\r\n{", " "))},
		{Name: "body flood", serve: answer("", flood(ok+"\r\n{", " "))},
		{Name: "chunk size bytes", serve: answer("", slowly(chunked, "0"))},
		{Name: "chunk extension flood", serve: answer("", flood(chunked+"1;", "a=b;"))},
		{Name: "error body flood", serve: answer("", flood("HTTP/1.1 400 Bad Request\r\n\r\n", "no "))},
		{Name: "trailer silence", serve: answer(chunked+"2\r\n{}\r\n0\r\nX-A", silence)},
		{Name: "trailer bytes", serve: answer("", slowly(chunked+"2\r\n{}\r\n0\r\nX-A: ", "a"))},
		{Name: "trailer flood", serve: answer("", flood(chunked+"2\r\n{}\r\n0\r\n", "X-A: aaaaaaaaaaaaaaaa\r\n"))},
		{Name: "HTTP/2 silence", TLS: true, Handshake: true, serve: answer(settings, silence)},
		{Name: "HTTP/2 pings", TLS: true, Handshake: true, serve: answer("", flood(settings, ping))},
		{Name: "HTTP/2 in the clear", serve: answer("", slowly(settings, ping))},
		{Name: "proxy silence", Proxy: true, serve: answer("", silence)},
		{Name: "proxy bytes", Proxy: true, serve: answer("", slowly("HTTP/1.1 200 ", "x"))},
		{Name: "proxy 1xx", Proxy: true, serve: answer("", slowly("", "HTTP/1.1 100 Continue\r\n\r\n"))},
		{Name: "proxy 101", Proxy: true, serve: answer("HTTP/1.1 101 Switching Protocols\r\n\r\n", silence)},
		{Name: "proxy header flood", Proxy: true, serve: answer("", flood("HTTP/1.1 200 OK\r\n", "X-A: aaaaaaaaaaaaaaaa\r\n"))},
		{Name: "proxy to nowhere", Proxy: true, serve: answer("HTTP/1.1 200 OK\r\n\r\n", silence)},
	}
}

// silence takes everything and says nothing.
func silence(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// deaf takes nothing either, until the other side is gone.
func deaf(c net.Conn) {
	var one [1]byte
	tick := time.NewTicker(trickle)
	defer tick.Stop()
	for range tick.C {
		if _, err := c.Write(nil); err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now())
		if _, err := c.Read(one[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}

// slowly says begin and then one byte of again after the other.
func slowly(begin, again string) func(net.Conn) {
	return func(c net.Conn) {
		go silence(c)
		if _, err := io.WriteString(c, begin); err != nil {
			return
		}
		tick := time.NewTicker(trickle)
		defer tick.Stop()
		for i := 0; ; i++ {
			<-tick.C
			if _, err := io.WriteString(c, again[i%len(again):][:1]); err != nil {
				return
			}
		}
	}
}

// flood says begin and then again as fast as it is taken.
func flood(begin, again string) func(net.Conn) {
	return func(c net.Conn) {
		go silence(c)
		if _, err := io.WriteString(c, begin); err != nil {
			return
		}
		block := strings.Repeat(again, max(1, 4096/len(again)))
		for {
			if _, err := io.WriteString(c, block); err != nil {
				return
			}
		}
	}
}

// answer reads a request as far as its body, says begin, and goes on with then.
func answer(begin string, then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if request.Method != http.MethodConnect {
			_, _ = io.Copy(io.Discard, request.Body)
		}
		if _, err := io.WriteString(c, begin); err != nil {
			return
		}
		then(c)
	}
}

// Serve takes one connection until the other side closes it. With Handshake, certificate is the server's.
func (t *Trap) Serve(c net.Conn, certificate *tls.Certificate) {
	defer func() { _ = c.Close() }()
	if t.Handshake {
		c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12})
	}
	t.serve(c)
}

// TrapServer is a Trap on loopback.
type TrapServer struct {
	trap        Trap
	certificate *tls.Certificate
	listener    net.Listener
	connected   chan struct{}

	mu          sync.Mutex
	connections []net.Conn
	done        sync.WaitGroup
}

// StartTrap runs the trap until Close.
func StartTrap(t Trap, certificate *tls.Certificate) (*TrapServer, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &TrapServer{trap: t, certificate: certificate, listener: l, connected: make(chan struct{}, 1)}
	s.done.Go(s.accept)
	return s, nil
}

func (s *TrapServer) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.connections = append(s.connections, c)
		s.mu.Unlock()
		select {
		case s.connected <- struct{}{}:
		default:
		}
		s.done.Go(func() { s.trap.Serve(c, s.certificate) })
	}
}

// Address is where the trap listens.
func (s *TrapServer) Address() string { return s.listener.Addr().String() }

// Connected holds a token once somebody has connected.
func (s *TrapServer) Connected() <-chan struct{} { return s.connected }

// Close ends the trap and every connection.
func (s *TrapServer) Close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for _, c := range s.connections {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}
