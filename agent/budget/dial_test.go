package budget

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// withSum gives a body the checksum that lets it through to the decoder.
func withSum(blob []byte) []byte {
	if len(blob) < 4 {
		return blob
	}
	body := blob[:len(blob)-4]
	return binary.BigEndian.AppendUint32(append([]byte{}, body...), crc32.ChecksumIEEE(body))
}

// tap counts what a server sees of its connections, independently of the dialer.
type tap struct {
	net.Listener
	in, out atomic.Uint64
}

type tapped struct {
	net.Conn
	tap *tap
}

func (l *tap) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tapped{Conn: c, tap: l}, nil
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.tap.in.Add(uint64(n))
	return n, err
}

func (c *tapped) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.tap.out.Add(uint64(n))
	return n, err
}

func serve(t *testing.T) (*httptest.Server, *tap) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("y", 3000))
	}))
	l := &tap{Listener: s.Listener}
	s.Listener = l
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, l
}

func post(t *testing.T, s *httptest.Server, dial DialFunc, url string) {
	t.Helper()
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = dial
	transport.Proxy = nil
	client := &http.Client{Transport: transport}
	resp, err := client.Post(url, "text/plain", strings.NewReader(strings.Repeat("x", 2000)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	transport.CloseIdleConnections()
}

func TestBytesAtTheSocketAreCountedBothWays(t *testing.T) {
	s, l := serve(t)
	b := New(Options{})
	post(t, s, b.Dialer("ops", nil), s.URL)
	post(t, s, b.Dialer("archive", nil), s.URL)
	s.Close()
	all := b.Used().Day
	// The last record of TLS, 24 bytes of close notify, may come when the other side does not read any more.
	const lastWords = 2 * 24
	if d := all.Out - l.in.Load(); d > lastWords {
		t.Errorf("counted %d bytes out, the server saw %d in", all.Out, l.in.Load())
	}
	if d := l.out.Load() - all.In; d > lastWords || all.In < 2*3000 {
		t.Errorf("counted %d bytes in, the server saw %d out", all.In, l.out.Load())
	}
	each := b.Receivers()
	if ops, archive := each["ops"].Month, each["archive"].Month; ops.Out < 2000 || ops.Out+archive.Out != all.Out || ops.In+archive.In != all.In {
		t.Errorf("the receivers' accounts %+v do not add up to %+v", each, all)
	}
	// A TLS handshake is more than half a kilobyte each way.
	if all.Out < 2*(2000+500) {
		t.Errorf("handshakes are missing in %+v", all)
	}
}

// nameServer answers every A query with 127.0.0.1.
type nameServer struct {
	conn    net.PacketConn
	ttl     uint32
	silent  atomic.Bool
	queries atomic.Int64
	bytes   atomic.Uint64
	done    sync.WaitGroup
}

func newNameServer(t *testing.T, ttl uint32) *nameServer {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{conn: c, ttl: ttl}
	n.done.Go(n.serve)
	t.Cleanup(func() { _ = c.Close(); n.done.Wait() })
	return n
}

func (n *nameServer) serve() {
	b := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(b)
		if err != nil {
			return
		}
		n.queries.Add(1)
		n.bytes.Add(uint64(size))
		var m dnsmessage.Message
		if m.Unpack(b[:size]) != nil {
			continue
		}
		m.Response, m.Additionals = true, nil
		if n.silent.Load() {
			m.RCode = dnsmessage.RCodeServerFailure
		} else if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: n.ttl},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
		out, err := m.Pack()
		if err != nil {
			continue
		}
		n.bytes.Add(uint64(len(out)))
		_, _ = n.conn.WriteTo(out, from)
	}
}

func (n *nameServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "udp", n.conn.LocalAddr().String())
}

func TestNamesAreAskedOnceWhileValidAndCounted(t *testing.T) {
	n := newNameServer(t, 300)
	b := New(Options{DialDNS: n.dial})
	addresses, err := b.lookup(t.Context(), "ops", "open.feishu.test.")
	if err != nil || len(addresses) != 1 || addresses[0].String() != "127.0.0.1" {
		t.Fatalf("addresses %v: %v", addresses, err)
	}
	if got := b.Receivers()["ops"].Day.Total(); got != n.bytes.Load() {
		t.Errorf("counted %d bytes, the name server saw %d", got, n.bytes.Load())
	}
	asked := n.queries.Load()
	for range 3 {
		if _, err := b.lookup(t.Context(), "archive", "open.feishu.test."); err != nil {
			t.Fatal(err)
		}
	}
	if n.queries.Load() != asked {
		t.Errorf("%d queries for a name that was known", n.queries.Load()-asked)
	}
	a := b.names.get("open.feishu.test.")
	if valid := a.expires.Sub(a.asked); valid != 300*time.Second {
		t.Errorf("the answer is used for %v, want what the name server said, 5 minutes", valid)
	}
}

func TestLastGoodAnswerServesWhileNoNameServerAnswers(t *testing.T) {
	n := newNameServer(t, 0)
	b := New(Options{DialDNS: n.dial})
	if _, err := b.lookup(t.Context(), "ops", "open.feishu.test."); err != nil {
		t.Fatal(err)
	}
	if a := b.names.get("open.feishu.test."); a.expires.Sub(a.asked) != minTTL {
		t.Errorf("the answer is used for %v, want the least, %v", a.expires.Sub(a.asked), minTTL)
	}
	b.names.expire("open.feishu.test.")
	n.silent.Store(true)
	asked := n.queries.Load()
	if a, err := b.lookup(t.Context(), "ops", "open.feishu.test."); err != nil || len(a) != 1 {
		t.Errorf("addresses %v: %v, want the last good answer", a, err)
	}
	if n.queries.Load() == asked {
		t.Error("the name server was not asked")
	}
	if _, err := b.lookup(t.Context(), "ops", "unknown.test."); err == nil {
		t.Error("a name that never was known was found")
	}
}

func TestDialerTriesEachAddressAndForgetsThemIfNoneAnswers(t *testing.T) {
	n := newNameServer(t, 300)
	b := New(Options{DialDNS: n.dial})
	var tried []string
	dial := b.Dialer("ops", func(_ context.Context, _, address string) (net.Conn, error) {
		tried = append(tried, address)
		return nil, errors.New("refused")
	})
	if _, err := dial(t.Context(), "tcp", "open.feishu.test.:443"); err == nil {
		t.Fatal("no error")
	}
	if len(tried) != 1 || tried[0] != "127.0.0.1:443" {
		t.Errorf("tried %q", tried)
	}
	if !b.names.get("open.feishu.test.").expires.IsZero() {
		t.Error("an address at which nobody answers is still used")
	}
}

func TestNameCacheIsBounded(t *testing.T) {
	b := New(Options{})
	for i := range 3 * maxHosts {
		b.names.put(strings.Repeat("h", i+1), answer{asked: time.Unix(int64(i), 0)})
	}
	if len(b.names.hosts) != maxHosts {
		t.Errorf("%d hosts, want %d", len(b.names.hosts), maxHosts)
	}
	if _, ok := b.names.hosts["h"]; ok {
		t.Error("the oldest is still there")
	}
}

func FuzzTimeToLive(f *testing.F) {
	f.Add([]byte("\x00\x01\x81\x80\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\x7f\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ttl, ok := timeToLive(b); ttl < 0 || !ok && ttl != 0 {
			t.Errorf("%v, %v", ttl, ok)
		}
	})
}
