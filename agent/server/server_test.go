package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// serve serves handler on a loopback port until the test ends, and returns its address.
func serve(t *testing.T, o Options) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, o) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

const request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

func TestConnectionThatAsksNothingMakesRoomForOneThatDoes(t *testing.T) {
	address := serve(t, Options{Handler: http.NotFoundHandler()})
	var idle []net.Conn
	for range 3 * MaxConns {
		c := dial(t, address)
		say(t, c, "GET / HTTP/1.1\r\n")
		idle = append(idle, c)
	}
	c := dial(t, address)
	say(t, c, request)
	if answer, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || answer.StatusCode != http.StatusNotFound {
		t.Fatalf("the answer is %v, %v", answer, err)
	}
	for i, c := range idle[:2*MaxConns] {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("connection %d is still served: %v", i, err)
		}
	}
}

// TestFloodFromOneAddressShutsOutNobodyElse lets a client take its time while another address floods.
func TestFloodFromOneAddressShutsOutNobodyElse(t *testing.T) {
	address := serve(t, Options{Handler: http.NotFoundHandler()})
	slow := dial(t, address)
	say(t, slow, "GET / HTTP/1.1\r\n")
	flood := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	var last net.Conn
	for range 5 * MaxConns {
		c, err := flood.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		last = c
	}
	// By the time that the last is answered, those before it were accepted.
	say(t, last, request)
	if _, err := http.ReadResponse(bufio.NewReader(last), nil); err != nil {
		t.Fatal(err)
	}
	say(t, slow, "Host: localhost\r\n\r\n")
	if answer, err := http.ReadResponse(bufio.NewReader(slow), nil); err != nil || answer.StatusCode != http.StatusNotFound {
		t.Fatalf("the slow client is answered %v, %v", answer, err)
	}
}

// TestConnectionsAtWorkAreNotClosedForOthers fills all places with requests that are handled.
func TestConnectionsAtWorkAreNotClosedForOthers(t *testing.T) {
	release := make(chan struct{})
	var working sync.WaitGroup
	working.Add(MaxConns)
	address := serve(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			working.Done()
			<-release
		}
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	answered := func(c net.Conn, want string) {
		t.Helper()
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(answer.Body); err != nil || string(body) != want {
			t.Errorf("the answer is %q, %v", body, err)
		}
	}
	var slow []net.Conn
	for range MaxConns {
		c := dial(t, address)
		say(t, c, "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
		slow = append(slow, c)
	}
	working.Wait()
	waits := dial(t, address)
	say(t, waits, "GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n")
	close(release)
	for _, c := range slow {
		answered(c, "/slow")
	}
	answered(waits, "/quick")
}

// TestSecondRequestOfAConnectionIsNotAnswered keeps pipelining from making a connection worth many.
func TestSecondRequestOfAConnectionIsNotAnswered(t *testing.T) {
	asked := make(chan string, 100)
	address := serve(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path })})
	c := dial(t, address)
	say(t, c, strings.Repeat(request, 50))
	_, _ = io.Copy(io.Discard, c)
	if n := len(asked); n != 1 {
		t.Errorf("%d requests of one connection were handled", n)
	}
}

func TestLargeHeaderIsRefused(t *testing.T) {
	address := serve(t, Options{Handler: http.NotFoundHandler()})
	c := dial(t, address)
	say(t, c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Much: "+strings.Repeat("x", 3*maxHeader)+"\r\n\r\n")
	if answer, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", answer.StatusCode)
	}
}

func TestDocumentIsMadeOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		s := Shared[int]{Make: func() (int, error) { made++; return made, nil }}
		for _, want := range []int{1, 1, 2} {
			for range 100 {
				if got, err := s.Get(); got != want || err != nil {
					t.Fatalf("it is %d, %v, want %d", got, err, want)
				}
			}
			synctest.Wait()
			<-time.After(sharedFor/2 + time.Millisecond)
		}
	})
}

func TestGateKnowsTheNamesOfThisMachineOnly(t *testing.T) {
	g := NewGate("pi.example:8080", "status.example.")
	for _, c := range []struct {
		at, host string
		own      bool
	}{
		{"127.0.0.1", "localhost", true},
		{"127.0.0.1", "LocalHost.:8080", true},
		{"127.0.0.1", "127.0.0.1:8080", true},
		{"127.0.0.1", "127.9.9.9", true},
		{"::1", "[::1]:8080", true},
		{"127.0.0.1", "[::1]", true},
		{"127.0.0.1", "pi.example", true},
		{"127.0.0.1", "status.example:80", true},
		{"127.0.0.1", "192.168.1.7:8080", false},
		{"127.0.0.1", "attacker.example:8080", false},
		{"127.0.0.1", "localhost.attacker.example", false},
		{"127.0.0.1", "", false},
		{"10.42.0.7", "10.42.0.7:8080", true},
		{"10.42.0.7", "192.168.1.7", true},
		{"fd00::7", "[fd00::7]:8080", true},
		{"10.42.0.7", "attacker.example", false},
	} {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(c.at), Port: 8080})
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
		r.Host = c.host
		if got := g.Own(r); got != c.own {
			t.Errorf("Host %q at %s: own is %v", c.host, c.at, got)
		}
		if got := Loopback(r); got != (c.at == "127.0.0.1" || c.at == "::1") {
			t.Errorf("%s: loopback is %v", c.at, got)
		}
	}
}
