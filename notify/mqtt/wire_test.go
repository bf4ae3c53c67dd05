package mqtt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/mqtt"
)

// played is a receiver whose broker is played by hand, over pipes, for a test in a bubble.
func played(t *testing.T, change func(*mqtt.Config), play func(net.Conn)) (notify.Receiver, *atomic.Int64) {
	t.Helper()
	var dials atomic.Int64
	r := receiver(t, "broker.example", change, notify.Common{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			near, far := net.Pipe()
			go func() {
				defer func() { _ = far.Close() }()
				play(far)
			}()
			return near, nil
		},
	})
	return r, &dials
}

// say writes texts, and reports whether somebody took them.
func say(c net.Conn, texts ...string) bool {
	_, err := io.WriteString(c, strings.Join(texts, ""))
	return err == nil
}

func silence(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// flood says a text again and again, as fast as it is taken.
func flood(text string) func(net.Conn) {
	return func(c net.Conn) {
		go silence(c)
		for say(c, strings.Repeat(text, 1+4096/len(text))) {
		}
	}
}

// slowly says one byte of a text after the other.
func slowly(text string) func(net.Conn) {
	return func(c net.Conn) {
		go silence(c)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; say(c, text[i%len(text):][:1]); i++ {
			<-tick.C
		}
	}
}

// afterConnect says yes to CONNECT first.
func afterConnect(then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		if _, _, err := readFrame(c); err == nil && say(c, connack(0)) {
			then(c)
		}
	}
}

// afterPublish takes a message too.
func afterPublish(then func(net.Conn)) func(net.Conn) {
	return afterConnect(func(c net.Conn) {
		if _, _, err := readFrame(c); err == nil {
			then(c)
		}
	})
}

// TestAttemptEndsAtItsTimeoutWhateverTheBrokerDoes lets it meet brokers that go wrong in each phase. A goroutine that is left behind
// would be found by the bubble.
func TestAttemptEndsAtItsTimeoutWhateverTheBrokerDoes(t *testing.T) {
	const timeout = 20 * time.Second
	publish := "\x30\x05\x00\x01a\x00x"
	for name, play := range map[string]func(net.Conn){
		"accept":                silence,
		"read nothing":          func(c net.Conn) { <-time.After(time.Hour) },
		"close":                 func(net.Conn) {},
		"connack bytes":         slowly("\x20\x7f\x00\x00"),
		"connack flood":         flood("\x20\x03\x00\x00\x00"),
		"page":                  flood("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"256 MiB announced":     func(c net.Conn) { say(c, "\x20\xff\xff\xff\x7f"); silence(c) },
		"endless length":        flood("\xff"),
		"properties too long":   func(c net.Conn) { say(c, "\x20\x06\x00\x00\xff\xff\xff\xff"); silence(c) },
		"silent publish":        afterConnect(silence),
		"deaf publish":          afterConnect(func(net.Conn) { <-time.After(time.Hour) }),
		"closed publish":        afterConnect(func(net.Conn) {}),
		"publish flood":         afterConnect(flood(publish)),
		"ping flood":            afterConnect(flood("\xd0\x00")),
		"puback flood":          afterConnect(flood(puback(1, 0))),
		"puback bytes":          afterPublish(slowly("\x40\x7f\x00\x01")),
		"puback of another":     afterPublish(func(c net.Conn) { say(c, puback(77, 0)); silence(c) }),
		"half a puback":         afterPublish(func(c net.Conn) { say(c, puback(1, 0)[:3]); silence(c) }),
		"puback's long text":    afterPublish(func(c net.Conn) { say(c, "\x40\x07\x00\x01\x87\x03\x1f\xff\xff"); silence(c) }),
		"disconnect":            afterPublish(func(c net.Conn) { say(c, "\xe0\x00"); silence(c) }),
		"disconnect and silent": afterPublish(func(c net.Conn) { say(c, "\xe0\x01\x8b"); silence(c) }),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := played(t, nil, play)
				request, err := r.Render(message("shop", 3), notify.Full)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, errTimeout)
				defer cancel()
				begin := time.Now()
				err = r.Send(ctx, request)
				if took := time.Since(begin); took > timeout {
					t.Errorf("the attempt took %s, its time-out is %s", took, timeout)
				}
				if e := failure(t, err); e.Outcome != notify.Retry || e.Reason == "" {
					t.Errorf("%v: outcome %s, want a retry", e, e.Outcome)
				}
				r.Close()
				<-time.After(2 * time.Hour)
			})
		})
	}
}

