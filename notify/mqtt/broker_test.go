package mqtt_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	server "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/mqtt"
)

// broker is a real one in this process, with a subscriber to everything of edge-eventer's.
type broker struct {
	*server.Server

	address string
	hook    *hook
	got     chan packets.Packet
	stop    func()
}

// hook signs clients in and decides what they may publish.
type hook struct {
	server.HookBase

	mu sync.Mutex
	// user and password are asked for where they are set. reason is the PUBACK of a message, by its payload; 0: that of the broker.
	user, password string
	reason         func(topic, payload string) byte
	clients        []string
}

func (h *hook) ID() string { return "test" }

func (h *hook) Provides(b byte) bool {
	return bytes.Contains([]byte{server.OnConnectAuthenticate, server.OnACLCheck, server.OnPublish}, []byte{b})
}

func (h *hook) OnConnectAuthenticate(cl *server.Client, pk packets.Packet) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients = append(h.clients, cl.ID)
	return h.user == "" || string(pk.Connect.Username) == h.user && string(pk.Connect.Password) == h.password
}

func (h *hook) OnACLCheck(*server.Client, string, bool) bool { return true }

func (h *hook) OnPublish(_ *server.Client, pk packets.Packet) (packets.Packet, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason == nil {
		return pk, nil
	}
	if code := h.reason(pk.TopicName, string(pk.Payload)); code != 0 {
		return pk, packets.Code{Code: code, Reason: "said the test"}
	}
	return pk, nil
}

func (h *hook) answer(reason func(topic, payload string) byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reason = reason
}

func (h *hook) connected() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.clients...)
}

func startBroker(t *testing.T, with *tls.Config) *broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{address: l.Addr().String(), hook: &hook{}, got: make(chan packets.Packet, 10_000)}
	if with != nil {
		l = tls.NewListener(l, with)
	}
	b.serve(t, l)
	return b
}

func (b *broker) serve(t *testing.T, l net.Listener) {
	t.Helper()
	s := server.New(&server.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	b.Server = s
	if err := errors.Join(s.AddHook(b.hook, nil), s.AddListener(listeners.NewNet("test", l)), s.Serve()); err != nil {
		t.Fatal(err)
	}
	b.stop = sync.OnceFunc(func() { _ = s.Close() })
	t.Cleanup(b.stop)
	err := s.Subscribe("edge-eventer/#", 1, func(_ *server.Client, _ packets.Subscription, pk packets.Packet) { b.got <- pk })
	if err != nil {
		t.Fatal(err)
	}
}

// take returns n messages of topics that begin with prefix.
func (b *broker) take(t *testing.T, prefix string, n int) []packets.Packet {
	t.Helper()
	var all []packets.Packet
	patience := time.After(time.Minute)
	for len(all) < n {
		select {
		case pk := <-b.got:
			if strings.HasPrefix(pk.TopicName, prefix) {
				all = append(all, pk)
			}
		case <-patience:
			t.Fatalf("%d of %d messages of %s arrived", len(all), n, prefix)
		}
	}
	return all
}

func receiver(t testing.TB, address string, change func(*mqtt.Config), common notify.Common) notify.Receiver {
	t.Helper()
	s := mqtt.Defaults().(*mqtt.Config)
	s.URL = notify.SecretValue("mqtt://" + address)
	if change != nil {
		change(s)
	}
	s.Check(func(key, format string, args ...any) { t.Errorf("%s: "+format, append([]any{key}, args...)...) })
	common.Name, common.Cluster = "bus", "shop-1"
	r, err := s.New(common)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func message(namespace string, n int) *notify.Message {
	m := notify.Sample("shop-1", time.Now())
	in := m.Incidents[0]
	m.Incidents = nil
	for i := range n {
		in.ID = fmt.Sprintf("incident-%d", i)
		in.Namespace, in.InvolvedObject.Namespace = namespace, namespace
		m.Incidents = append(m.Incidents, in)
	}
	return m
}

func send(t *testing.T, r notify.Receiver, m *notify.Message, within time.Duration) error {
	t.Helper()
	request, err := r.Render(m, notify.Full)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), within, errTimeout)
	defer cancel()
	return r.Send(ctx, request)
}

var errTimeout = errors.New("no answer within the time-out")

func failure(t *testing.T, err error) *notify.Error {
	t.Helper()
	e, ok := errors.AsType[*notify.Error](err)
	if !ok {
		t.Fatalf("%v, want an *Error", err)
	}
	return e
}

// keep runs what the agent runs beside the deliveries, until the test or stop ends it.
func keep(t *testing.T, r notify.Receiver) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.(notify.Keeper).Keep(ctx, context.Context.Err) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait(); r.Close() })
	t.Cleanup(stop)
	return stop
}

// connack is a CONNACK of a broker that is played by hand.
func connack(code byte) string { return "\x20\x03" + string([]byte{0, code, 0}) }

func puback(id uint16, code byte) string {
	return "\x40\x03" + string([]byte{byte(id >> 8), byte(id), code})
}

// readFrame reads a packet of the agent's: its kind, and what follows the length.
func readFrame(c io.Reader) (kind byte, rest []byte, err error) {
	var one [1]byte
	if _, err := io.ReadFull(c, one[:]); err != nil {
		return 0, nil, err
	}
	kind = one[0]
	size := 0
	for shift := 0; ; shift += 7 {
		if _, err := io.ReadFull(c, one[:]); err != nil {
			return 0, nil, err
		}
		size |= int(one[0]&0x7f) << shift
		if one[0] < 0x80 {
			break
		}
	}
	rest = make([]byte, size)
	_, err = io.ReadFull(c, rest)
	return kind, rest, err
}
