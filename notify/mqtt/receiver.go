package mqtt

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/template"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// idleClose is how long a connection on demand is kept without work.
	idleClose = time.Minute
	// connectTimeout bounds a connection from the look-up of the name to the broker's yes, where ctx does not.
	connectTimeout = 30 * time.Second
	// defaultTimeout bounds an attempt where ctx does not.
	defaultTimeout = 3 * time.Minute
)

var errNoQoS1 = errors.New("the broker does not take QoS 1")

type receiver struct {
	config            *Config
	common            notify.Common
	dialer            *notify.Dialer
	topic, stateTopic *template.Text

	// turn holds a token while somebody uses what is below: an attempt, the goroutine that keeps the connection, or Close.
	turn chan struct{}
	// session is nil while there is no connection. idle ends one on demand. password is what it signed in with, files tells which files of
	// tls it was opened with.
	session  *session
	idle     *time.Timer
	password string
	files    [sha256.Size]byte
	// resident says that the agent runs, and the connection is the site's own; ending says that it stops.
	resident, ending bool
}

// New returns the receiver.
func (c *Config) New(common notify.Common) (notify.Receiver, error) {
	if common.Logger == nil {
		common.Logger = slog.New(slog.DiscardHandler)
	}
	r := &receiver{config: c, common: common, dialer: notify.NewDialer(common), turn: make(chan struct{}, 1)}
	var err error
	if r.topic, err = template.ParseTopic("topic", c.Topic, common); err != nil {
		return nil, err
	}
	if c.StateTopic != "" {
		if r.stateTopic, err = template.ParseTopic("stateTopic", c.StateTopic, common); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Limits bounds a batch by the configuration.
func (r *receiver) Limits() notify.Limits {
	return notify.Limits{Batch: r.config.Batch.Max, BatchBytes: r.config.Batch.MaxBytes, OldestFirst: true}
}

// Destination returns the host of the broker, "" where it cannot be known.
func (r *receiver) Destination() string {
	to, err := r.address()
	if err != nil {
		return ""
	}
	host, _, _ := net.SplitHostPort(to.hostPort)
	return host
}

func (r *receiver) address() (address, error) {
	text, err := r.config.URL.Read()
	if err != nil {
		return address{}, &notify.Error{Outcome: notify.BadTarget, Reason: "the URL cannot be read", Err: err}
	}
	to, err := parseAddress(text)
	if err != nil {
		return address{}, &notify.Error{Outcome: notify.BadTarget, Reason: "the URL " + err.Error()}
	}
	return to, nil
}

// Send publishes the messages and returns when the broker has acknowledged each of them, or ctx has ended. A connection that was kept and
// turns out to be dead is replaced once.
func (r *receiver) Send(ctx context.Context, request *notify.Request) error {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	if err := r.take(ctx); err != nil {
		return failure(ctx, err, r.redact)
	}
	defer r.release()
	for {
		before := r.session
		s, err := r.connected(ctx)
		if err != nil {
			return failure(ctx, err, r.redact)
		}
		fates := s.publish(ctx, request.Topic, messages(request))
		if !s.live() {
			r.drop()
			if s == before && ctx.Err() == nil && unheard(fates) {
				continue
			}
		}
		return verdict(ctx, request.Incidents, fates, r.redact)
	}
}

// unheard reports whether the broker said nothing of any message. That it shuts down, or heard nothing for too long, is the end of a
// connection that was kept and says nothing of what is sent now.
func unheard(fates []error) bool {
	for _, err := range fates {
		r, said := errors.AsType[*refusal](err)
		goodbye := said && r.ended && (r.code == reasonShuttingDown || r.code == reasonKeepAliveTimeout)
		if err == nil || said && !goodbye {
			return false
		}
	}
	return true
}

// take waits for the turn.
func (r *receiver) take(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// release gives the turn back. A connection on demand ends a minute after its last use.
func (r *receiver) release() {
	if r.idle != nil {
		r.idle.Reset(idleClose)
	}
	<-r.turn
}

// Close ends the connection. Where the agent stops, the broker is told so, which is not that the site is lost.
func (r *receiver) Close() {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if r.session != nil && r.session.live() {
		switch {
		case !r.session.will:
			r.session.leave()
		case r.ending:
			r.farewell()
		}
	}
	r.drop()
}

// farewell tells in the state topic that the agent was stopped.
func (r *receiver) farewell() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r.session.announce(ctx, r.stateTopicName(), r.state(stopped)) == nil && r.session.awaitAnnounced(ctx) == nil {
		r.session.leave()
	}
}

// drop forgets the connection. The caller has the turn.
func (r *receiver) drop() {
	if r.idle != nil {
		r.idle.Stop()
	}
	if r.session != nil {
		r.session.close()
	}
	r.session, r.idle = nil, nil
}

// connected returns the session, a new one where there is none or where the file of the password or one of tls changed. The caller has the
// turn.
func (r *receiver) connected(ctx context.Context) (*session, error) {
	password := ""
	if r.config.User != "" {
		text, err := r.config.Password.Read()
		if err != nil {
			return nil, &notify.Error{Outcome: notify.BadTarget, Reason: "the password cannot be read", Err: err}
		}
		password = text
	}
	files, err := r.dialer.Files()
	if err != nil {
		return nil, &notify.Error{Outcome: notify.Retry, Reason: "the files of tls cannot be used", Err: err}
	}
	if r.session != nil && r.session.live() && r.session.resident == r.resident && password == r.password && files == r.files {
		return r.session, nil
	}
	r.drop()
	r.password, r.files = password, files
	s, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	r.session = s
	if !s.kept {
		r.idle = time.AfterFunc(idleClose, r.closeIdle)
	}
	if topic := r.stateTopicName(); topic != "" && r.resident && s.retain {
		if err := s.announce(ctx, topic, r.state(up)); err != nil {
			r.drop()
			return nil, err
		}
	}
	return s, nil
}

// closeIdle ends a connection on demand unless it is in use, after which its timer is set anew.
func (r *receiver) closeIdle() {
	select {
	case r.turn <- struct{}{}:
	default:
		return
	}
	defer func() { <-r.turn }()
	if r.session != nil && r.session.kept {
		return
	}
	if r.session != nil && r.session.live() {
		r.session.leave()
	}
	r.drop()
}

// connect opens a connection and signs in.
func (r *receiver) connect(ctx context.Context) (*session, error) {
	to, err := r.address()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := r.dialer.Dial(ctx, "tcp", to.hostPort, to.secure)
	if err != nil {
		return nil, err
	}
	request := r.request()
	asked := time.Duration(request.KeepAlive) * time.Second
	from := bufio.NewReaderSize(conn, 512)
	var granted *packets.Connack
	err = within(ctx, conn.SetDeadline, func() error {
		if _, err := conn.Write(encoded(request)); err != nil {
			return err
		}
		granted, err = readConnack(from)
		return err
	})
	if err != nil {
		hangUp(conn)
		if _, said := errors.AsType[*refusal](err); !said {
			r.dialer.Doubt(to.hostPort, errors.Is(err, errForeign))
		}
		return nil, err
	}
	s := newSession(conn, granted, asked)
	s.resident, s.kept, s.will = r.resident, r.keeps(), request.WillFlag
	s.stateRefused = func(why *refusal) {
		r.common.Logger.Warn("the broker does not take the state of this site", "err", r.redact(why.reason()))
	}
	go s.read(from)
	return s, nil
}

func readConnack(from *bufio.Reader) (*packets.Connack, error) {
	p, err := readPacket(from)
	if err != nil {
		return nil, unanswered(err)
	}
	granted, ok := p.Content.(*packets.Connack)
	switch {
	case !ok:
		return nil, errForeign
	case granted.ReasonCode != 0:
		text := reasonText(granted.Properties)
		if elsewhere := granted.Properties.ServerReference; elsewhere != "" {
			text = strings.TrimSpace(text + " " + elsewhere)
		}
		return nil, &refusal{code: granted.ReasonCode, text: text, connecting: true}
	case granted.Properties != nil && granted.Properties.MaximumQOS != nil && *granted.Properties.MaximumQOS == 0:
		return nil, errNoQoS1
	}
	return granted, nil
}

// unanswered names the end of a connection on which no answer came.
func unanswered(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the broker closed the connection without an answer (TLS or a certificate of the agent's may be missing): %w", err)
	}
	return err
}

// request is CONNECT: a clean session that ends with its connection.
func (r *receiver) request() *packets.Connect {
	most := uint32(maxRead)
	c := &packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, CleanStart: true, ClientID: r.clientID(),
		Properties: &packets.Properties{MaximumPacketSize: &most},
	}
	if r.config.User != "" {
		c.UsernameFlag, c.Username = true, r.config.User
		c.PasswordFlag, c.Password = true, []byte(r.password)
	}
	if !r.keeps() {
		// Longer than such a connection is idle, so that nothing is sent only to keep it.
		c.KeepAlive = uint16(2 * idleClose / time.Second)
		return c
	}
	c.KeepAlive = uint16(r.config.KeepAlive / time.Second)
	if topic := r.stateTopicName(); topic != "" {
		c.WillFlag, c.WillQOS, c.WillRetain = true, 1, true
		c.WillTopic, c.WillMessage = topic, r.state(lost)
	}
	return c
}

// keeps reports whether the connection is the agent's own and to be kept.
func (r *receiver) keeps() bool { return r.resident && r.config.Connection == kept }

// clientID is the same at each connection of the agent's, so that a new one ends an old one that the broker takes for alive. A connection that
// is not the agent's own, such as that of a test, has another name, unless one is configured.
func (r *receiver) clientID() string {
	if r.config.ClientID != "" {
		return r.config.ClientID
	}
	id := strings.Map(func(c rune) rune {
		if notify.Only(string(c), 1, "-_.") {
			return c
		}
		return '-'
	}, "edge-eventer-"+r.common.Cluster+"-"+r.common.Name)
	id = untrusted.CutBytes(id, 110)
	if !r.resident {
		id += "-once"
	}
	return id
}

// redact takes the password out of what a broker says.
func (r *receiver) redact(text string) string {
	if len(r.password) < 4 {
		return text
	}
	return strings.ReplaceAll(text, r.password, "<secret>")
}