// TestAttemptThatIsCancelledSaysWhy keeps the cause that the agent gives.
func TestAttemptThatIsCancelledSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := played(t, nil, afterConnect(silence))
		if err := send(t, r, message("shop", 1), time.Second); !errors.Is(err, errTimeout) {
			t.Errorf("%v, want %v", err, errTimeout)
		}
	})
}

func TestReasonOfTheConnackDecides(t *testing.T) {
	for _, c := range []struct {
		code    byte
		outcome notify.Outcome
		says    string
	}{
		{0x80, notify.Retry, ""},
		{0x84, notify.BadTarget, "MQTT 5"},
		{0x85, notify.BadTarget, "clientId"},
		{0x86, notify.BadTarget, "password"},
		{0x87, notify.BadTarget, "authorized"},
		{0x88, notify.Retry, "not available"},
		{0x89, notify.Retry, "busy"},
		{0x8a, notify.BadTarget, "banned"},
		{0x8c, notify.BadTarget, ""},
		{0x97, notify.Retry, "quota"},
		{0x9c, notify.BadTarget, "another"},
		{0x9d, notify.BadTarget, "moved"},
		{0x9f, notify.Retry, "too many"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, _ := played(t, nil, func(conn net.Conn) {
				if _, _, err := readFrame(conn); err == nil {
					say(conn, connack(c.code))
					silence(conn)
				}
			})
			e := failure(t, send(t, r, message("shop", 2), time.Minute))
			if e.Outcome != c.outcome || e.GroupOnly || e.Code != fmt.Sprintf("0x%02x", c.code) || !strings.Contains(e.Reason, c.says) {
				t.Errorf("%#x: %v: outcome %s, of its topic %v, want %s", c.code, e, e.Outcome, e.GroupOnly, c.outcome)
			}
		})
	}
}

// TestBrokerThatSpeaksOnlyOlderMQTTIsABadTarget: the answer of MQTT 3.1.1 to a version that it does not know.
func TestBrokerThatSpeaksOnlyOlderMQTTIsABadTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := played(t, nil, func(c net.Conn) {
			if _, _, err := readFrame(c); err == nil {
				say(c, "\x20\x02\x00\x01")
			}
		})
		e := failure(t, send(t, r, message("shop", 1), time.Minute))
		if e.Outcome != notify.BadTarget || !strings.Contains(e.Reason, "MQTT 5") {
			t.Errorf("%v: outcome %s", e, e.Outcome)
		}
	})
}

// granted is a CONNACK with properties.
func granted(properties string) string {
	return "\x20" + string([]byte{byte(3 + len(properties)), 0, 0, byte(len(properties))}) + properties
}

// bus is a broker that notes what is published and acknowledges it.
type bus struct {
	granted string

	mu      sync.Mutex
	topics  []string
	kinds   []byte
	connect string
	// most is how many messages were under way at once.
	most int
}

func (b *bus) play(c net.Conn) {
	_, connect, err := readFrame(c)
	if err != nil || !say(c, b.granted) {
		return
	}
	b.note(func() { b.connect = string(connect) })
	frames := make(chan []byte, 1000)
	go func() {
		defer close(frames)
		for {
			kind, rest, err := readFrame(c)
			if err != nil {
				return
			}
			b.note(func() { b.kinds = append(b.kinds, kind>>4) })
			if kind>>4 == 3 {
				frames <- rest
			}
		}
	}()
	for rest := range frames {
		// What is under way at once has come when everybody waits.
		synctest.Wait()
		b.note(func() { b.most = max(b.most, len(frames)+1) })
		size := int(rest[0])<<8 | int(rest[1])
		b.note(func() { b.topics = append(b.topics, string(rest[2:2+size])) })
		id := uint16(rest[2+size])<<8 | uint16(rest[3+size])
		if !say(c, puback(id, 0)) {
			return
		}
	}
}

func (b *bus) note(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
}

