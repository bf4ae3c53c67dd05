package email

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/smtp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
)

// stage is how far a submission came: what an answer means depends on it.
type stage int

const (
	// connecting is until the server's greeting.
	connecting stage = iota
	// greeting is EHLO, securing is STARTTLS and the handshake.
	greeting
	securing
	signingIn
	// sender and recipient are MAIL and RCPT.
	sender
	recipient
	// opening is DATA until the server says go on.
	opening
	// sending is the message, and closing the wait for the answer to its end.
	sending
	closing
)

const (
	dialTimeout      = 15 * time.Second
	handshakeTimeout = 15 * time.Second
	// commandTimeout bounds the wait for an answer. RFC 5321, section 4.5.3.2 wants 5 minutes, which no attempt has.
	commandTimeout = time.Minute
	// closingTimeout is for the answer to the message, for which servers look it through.
	closingTimeout = 2 * time.Minute
	// maxAnswer bounds what the server says in one stage, TLS included.
	maxAnswer = 64 << 10
)

// boundedConn fails when the other side says more than is left.
type boundedConn struct {
	net.Conn

	left int
}

var errTooLong = errors.New("the answer is too long")

// Read fails once the bound of the stage is used up.
func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// session is a connection to the server, ready for MAIL.
type session struct {
	conn   *boundedConn
	client *smtp.Client
	at     stage
	// used says that the last message over it was taken: the server may have closed it since.
	used bool
	// trust is what it was opened under.
	trust *tls.Config
}

// begin enters a stage, which ends at the latest after within.
func (s *session) begin(ctx context.Context, at stage, within time.Duration) {
	s.at, s.conn.left = at, maxAnswer
	deadline := time.Now().Add(within)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	_ = s.conn.SetDeadline(deadline)
}

// open connects, secures and signs in. The session is returned with an error too, for its stage.
func (r *receiver) open(ctx context.Context, password string) (*session, error) {
	s := &session{}
	host, _, _ := net.SplitHostPort(r.config.Smarthost)
	trust, err := r.trust.Config(&r.Common)
	if err != nil {
		return s, &notify.Error{Outcome: notify.Retry, Reason: "the files of tls cannot be used", Err: err}
	}
	s.trust = trust
	secured := trust.Clone()
	if secured.ServerName == "" {
		secured.ServerName = host
	}
	conn, err := r.dial(ctx)
	if err != nil {
		return s, err
	}
	s.conn = &boundedConn{Conn: conn}
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	if err := s.greet(ctx, r.config, host, secured); err != nil {
		return s, err
	}
	if r.config.User != "" {
		return s, s.signIn(ctx, r.config.User, password)
	}
	return s, nil
}

func (r *receiver) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := r.Common.DialContext
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return dial(ctx, "tcp", r.config.Smarthost)
}

func (s *session) greet(ctx context.Context, c *Config, host string, secured *tls.Config) (err error) {
	var conn net.Conn = s.conn
	if c.security() == securityTLS {
		s.begin(ctx, securing, handshakeTimeout)
		secure := tls.Client(s.conn, secured)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secure
	}
	s.begin(ctx, connecting, commandTimeout)
	if s.client, err = smtp.NewClient(conn, host); err != nil {
		return err
	}
	s.begin(ctx, greeting, commandTimeout)
	if err := s.client.Hello(c.Hello); err != nil {
		return err
	}
	if c.security() != securityStartTLS {
		return nil
	}
	if ok, _ := s.client.Extension("STARTTLS"); !ok {
		return &notify.Error{Outcome: notify.BadTarget, Reason: "the mail server offers no STARTTLS; nothing is sent in the clear (or somebody on the way hides it)"}
	}
	s.begin(ctx, securing, handshakeTimeout)
	return s.client.StartTLS(secured)
}

// signIn is by PLAIN, or by LOGIN where the server offers nothing else. Both show the password to the server, over TLS.
func (s *session) signIn(ctx context.Context, user, password string) error {
	s.begin(ctx, signingIn, commandTimeout)
	_, offered := s.client.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(offered))
	a := &credentials{user: user, password: password}
	switch {
	case slices.Contains(mechanisms, "PLAIN"):
		a.mechanism = "PLAIN"
	case slices.Contains(mechanisms, "LOGIN"):
		a.mechanism = "LOGIN"
	default:
		return &notify.Error{Outcome: notify.BadTarget, Reason: "the mail server offers neither AUTH PLAIN nor AUTH LOGIN"}
	}
	return s.client.Auth(a)
}

// credentials answer the server's questions of one sign-in.
type credentials struct {
	mechanism, user, password string
	asked                     int
}

// Start begins the exchange.
func (c *credentials) Start(*smtp.ServerInfo) (string, []byte, error) {
	if c.mechanism == "PLAIN" {
		return c.mechanism, []byte("\x00" + c.user + "\x00" + c.password), nil
	}
	return c.mechanism, nil, nil
}

// Next answers LOGIN's two questions.
func (c *credentials) Next(_ []byte, more bool) ([]byte, error) {
	c.asked++
	switch {
	case !more:
		return nil, nil
	case c.mechanism == "LOGIN" && c.asked == 1:
		return []byte(c.user), nil
	case c.mechanism == "LOGIN" && c.asked == 2:
		return []byte(c.password), nil
	}
	return nil, errors.New("the server asks too much")
}

// command sends a line and waits for an answer that begins with the digits of code.
func (s *session) command(ctx context.Context, at stage, code int, format string, args ...any) error {
	s.begin(ctx, at, commandTimeout)
	text := s.client.Text
	id, err := text.Cmd(format, args...)
	if err != nil {
		return err
	}
	text.StartResponse(id)
	defer text.EndResponse(id)
	_, _, err = text.ReadResponse(code)
	return err
}

// from says who sends how much. net/smtp's own would ask for SMTPUTF8, which a later server may not know, and this message does not need.
func (s *session) from(ctx context.Context, address string, size int) error {
	parameters := ""
	if ok, most := s.client.Extension("SIZE"); ok {
		if n, err := strconv.Atoi(most); err == nil && n > 0 && size > n {
			return &notify.Error{Outcome: notify.BadPayload, Reason: "the mail server takes no message as large as this"}
		}
		parameters = " SIZE=" + strconv.Itoa(size)
	}
	return s.command(ctx, sender, 25, "MAIL FROM:<%s>%s", address, parameters)
}

// content sends the message and returns nil for the server's 250.
func (s *session) content(ctx context.Context, body []byte) error {
	s.begin(ctx, opening, commandTimeout)
	w, err := s.client.Data()
	if err != nil {
		return err
	}
	s.begin(ctx, sending, closingTimeout)
	if _, err := w.Write(body); err != nil {
		return err
	}
	s.begin(ctx, closing, closingTimeout)
	return w.Close()
}

// close says goodbye over a connection that works, and does not wait for the answer.
func (s *session) close() {
	if s.conn == nil {
		return
	}
	if s.used {
		_ = s.conn.SetDeadline(time.Now().Add(time.Second))
		_ = s.client.Text.PrintfLine("QUIT")
	}
	_ = s.conn.Close()
}
