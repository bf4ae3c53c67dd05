package mqtt

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

const (
	// maxWindow bounds the messages that are under way at once; a broker may allow fewer.
	maxWindow = 64
	// writeAtOnce is from what size on messages that are under way at once are written.
	writeAtOnce = 16 << 10
	// alias stands for the topic in all messages of a request but the first.
	alias = 1
)

// errUnanswered says that nobody knows what became of a message.
var errUnanswered = errors.New("no answer, the message may have arrived")

// session is a connection whose broker has said yes to CONNECT. Whoever has the receiver's turn writes; one goroutine reads.
type session struct {
	conn net.Conn
	// resident says that the connection is the running agent's own, kept that it is not on demand, and will that the broker publishes the
	// last will when it ends without a word.
	resident, kept, will bool
	// maxPacket is the largest packet that the broker takes, window how many messages it takes at once, and aliases says that it takes
	// an alias for a topic.
	maxPacket int
	window    int
	aliases   bool
	retain    bool
	// keepAlive is after how long a silence the broker is to hear something; 0: never.
	keepAlive time.Duration
	packetID  uint16
	// stateID is the packet of the state topic that is not acknowledged yet; 0: none. announced gets a token when it is, and stateRefused is
	// told a refusal.
	stateID      atomic.Uint32
	announced    chan struct{}
	stateRefused func(*refusal)

	// asked says that a ping has no answer yet.
	asked atomic.Bool

	// acks and pong are what the reader takes off the connection. When it ends, err is why, and then done is closed.
	acks chan ack
	pong chan struct{}
	done chan struct{}
	err  error
}

type ack struct {
	id      uint16
	refusal *refusal
}

// refusal is a reason of the broker's that is no yes.
type refusal struct {
	code byte
	text string
	// ended says that the broker ended the connection with it, connecting that it never began.
	ended, connecting bool
}

func (r *refusal) Error() string { return r.reason() }

func newSession(conn net.Conn, granted *packets.Connack, asked time.Duration) *session {
	s := &session{
		conn: conn, maxPacket: 1<<28 - 1, window: maxWindow, retain: true, keepAlive: asked,
		announced: make(chan struct{}, 1), acks: make(chan ack, maxWindow), pong: make(chan struct{}, 1), done: make(chan struct{}),
	}
	p := granted.Properties
	if p == nil {
		return s
	}
	if p.MaximumPacketSize != nil {
		s.maxPacket = int(min(*p.MaximumPacketSize, 1<<28-1))
	}
	if p.ReceiveMaximum != nil {
		s.window = min(s.window, max(1, int(*p.ReceiveMaximum)))
	}
	if p.ServerKeepAlive != nil {
		s.keepAlive = time.Duration(*p.ServerKeepAlive) * time.Second
	}
	s.aliases = p.TopicAliasMaximum != nil && *p.TopicAliasMaximum >= alias
	s.retain = p.RetainAvailable == nil || *p.RetainAvailable == 1
	return s
}

// read takes packets off the connection until it ends, and closes it then.
func (s *session) read(r *bufio.Reader) {
	defer close(s.done)
	defer hangUp(s.conn)
	for s.err == nil {
		p, err := readPacket(r)
		if err != nil {
			s.err = err
			return
		}
		switch content := p.Content.(type) {
		case *packets.Puback:
			s.acknowledged(content)
		case *packets.Pingresp:
			if !s.asked.CompareAndSwap(true, false) {
				s.err = errForeign
				return
			}
			s.pong <- struct{}{}
		case *packets.Disconnect:
			s.err = &refusal{code: content.ReasonCode, text: reasonText(content.Properties), ended: true}
		default:
			s.err = errForeign
		}
	}
}

func (s *session) acknowledged(p *packets.Puback) {
	a := ack{id: p.PacketID}
	// Below 0x80 is a yes (MQTT 5.0, 2.4), but for the one that says that nobody has it.
	if p.ReasonCode >= firstFailure || p.ReasonCode == reasonNoSubscribers {
		a.refusal = &refusal{code: p.ReasonCode, text: reasonText(p.Properties)}
	}
	if s.stateID.CompareAndSwap(uint32(p.PacketID), 0) {
		// The broker keeps what is retained also where nobody has subscribed.
		if a.refusal != nil && a.refusal.code >= firstFailure {
			s.stateRefused(a.refusal)
		}
		select {
		case s.announced <- struct{}{}:
		default:
		}
		return
	}
	select {
	case s.acks <- a:
	default:
		// More than was sent.
		s.err = errForeign
	}
}

func reasonText(p *packets.Properties) string {
	if p == nil {
		return ""
	}
	return p.ReasonString
}

// live reports whether the connection has not ended.
func (s *session) live() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// close ends the connection without a word, after which the broker publishes the last will, and returns when the reader has ended.
func (s *session) close() {
	hangUp(s.conn)
	<-s.done
}

