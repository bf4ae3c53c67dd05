package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/edge-eventer/edge-eventer/agent/dial/namestest"
)

func TestLastGoodAnswerServesWhileNoNameServerAnswers(t *testing.T) {
	n := namestest.Start(t, 0)
	c := newNames()
	if _, err := c.lookup(t.Context(), "open.feishu.test.", n.Dial); err != nil {
		t.Fatal(err)
	}
	if a, _ := c.get("open.feishu.test."); a.expires.Sub(a.asked) != minTTL {
		t.Errorf("the answer is used for %v, want the least, %v", a.expires.Sub(a.asked), minTTL)
	}
	c.expire("open.feishu.test.")
	n.Silent.Store(true)
	asked := n.Queries.Load()
	if a, err := c.lookup(t.Context(), "open.feishu.test.", n.Dial); err != nil || len(a) != 1 {
		t.Errorf("addresses %v: %v, want the last good answer", a, err)
	}
	if n.Queries.Load() == asked {
		t.Error("the name server was not asked")
	}
	if _, err := c.lookup(t.Context(), "unknown.test.", n.Dial); err == nil {
		t.Error("a name that never was known was found")
	}
}

func TestNameCacheIsBounded(t *testing.T) {
	c := newNames()
	for i := range 3 * maxHosts {
		c.put(strings.Repeat("h", i+1), answer{asked: time.Unix(int64(i), 0)}, 0)
	}
	if len(c.hosts) != maxHosts {
		t.Errorf("%d hosts, want %d", len(c.hosts), maxHosts)
	}
	if _, ok := c.hosts["h"]; ok {
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

func TestAnswerOfAPortalIsAskedAnew(t *testing.T) {
	n := namestest.Start(t, 3600)
	c := newNames()
	ask := func() int64 {
		before := n.Queries.Load()
		_, _ = c.lookup(t.Context(), "open.feishu.test.", n.Dial)
		return n.Queries.Load() - before
	}
	ask()
	if ask() != 0 {
		t.Fatal("a valid answer was asked for again")
	}
	c.expire("open.feishu.test.")
	if ask() == 0 {
		t.Error("the answer was not asked for again after a failure")
	}
	c.drop("open.feishu.test.")
	n.Silent.Store(true)
	if a, err := c.lookup(t.Context(), "open.feishu.test.", n.Dial); err == nil {
		t.Errorf("the portal's answer serves as the last good one: %v", a)
	}
}

func TestAnotherWayOutForgetsNames(t *testing.T) {
	n := namestest.Start(t, 3600)
	c := newNames()
	for _, host := range []string{"one.test.", "two.test."} {
		if _, err := c.lookup(t.Context(), host, n.Dial); err != nil {
			t.Fatal(err)
		}
	}
	c.expireAll()
	before := n.Queries.Load()
	// The look-up is under way when the way out changes: its answer is that of the network before.
	if _, err := c.lookup(t.Context(), "one.test.", func(ctx context.Context, network, address string) (net.Conn, error) {
		c.expireAll()
		return n.Dial(ctx, network, address)
	}); err != nil {
		t.Fatal(err)
	}
	if n.Queries.Load() == before {
		t.Error("a name was not asked for again")
	}
	if a, _ := c.get("one.test."); len(a.addresses) != 1 || !a.expires.IsZero() {
		t.Errorf("%+v, want an answer that is kept as last good one only", a)
	}
	n.Silent.Store(true)
	if a, err := c.lookup(t.Context(), "two.test.", n.Dial); err != nil || len(a) != 1 {
		t.Errorf("%v, %v, want the last good answer", a, err)
	}
}

// TestAnswerOfOneFamilyIsEnough has a router that drops questions for IPv6 addresses.
func TestAnswerOfOneFamilyIsEnough(t *testing.T) {
	n := namestest.Start(t, 3600)
	n.Drops.Store(uint32(dnsmessage.TypeAAAA))
	c := newNames()
	begin := time.Now()
	a, err := c.lookup(t.Context(), "open.feishu.test.", n.Dial)
	if err != nil || len(a) != 1 {
		t.Fatalf("%v, %v", a, err)
	}
	// The resolver would ask for 10 seconds, which leaves 5 to connect.
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the look-up took %s", took)
	}
	if k, _ := c.get("open.feishu.test."); k.expires.Sub(k.asked) != minTTL {
		t.Errorf("half an answer is used for %s, want %s", k.expires.Sub(k.asked), minTTL)
	}
}

func TestLastGoodAnswerServesForADayAndNoLonger(t *testing.T) {
	c := newNames()
	none := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") }
	for age, serves := range map[time.Duration]bool{23 * time.Hour: true, 25 * time.Hour: false} {
		c.put("receiver.test.", answer{addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, asked: time.Now().Add(-age)}, 0)
		if _, err := c.lookup(t.Context(), "receiver.test.", none); (err == nil) != serves {
			t.Errorf("an answer %s old: %v", age, err)
		}
	}
}

func TestAnswerIsUsedForAnHourAtMost(t *testing.T) {
	n := namestest.Start(t, 7*24*3600)
	c := newNames()
	if _, err := c.lookup(t.Context(), "receiver.test.", n.Dial); err != nil {
		t.Fatal(err)
	}
	if a, _ := c.get("receiver.test."); a.expires.Sub(a.asked) != maxTTL {
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
