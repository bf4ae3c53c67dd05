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
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
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
	conn net.PacketConn
	ttl  uint32
	// drops is a type of question that gets no answer.
	drops   atomic.Uint32
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
		if uint32(m.Questions[0].Type) == n.drops.Load() {
			continue
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
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
	addresses, err := b.lookup(t.Context(), "ops", "open.feishu.test.", n.dial)
	if err != nil || len(addresses) != 1 || addresses[0].String() != "127.0.0.1" {
		t.Fatalf("addresses %v: %v", addresses, err)
	}
	if got := b.Receivers()["ops"].Day.Total(); got != n.bytes.Load() {
		t.Errorf("counted %d bytes, the name server saw %d", got, n.bytes.Load())
	}
	asked := n.queries.Load()
	for range 3 {
		if _, err := b.lookup(t.Context(), "archive", "open.feishu.test.", n.dial); err != nil {
			t.Fatal(err)
		}
	}
	if n.queries.Load() != asked {
		t.Errorf("%d queries for a name that was known", n.queries.Load()-asked)
	}
	a, _ := b.names.get("open.feishu.test.")
	if valid := a.expires.Sub(a.asked); valid != 300*time.Second {
		t.Errorf("the answer is used for %v, want what the name server said, 5 minutes", valid)
	}
}

func TestLastGoodAnswerServesWhileNoNameServerAnswers(t *testing.T) {
	n := newNameServer(t, 0)
	b := New(Options{DialDNS: n.dial})
	if _, err := b.lookup(t.Context(), "ops", "open.feishu.test.", n.dial); err != nil {
		t.Fatal(err)
	}
	if a, _ := b.names.get("open.feishu.test."); a.expires.Sub(a.asked) != minTTL {
		t.Errorf("the answer is used for %v, want the least, %v", a.expires.Sub(a.asked), minTTL)
	}
	b.names.expire("open.feishu.test.")
	n.silent.Store(true)
	asked := n.queries.Load()
	if a, err := b.lookup(t.Context(), "ops", "open.feishu.test.", n.dial); err != nil || len(a) != 1 {
		t.Errorf("addresses %v: %v, want the last good answer", a, err)
	}
	if n.queries.Load() == asked {
		t.Error("the name server was not asked")
	}
	if _, err := b.lookup(t.Context(), "ops", "unknown.test.", n.dial); err == nil {
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
	if a, _ := b.names.get("open.feishu.test."); !a.expires.IsZero() {
		t.Error("an address at which nobody answers is still used")
	}
}

func TestNameCacheIsBounded(t *testing.T) {
	b := New(Options{})
	for i := range 3 * maxHosts {
		b.names.put(strings.Repeat("h", i+1), answer{asked: time.Unix(int64(i), 0)}, 0)
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

// known is a budget that knows the addresses of a host, and asks no name server.
func known(t *testing.T, host string, addresses ...string) *Budget {
	t.Helper()
	b := New(Options{DialDNS: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") }})
	var four, six []netip.Addr
	for _, text := range addresses {
		if a := netip.MustParseAddr(text); a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	b.names.put(host, answer{addresses: interleave(four, six), asked: time.Now(), expires: time.Now().Add(time.Hour)}, 0)
	return b
}

// TestBothFamiliesAreTried has four and more IPv4 addresses at which nothing answers, and IPv6 as the only way out.
func TestBothFamiliesAreTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := known(t, "receiver.test", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "2001:db8::1", "2001:db8::2")
		var mu sync.Mutex
		var tried []string
		begin := time.Now()
		dial := b.Dialer("ops", func(ctx context.Context, _, address string) (net.Conn, error) {
			mu.Lock()
			tried = append(tried, address)
			mu.Unlock()
			if address == "[2001:db8::2]:443" {
				near, far := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, far) }()
				return near, nil
			}
			// A black hole.
			<-ctx.Done()
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		c, err := dial(ctx, "tcp", "receiver.test:443")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		want := []string{"192.0.2.1:443", "[2001:db8::1]:443", "192.0.2.2:443", "[2001:db8::2]:443"}
		if took := time.Since(begin); took != 3*attemptDelay || !slices.Equal(tried, want) {
			t.Errorf("tried %q in %s, want %q in %s", tried, took, want, 3*attemptDelay)
		}
		tried, begin = nil, time.Now()
		if c, err = dial(ctx, "tcp", "receiver.test:443"); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if took := time.Since(begin); took != 0 || !slices.Equal(tried, want[3:]) {
			t.Errorf("the second time tried %q in %s, want at once what was connected before", tried, took)
		}
	})
}

func TestAddressThatFailsAtOnceIsFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := known(t, "receiver.test", "192.0.2.1", "2001:db8::1")
		begin := time.Now()
		dial := b.Dialer("ops", func(_ context.Context, _, address string) (net.Conn, error) {
			if address != "[2001:db8::1]:443" {
				return nil, syscall.ENETUNREACH
			}
			near, _ := net.Pipe()
			return near, nil
		})
		if _, err := dial(t.Context(), "tcp", "receiver.test:443"); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %s, want a connection at once", err, time.Since(begin))
		}
	})
}