// TestBrokersLimitsAreKept: how large a packet may be, how many may be under way, and an alias for the topic, which is told once.
func TestBrokersLimitsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Receive Maximum 7, Topic Alias Maximum 1, Maximum Packet Size 4096.
		b := &bus{granted: granted("\x21\x00\x07\x22\x00\x01\x27\x00\x00\x10\x00")}
		r, _ := played(t, nil, b.play)
		m := message("shop", 20)
		m.Incidents[1].Message = strings.Repeat("x", 10_000)
		e := failure(t, send(t, r, m, time.Minute))
		if e.Outcome != notify.BadPayload || !slices.Equal(e.Refused, []int{1}) || !strings.Contains(e.Reason, "Maximum Packet Size") {
			t.Errorf("%v: outcome %s, refused %v", e, e.Outcome, e.Refused)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		want := append([]string{events + "shop"}, slices.Repeat([]string{""}, 18)...)
		if !slices.Equal(b.topics, want) || b.most > 7 || b.most < 2 {
			t.Errorf("topics %q, %d under way at once; want one topic, then its alias, and at most 7", b.topics, b.most)
		}
		r.Close()
	})
}

// TestConnectionOnDemandEndsAMinuteAfterItsLastUse and says so, so that no broker takes the site for lost.
func TestConnectionOnDemandEndsAMinuteAfterItsLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{granted: connack(0)}
		r, dials := played(t, nil, b.play)
		for range 3 {
			if err := send(t, r, message("shop", 1), time.Minute); err != nil {
				t.Fatal(err)
			}
			<-time.After(50 * time.Second)
		}
		if dials.Load() != 1 {
			t.Errorf("%d connections for messages within a minute, want 1", dials.Load())
		}
		<-time.After(time.Hour)
		b.mu.Lock()
		kinds := slices.Clone(b.kinds)
		b.mu.Unlock()
		if want := []byte{3, 3, 3, 14}; !slices.Equal(kinds, want) {
			t.Errorf("packets %v, want three messages, a disconnect and no ping: %v", kinds, want)
		}
		if err := send(t, r, message("shop", 1), time.Minute); err != nil || dials.Load() != 2 {
			t.Errorf("%v, %d connections", err, dials.Load())
		}
	})
}

// TestKeptConnectionIsTriedInSilenceAndReplaced: a ping before each keepAlive is over, and a new connection where no answer comes.
func TestKeptConnectionIsTriedInSilenceAndReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pings atomic.Int64
		var deaf atomic.Bool
		r, dials := played(t, func(s *mqtt.Config) { s.Connection, s.KeepAlive = "kept", 100*time.Second }, afterConnect(func(c net.Conn) {
			for {
				kind, rest, err := readFrame(c)
				switch {
				case err != nil:
					return
				case kind>>4 == 12 && deaf.Load():
				case kind>>4 == 12:
					pings.Add(1)
					say(c, "\xd0\x00")
				case kind>>4 == 3:
					size := int(rest[0])<<8 | int(rest[1])
					say(c, puback(uint16(rest[2+size])<<8|uint16(rest[3+size]), 0))
				}
			}
		}))
		stop := keep(t, r)
		<-time.After(1000 * time.Second)
		if pings.Load() < 10 || pings.Load() > 12 || dials.Load() != 1 {
			t.Errorf("%d pings over %d connections in ten times keepAlive", pings.Load(), dials.Load())
		}
		deaf.Store(true)
		<-time.After(150 * time.Second)
		deaf.Store(false)
		if dials.Load() != 2 {
			t.Errorf("%d connections after a broker that answered no ping, want 2", dials.Load())
		}
		if err := send(t, r, message("shop", 1), time.Minute); err != nil || dials.Load() != 2 {
			t.Errorf("%v over %d connections", err, dials.Load())
		}
		stop()
	})
}

// TestKeptConnectionWaitsForTheLinkAndDialsEverMoreSeldom.
func TestKeptConnectionWaitsForTheLinkAndDialsEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, dials := played(t, func(s *mqtt.Config) { s.Connection = "kept" }, func(net.Conn) {})
		ctx, cancel := context.WithCancel(t.Context())
		link := make(chan struct{})
		var running sync.WaitGroup
		running.Go(func() {
			r.(notify.Keeper).Keep(ctx, func(ctx context.Context) error {
				select {
				case <-link:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		<-time.After(time.Hour)
		if dials.Load() != 0 {
			t.Errorf("%d connections without a link", dials.Load())
		}
		close(link)
		<-time.After(24 * time.Hour)
		if n := dials.Load(); n < 24*12/2 || n > 24*12*2 {
			t.Errorf("%d connections in a day to a broker that ends each, want one each 5 minutes", n)
		}
		cancel()
		running.Wait()
	})
}
