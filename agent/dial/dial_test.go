package dial

import (
	"context"
	"errors"
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

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/dial/namestest"
)

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

// start returns a Dialer that asks its name servers through servers, and the budget that it counts in.
func start(servers Func) (*budget.Budget, *Dialer) {
	b := budget.New(budget.Options{})
	return b, New(b, servers)
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

func post(t *testing.T, s *httptest.Server, dial Func, url string) {
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
	b, d := start(nil)
	post(t, s, d.For("ops", nil), s.URL)
	post(t, s, d.For("archive", nil), s.URL)
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

func TestNamesAreAskedOnceWhileValidAndCounted(t *testing.T) {
	n := namestest.Start(t, 300)
	b, d := start(n.Dial)
	addresses, err := d.names.lookup(t.Context(), "open.feishu.test.", d.counted("ops", n.Dial))
	if err != nil || len(addresses) != 1 || addresses[0].String() != "127.0.0.1" {
		t.Fatalf("addresses %v: %v", addresses, err)
	}
	if got := b.Receivers()["ops"].Day.Total(); got != n.Bytes.Load() {
		t.Errorf("counted %d bytes, the name server saw %d", got, n.Bytes.Load())
	}
	asked := n.Queries.Load()
	for range 3 {
		if _, err := d.names.lookup(t.Context(), "open.feishu.test.", d.counted("archive", n.Dial)); err != nil {
			t.Fatal(err)
		}
	}
	if n.Queries.Load() != asked {
		t.Errorf("%d queries for a name that was known", n.Queries.Load()-asked)
	}
	a, _ := d.names.get("open.feishu.test.")
	if valid := a.expires.Sub(a.asked); valid != 300*time.Second {
		t.Errorf("the answer is used for %v, want what the name server said, 5 minutes", valid)
	}
}

func TestDialerTriesEachAddressAndForgetsThemIfNoneAnswers(t *testing.T) {
	n := namestest.Start(t, 300)
	_, d := start(n.Dial)
	var tried []string
	dial := d.For("ops", func(_ context.Context, _, address string) (net.Conn, error) {
		tried = append(tried, address)
		return nil, errors.New("refused")
	})
	if _, err := dial(t.Context(), "tcp", "open.feishu.test.:443"); err == nil {
		t.Fatal("no error")
	}
	if len(tried) != 1 || tried[0] != "127.0.0.1:443" {
		t.Errorf("tried %q", tried)
	}
	if a, _ := d.names.get("open.feishu.test."); !a.expires.IsZero() {
		t.Error("an address at which nobody answers is still used")
	}
}

// known is a dialer that knows the addresses of a host, and asks no name server.
func known(t *testing.T, host string, addresses ...string) *Dialer {
	t.Helper()
	_, d := start(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") })
	var four, six []netip.Addr
	for _, text := range addresses {
		if a := netip.MustParseAddr(text); a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	d.names.put(host, answer{addresses: interleave(four, six), asked: time.Now(), expires: time.Now().Add(time.Hour)}, 0)
	return d
}

// TestBothFamiliesAreTried has four and more IPv4 addresses at which nothing answers, and IPv6 as the only way out.
func TestBothFamiliesAreTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := known(t, "receiver.test", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "2001:db8::1", "2001:db8::2")
		var mu sync.Mutex
		var tried []string
		begin := time.Now()
		dial := d.For("ops", func(ctx context.Context, _, address string) (net.Conn, error) {
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
		d := known(t, "receiver.test", "192.0.2.1", "2001:db8::1")
		begin := time.Now()
		dial := d.For("ops", func(_ context.Context, _, address string) (net.Conn, error) {
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
		d := known(t, "receiver.test", "192.0.2.1", "192.0.2.2", "192.0.2.3")
		var open atomic.Int64
		dial := d.For("ops", func(_ context.Context, _, address string) (net.Conn, error) {
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

func TestNearIsAskedOfEachAddressAndOfNearNameServersOnly(t *testing.T) {
	n := namestest.Start(t, 3600)
	var asked atomic.Int64
	_, d := start(func(ctx context.Context, network, address string) (net.Conn, error) {
		asked.Add(1)
		return n.Dial(ctx, network, address)
	})
	near := func(addresses ...string) func(netip.Addr) bool {
		return func(a netip.Addr) bool { return slices.Contains(addresses, a.String()) }
	}
	if !d.Near(t.Context(), "ops", "192.0.2.7", near("192.0.2.7")) || d.Near(t.Context(), "ops", "192.0.2.8", near("192.0.2.7")) {
		t.Error("a literal address is not judged by itself")
	}
	if d.Near(t.Context(), "ops", "shop.test.", near("192.0.2.7")) || asked.Load() > 0 {
		t.Error("a name server was asked that is not near")
	}
	if !d.Near(t.Context(), "ops", "shop.test.", func(netip.Addr) bool { return true }) {
		t.Error("a name of the local network is not near")
	}
	if _, err := d.names.lookup(t.Context(), "shop.test.", d.counted("ops", n.Dial)); err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	if !d.Near(t.Context(), "ops", "shop.test.", near("127.0.0.1")) || d.Near(t.Context(), "ops", "shop.test.", near()) || asked.Load() > 0 {
		t.Error("a known name was asked for, or misjudged")
	}
}

// TestNameServerThatHangsLeavesTimeToConnect has connections to the name server that never end, whatever their context says. Without a
// bound of its own a look-up would take all the time that there is.
func TestNameServerThatHangsLeavesTimeToConnect(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	_, d := start(func(context.Context, string, string) (net.Conn, error) {
		<-release
		return nil, io.EOF
	})
	d.names.put("receiver.test.", answer{addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, asked: time.Now()}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() {
		if a, err := d.names.lookup(ctx, "receiver.test.", d.servers); err != nil || len(a) != 1 || ctx.Err() != nil {
			t.Errorf("%v, %v, want the last good answer", a, err)
		}
	})
	both.Go(func() {
		if d.Near(ctx, "ops", "shop.test.", func(netip.Addr) bool { return true }) || ctx.Err() != nil {
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
	b, d := start(nil)
	c, err := d.For("ops", func(context.Context, string, string) (net.Conn, error) { return brokenOff{}, nil })(t.Context(), "tcp", "192.0.2.1:443")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Read(make([]byte, 100))
	_, _ = c.Write(make([]byte, 100))
	if got := b.Receivers()["ops"].Day; got != (budget.Count{In: 7, Out: 5}) {
		t.Errorf("counted %+v, want 7 in and 5 out", got)
	}
}