// hangUp closes a connection at once: TLS would say goodbye first, for which a deaf broker lets it wait for seconds.
func hangUp(conn net.Conn) {
	if over, ok := conn.(*tls.Conn); ok {
		conn = over.NetConn()
	}
	_ = conn.Close()
}

// leave ends the connection as a client does that wants no last will published.
func (s *session) leave() {
	_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = s.conn.Write(encoded(packets.NewControlPacket(packets.DISCONNECT)))
	s.close()
}

func (s *session) nextID() uint16 {
	if s.packetID++; s.packetID == 0 {
		s.packetID = 1
	}
	return s.packetID
}

// write writes within ctx. A connection on which it failed is of no more use. What reads from it is not disturbed.
func (s *session) write(ctx context.Context, b []byte) error {
	return within(ctx, s.conn.SetWriteDeadline, func() error {
		_, err := s.conn.Write(b)
		return err
	})
}

// within ends what do reads or writes on a connection when ctx ends, by its deadline. Where ctx ends as do succeeds, the deadline is taken
// away again: the connection may have to say goodbye.
func within(ctx context.Context, deadline func(time.Time) error, do func() error) error {
	set := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = deadline(time.Unix(1, 0))
		close(set)
	})
	err := do()
	if !stop() {
		<-set
	}
	_ = deadline(time.Time{})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// announce publishes a retained message and does not wait for its acknowledgement.
func (s *session) announce(ctx context.Context, topic string, payload []byte) error {
	p := &packets.Publish{Topic: topic, Payload: payload, QoS: 1, Retain: true, PacketID: s.nextID(), Properties: &packets.Properties{}}
	select {
	case <-s.announced:
	default:
	}
	s.stateID.Store(uint32(p.PacketID))
	return s.write(ctx, encoded(p))
}

// awaitAnnounced returns when the broker has acknowledged what was announced last. An answer that meets a closed connection would end it for the
// broker before it has read the goodbye.
func (s *session) awaitAnnounced(ctx context.Context) error {
	select {
	case <-s.announced:
		return nil
	case <-s.done:
		return errUnanswered
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// publish publishes messages to a topic, several at once, and returns what became of each: nil for a yes, a *refusal, or why there was no
// answer. It returns within ctx.
func (s *session) publish(ctx context.Context, topic string, messages []*packets.Publish) []error {
	fates := make([]error, len(messages))
	underWay := make(map[uint16]int)
	aliased := false
	for next := 0; next < len(messages) || len(underWay) > 0; {
		var out []byte
		for ; next < len(messages) && len(underWay) < s.window && len(out) < writeAtOnce; next++ {
			p := messages[next]
			p.Topic, p.PacketID = topic, s.nextID()
			p.Properties.TopicAlias = nil
			if s.aliases && len(messages) > 1 {
				one := uint16(alias)
				p.Properties.TopicAlias = &one
				if aliased {
					p.Topic = ""
				}
			}
			b := encoded(p)
			if len(b) > s.maxPacket {
				fates[next] = &refusal{code: reasonTooLarge, text: "larger than the broker's Maximum Packet Size"}
				continue
			}
			aliased = true
			underWay[p.PacketID] = next
			out = append(out, b...)
		}
		var err error
		if len(out) > 0 {
			err = s.write(ctx, out)
		}
		if err == nil && len(underWay) > 0 && (next == len(messages) || len(underWay) == s.window) {
			err = s.await(ctx, fates, underWay)
		}
		if err != nil {
			s.giveUp(fates, underWay, next, err)
			return fates
		}
	}
	return fates
}

// await takes one acknowledgement.
func (s *session) await(ctx context.Context, fates []error, underWay map[uint16]int) error {
	select {
	case a := <-s.acks:
		return settle(a, fates, underWay)
	case <-s.done:
		return errUnanswered
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func settle(a ack, fates []error, underWay map[uint16]int) error {
	at, ok := underWay[a.id]
	if !ok {
		return errForeign
	}
	delete(underWay, a.id)
	if a.refusal != nil {
		fates[at] = a.refusal
	}
	return nil
}

// giveUp ends the session, on which a late acknowledgement would be taken for another message's, and notes why there was no answer to
// what is under way and what was not sent.
func (s *session) giveUp(fates []error, underWay map[uint16]int, next int, why error) {
	s.close()
	for drained := false; !drained; {
		select {
		case a := <-s.acks:
			_ = settle(a, fates, underWay)
		default:
			drained = true
		}
	}
	ended, refused := errors.AsType[*refusal](s.err)
	if refused {
		// The broker's word says more than what came of it.
		why = ended
	} else if errors.Is(s.err, errForeign) {
		why = errForeign
	}
	for _, at := range underWay {
		fates[at] = why
	}
	for at := next; at < len(fates); at++ {
		fates[at] = why
	}
}

// ping asks the broker whether it is there, which also keeps alive what on the way forgets silent connections. The caller reads the answer
// from pong.
func (s *session) ping(ctx context.Context) error {
	s.asked.Store(true)
	return s.write(ctx, encoded(packets.NewControlPacket(packets.PINGREQ)))
}