// TestConnectionThatComesTooLateIsClosed counts what is open, at the end and when nobody waits any more.
func TestConnectionThatComesTooLateIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := known(t, "receiver.test", "192.0.2.1", "192.0.2.2", "192.0.2.3")
		var open atomic.Int64
		dial := b.Dialer("ops", func(_ context.Context, _, address string) (net.Conn, error) {
			// The dialer of the tests takes no notice of its context.
			<-time.After(time.Second)
			near, _ := net.Pipe()
			open.Add(1)
			return &closing{near, &open}, nil
		})
		c, err := dial(t.Context(), "tcp", "receiver.test:443")
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		if open.Load() != 1 {
			t.Errorf("%d connections are open, want the one that is used", open.Load())
		}
		_ = c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := dial(ctx, "tcp", "receiver.test:443"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline", err)
		}
		<-time.After(time.Minute)
		if open.Load() != 0 {
			t.Errorf("%d connections are open that nobody has", open.Load())
		}
	})
}

type closing struct {
	net.Conn
	open *atomic.Int64
}

func (c *closing) Close() error {
	c.open.Add(-1)
	return c.Conn.Close()
}

func TestAnswerOfAPortalIsAskedAnew(t *testing.T) {
	n := newNameServer(t, 3600)
	b := New(Options{DialDNS: n.dial})
	ask := func() int64 {
		before := n.queries.Load()
		_, _ = b.lookup(t.Context(), "ops", "open.feishu.test.", n.dial)
		return n.queries.Load() - before
	}
	ask()
	if ask() != 0 {
		t.Fatal("a valid answer was asked for again")
	}
	b.Doubt("open.feishu.test.", false)
	if ask() == 0 {
		t.Error("the answer was not asked for again after a failure")
	}
	b.Doubt("open.feishu.test.", true)
	n.silent.Store(true)
	if a, err := b.lookup(t.Context(), "ops", "open.feishu.test.", n.dial); err == nil {
		t.Errorf("the portal's answer serves as the last good one: %v", a)
	}
}

func TestAnotherWayOutForgetsNames(t *testing.T) {
	n := newNameServer(t, 3600)
	b := New(Options{DialDNS: n.dial})
	for _, host := range []string{"one.test.", "two.test."} {
		if _, err := b.lookup(t.Context(), "ops", host, n.dial); err != nil {
			t.Fatal(err)
		}
	}
	b.ForgetNames()
	before := n.queries.Load()
	// The look-up is under way when the way out changes: its answer is that of the network before.
	if _, err := b.lookup(t.Context(), "ops", "one.test.", func(ctx context.Context, network, address string) (net.Conn, error) {
		b.ForgetNames()
		return n.dial(ctx, network, address)
	}); err != nil {
		t.Fatal(err)
	}
	if n.queries.Load() == before {
		t.Error("a name was not asked for again")
	}
	if a, _ := b.names.get("one.test."); len(a.addresses) != 1 || !a.expires.IsZero() {
		t.Errorf("%+v, want an answer that is kept as last good one only", a)
	}
	n.silent.Store(true)
	if a, err := b.lookup(t.Context(), "ops", "two.test.", n.dial); err != nil || len(a) != 1 {
		t.Errorf("%v, %v, want the last good answer", a, err)
	}
}

// TestAnswerOfOneFamilyIsEnough has a router that drops questions for IPv6 addresses.
func TestAnswerOfOneFamilyIsEnough(t *testing.T) {
	n := newNameServer(t, 3600)
	n.drops.Store(uint32(dnsmessage.TypeAAAA))
	b := New(Options{DialDNS: n.dial})
	begin := time.Now()
	a, err := b.lookup(t.Context(), "ops", "open.feishu.test.", n.dial)
	if err != nil || len(a) != 1 {
		t.Fatalf("%v, %v", a, err)
	}
	// The resolver would ask for 10 seconds, which leaves 5 to connect.
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the look-up took %s", took)
	}
	if k, _ := b.names.get("open.feishu.test."); k.expires.Sub(k.asked) != minTTL {
		t.Errorf("half an answer is used for %s, want %s", k.expires.Sub(k.asked), minTTL)
	}
}

