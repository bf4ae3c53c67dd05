package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// startPort starts an agent that has no cluster, a spool with n incidents and an HTTP port, and returns the port's address.
func startPort(t *testing.T, n int) (p *process, address string) {
	t.Helper()
	address = freeAddress(t)
	d := &desk{t: t, config: filepath.Join(t.TempDir(), "config.yaml")}
	d.spool = filepath.Join(filepath.Dir(d.config), "spool.db")
	text := fmt.Sprintf("cluster: shop-1\nkubernetes: {kubeconfig: %q}\nspool: {path: %q}\nserver: {listen: %q}\nreceivers:\n  - {name: ops, type: webhook, url: %q}\n",
		filepath.Join(filepath.Dir(d.config), "no-kubeconfig"), d.spool, address, "http://127.0.0.1:1/")
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.put(n)
	p = startAgent(t, d.config)
	until(t, "the page is shown", func() bool {
		code, body := askPort(t, address, "localhost", "/page.json")
		return code == http.StatusOK && strings.Contains(body, "web1")
	})
	return p, address
}

// askPort asks once, under a name. The status is 0 where no answer came.
func askPort(t *testing.T, address, host, path string) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// moreFiles raises the limit of open files as far as it may, and returns how many connections fit.
func moreFiles(t *testing.T, wanted int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	raised := limit
	raised.Cur = raised.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
	return min(wanted, int(min(raised.Cur, 1<<20))-200)
}

// flood is a crowd of clients that mean no good. Each connects again when its connection is closed.
type flood struct {
	address string
	clients sync.WaitGroup
	stop    chan struct{}
	// connected counts the connections that were made, lost those that the agent closed.
	connected, lost atomic.Int64
}

func startFlood(t *testing.T, address string, clients int) *flood {
	f := &flood{address: address, stop: make(chan struct{})}
	kinds := []func(net.Conn){
		// Says nothing.
		func(net.Conn) {},
		// Half a header.
		func(c net.Conn) { _, _ = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Half: ") },
		// Asks for much, and reads nothing of it.
		func(c net.Conn) {
			_ = c.(*net.TCPConn).SetReadBuffer(2 << 10)
			_, _ = io.WriteString(c, strings.Repeat("GET /page.json HTTP/1.1\r\nHost: localhost\r\n\r\n", 50))
		},
		// Pipelines, and reads.
		func(c net.Conn) {
			_, _ = io.WriteString(c, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 50))
			_, _ = io.Copy(io.Discard, c)
		},
		// A header without an end.
		func(c net.Conn) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n")
			for line := "X: " + strings.Repeat("x", 1000) + "\r\n"; ; {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		},
	}
	for i := range clients {
		f.clients.Go(func() { f.client(kinds[i%len(kinds)]) })
	}
	t.Cleanup(f.end)
	return f
}

func (f *flood) client(behave func(net.Conn)) {
	// Another address than that of the probes, as a pod's is not the kubelet's.
	dialer := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for {
		select {
		case <-f.stop:
			return
		default:
		}
		c, err := dialer.Dial("tcp", f.address)
		if err != nil {
			continue
		}
		f.connected.Add(1)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			behave(c)
			// A silent client notices that it was shut out as one that reads does.
			_, _ = bufio.NewReaderSize(onlyEnd{c}, 16).Peek(1)
		}()
		select {
		case <-closed:
			f.lost.Add(1)
		case <-f.stop:
		}
		_ = c.Close()
		<-closed
	}
}

// onlyEnd reports the end of a connection and takes nothing of what came.
type onlyEnd struct{ net.Conn }

func (c onlyEnd) Read([]byte) (int, error) {
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	if err := raw.Read(func(fd uintptr) bool {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n == 0 || err != nil && !errors.Is(err, syscall.EAGAIN)
	}); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

func (f *flood) end() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.clients.Wait()
}

// TestThousandsOfClientsOfTheHTTPPortDoNotGrowMemory lets 3,000 clients connect to the port, each in one of five bad ways, and asks as the
// kubelet does meanwhile.
func TestThousandsOfClientsOfTheHTTPPortDoNotGrowMemory(t *testing.T) {
	clients := moreFiles(t, 3000)
	p, address := startPort(t, 300)
	for range 20 {
		for _, path := range []string{"/healthz", "/readyz", "/metrics", "/", "/page.json"} {
			askPort(t, address, "localhost", path)
		}
	}
	before := p.memory("VmHWM")
	f := startFlood(t, address, clients)
	until(t, "all clients have connected and many were shut out", func() bool {
		return f.connected.Load() >= int64(clients) && f.lost.Load() >= int64(clients)
	})
	// On a machine with better things to do a request may come so late that the connection's place was given away. The kubelet asks three
	// times before it believes that.
	probe := func(path string) (code int, body string) {
		for range 3 {
			if code, body = askPort(t, address, "127.0.0.1", path); code != 0 {
				break
			}
		}
		return code, body
	}
	for range 10 {
		if code, body := probe("/healthz"); code != http.StatusOK {
			t.Errorf("/healthz during the flood answers %d: %s", code, body)
		}
		if code, body := probe("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "cannot sign in") {
			t.Errorf("/readyz during the flood answers %d: %s", code, body)
		}
	}
	after := p.memory("VmHWM")
	t.Logf("%d clients, %d connections: VmHWM %s before, %s after", clients, f.connected.Load(), mib(before), mib(after))
	f.end()
	if after >= 32<<20 || after-before > 4<<20 {
		t.Errorf("peak of the resident memory %s, before the flood %s", mib(after), mib(before))
	}
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(); code != exitOK || took > 10*time.Second {
		t.Errorf("exit code %d after %s", code, took)
	}
}

// TestPageThatRebindsItsNameReadsNothing asks as a browser does whose page at attacker.example made that name point to the loopback.
func TestPageThatRebindsItsNameReadsNothing(t *testing.T) {
	_, address := startPort(t, 2)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/page.json", "/metrics", "/readyz", "/healthz"} {
		for _, host := range []string{"attacker.example", "attacker.example:" + port, "localhost.attacker.example:" + port, "10.0.0.7:" + port, "[2001:db8::1]"} {
			if code, body := askPort(t, address, host, path); code != http.StatusMisdirectedRequest || strings.Contains(body, "web1") {
				t.Errorf("%s of %s: status %d, want 421: %.200s", path, host, code, body)
			}
		}
		for _, host := range []string{"localhost", "LOCALHOST:" + port, "127.0.0.1:" + port, "[::1]:" + port, address} {
			if code, body := askPort(t, address, host, path); code == http.StatusMisdirectedRequest || code == 0 {
				t.Errorf("%s of %s: status %d: %.200s", path, host, code, body)
			}
		}
	}
}