func TestNearIsAskedOfEachAddressAndOfNearNameServersOnly(t *testing.T) {
	n := newNameServer(t, 3600)
	var asked atomic.Int64
	b := New(Options{DialDNS: func(ctx context.Context, network, address string) (net.Conn, error) {
		asked.Add(1)
		return n.dial(ctx, network, address)
	}})
	near := func(addresses ...string) func(netip.Addr) bool {
		return func(a netip.Addr) bool { return slices.Contains(addresses, a.String()) }
	}
	if !b.Near(t.Context(), "ops", "192.0.2.7", near("192.0.2.7")) || b.Near(t.Context(), "ops", "192.0.2.8", near("192.0.2.7")) {
		t.Error("a literal address is not judged by itself")
	}
	if b.Near(t.Context(), "ops", "shop.test.", near("192.0.2.7")) || asked.Load() > 0 {
		t.Error("a name server was asked that is not near")
	}
	if !b.Near(t.Context(), "ops", "shop.test.", func(netip.Addr) bool { return true }) {
		t.Error("a name of the local network is not near")
	}
	if _, err := b.lookup(t.Context(), "ops", "shop.test.", n.dial); err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	if !b.Near(t.Context(), "ops", "shop.test.", near("127.0.0.1")) || b.Near(t.Context(), "ops", "shop.test.", near()) || asked.Load() > 0 {
		t.Error("a known name was asked for, or misjudged")
	}
}

func TestLastGoodAnswerServesForADayAndNoLonger(t *testing.T) {
	b := New(Options{DialDNS: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") }})
	for age, serves := range map[time.Duration]bool{23 * time.Hour: true, 25 * time.Hour: false} {
		b.names.put("receiver.test.", answer{addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, asked: time.Now().Add(-age)}, 0)
		if _, err := b.lookup(t.Context(), "ops", "receiver.test.", b.names.dial); (err == nil) != serves {
			t.Errorf("an answer %s old: %v", age, err)
		}
	}
}

func TestAnswerIsUsedForAnHourAtMost(t *testing.T) {
	n := newNameServer(t, 7*24*3600)
	b := New(Options{DialDNS: n.dial})
	if _, err := b.lookup(t.Context(), "ops", "receiver.test.", n.dial); err != nil {
		t.Fatal(err)
	}
	if a, _ := b.names.get("receiver.test."); a.expires.Sub(a.asked) != maxTTL {
		t.Errorf("used for %s, want %s", a.expires.Sub(a.asked), maxTTL)
	}
}

func TestShortestTimeToLiveOfAnAnswerCounts(t *testing.T) {
	name := dnsmessage.MustNewName("receiver.test.")
	question := dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	m := dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Questions: []dnsmessage.Question{question}}
	for _, ttl := range []uint32{300, 60, 600} {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		})
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if ttl, ok := timeToLive(packet); !ok || ttl != time.Minute {
		t.Errorf("%s, want a minute", ttl)
	}
	q := query{ttl: -1}
	for _, ttl := range []uint32{600, 60, 300} {
		m.Answers = m.Answers[:1]
		m.Answers[0].Header.TTL = ttl
		if packet, err = m.Pack(); err != nil {
			t.Fatal(err)
		}
		q.note(packet)
	}
	if q.valid() != time.Minute {
		t.Errorf("of several packets: %s, want a minute", q.valid())
	}
}

// TestNameServerThatHangsLeavesTimeToConnect has connections to the name server that never end, whatever their context says. Without a
// bound of its own a look-up would take all the time that there is.
func TestNameServerThatHangsLeavesTimeToConnect(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	b := New(Options{DialDNS: func(context.Context, string, string) (net.Conn, error) {
		<-release
		return nil, io.EOF
	}})
	b.names.put("receiver.test.", answer{addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, asked: time.Now()}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() {
		if a, err := b.lookup(ctx, "ops", "receiver.test.", b.names.dial); err != nil || len(a) != 1 || ctx.Err() != nil {
			t.Errorf("%v, %v, want the last good answer", a, err)
		}
	})
	both.Go(func() {
		if b.Near(ctx, "ops", "shop.test.", func(netip.Addr) bool { return true }) || ctx.Err() != nil {
			t.Errorf("a name that nobody knows is near, or its look-up was not bounded: %v", ctx.Err())
		}
	})
	both.Wait()
}

// brokenOff is a connection whose last bytes come together with its end.
type brokenOff struct{ net.Conn }

func (brokenOff) Read(p []byte) (int, error)  { return min(len(p), 7), io.ErrUnexpectedEOF }
func (brokenOff) Write(p []byte) (int, error) { return min(len(p), 5), io.ErrClosedPipe }

func TestBytesThatComeWithAnErrorAreCounted(t *testing.T) {
	b := New(Options{})
	c, err := b.Dialer("ops", func(context.Context, string, string) (net.Conn, error) { return brokenOff{}, nil })(t.Context(), "tcp", "192.0.2.1:443")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Read(make([]byte, 100))
	_, _ = c.Write(make([]byte, 100))
	if got := b.Receivers()["ops"].Day; got != (Count{In: 7, Out: 5}) {
		t.Errorf("counted %+v, want 7 in and 5 out", got)
	}
}
