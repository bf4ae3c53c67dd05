package email

import (
	"context"
	"errors"
	"net"
	"net/textproto"
	"sync"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/chat"
)

const (
	// sendTimeout bounds one message as a whole, where ctx does not.
	sendTimeout = 3 * time.Minute
	// idleClose is how long a connection without work is kept: long enough for what is told one after the other.
	idleClose = 20 * time.Second
	// patience is how long a recipient that is put off holds the others. Greylisting ends within minutes, a full mailbox does not.
	patience = time.Hour
)

// receiver submits mail to one server.
//
// Protocol: RFC 5321 and RFC 6409; STARTTLS: RFC 3207; AUTH: RFC 4954; TLS at once: RFC 8314.
type receiver struct {
	chat.Chat

	config *Config

	// mu guards what follows; idle closes the session from a goroutine of its own.
	mu      sync.Mutex
	trust   notify.Trust
	session *session
	idle    *time.Timer
	// password is the one that session signed in with.
	password string
	// policies counts messages in a row that the server refused by policy.
	policies int
	// putOff holds since when a recipient is put off while others are taken. refused holds those of which the log was told.
	putOff  map[string]time.Time
	refused map[string]bool
}

// Destination returns the host of the server.
func (r *receiver) Destination() string {
	host, _, _ := net.SplitHostPort(r.config.Smarthost)
	return host
}

// Close closes the connection.
func (r *receiver) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
}

// drop closes the connection. The caller holds mu.
func (r *receiver) drop() {
	if r.idle != nil {
		r.idle.Stop()
	}
	if r.session != nil {
		r.session.close()
	}
	r.session = nil
}

// closeIdle closes the connection unless a message is under way, which sets the timer anew.
func (r *receiver) closeIdle() {
	if r.mu.TryLock() {
		defer r.mu.Unlock()
		r.drop()
	}
}

// Send submits the message. A connection that was kept and is found closed is replaced once.
func (r *receiver) Send(ctx context.Context, request *notify.Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	password := ""
	if r.config.User != "" {
		var err error
		if password, err = r.config.Password.Read(); err != nil {
			return &notify.Error{Outcome: notify.BadTarget, Reason: "the password cannot be read", Err: err}
		}
	}
	s, err := r.connected(ctx, password)
	if err == nil {
		stale := s.used
		err = r.submit(ctx, s, request.Body)
		if err != nil && stale && s.at == sender && isGone(err) && ctx.Err() == nil {
			s.used = false
			r.drop()
			if s, err = r.connected(ctx, password); err == nil {
				err = r.submit(ctx, s, request.Body)
			}
		}
	}
	if err != nil {
		s.used = false
		r.drop()
		return r.failure(ctx, s, err, password)
	}
	s.used, r.policies = true, 0
	if r.idle == nil {
		r.idle = time.AfterFunc(idleClose, r.closeIdle)
	}
	r.idle.Reset(idleClose)
	return nil
}

// isGone reports that a connection which was kept is not there any more.
func isGone(err error) bool {
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		return answer.Code == serviceClosing
	}
	_, ours := errors.AsType[*notify.Error](err)
	return !ours
}

// connected returns the session, a new one where there is none, or where what it was opened with has changed.
func (r *receiver) connected(ctx context.Context, password string) (*session, error) {
	if r.session != nil {
		if trust, err := r.trust.Config(&r.Common); err == nil && trust == r.session.trust && password == r.password {
			return r.session, nil
		}
		r.drop()
	}
	s, err := r.open(ctx, password)
	r.session, r.password = s, password
	return s, err
}

// submit sends one message over the session.
func (r *receiver) submit(ctx context.Context, s *session, body []byte) error {
	release := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer release()
	if err := s.from(ctx, r.config.From, len(body)); err != nil {
		return err
	}
	if err := r.recipients(ctx, s); err != nil {
		return err
	}
	return s.content(ctx, body)
}

// recipients names them all. One that is refused while others are taken does not hold those: the log is told once. One that is put off
// holds them for an hour, since each would get the message twice otherwise.
func (r *receiver) recipients(ctx context.Context, s *session) error {
	taken := 0
	var putOff, refusal error
	for _, address := range r.config.To {
		err := s.command(ctx, recipient, 25, "RCPT TO:<%s>", address)
		answer, answered := errors.AsType[*textproto.Error](err)
		switch {
		case err == nil:
			taken++
			delete(r.putOff, address)
			delete(r.refused, address)
		case !answered || answer.Code == serviceClosing:
			return err
		case answer.Code/100 == 4:
			refusal = err
			if r.waitsFor(address) {
				putOff = err
			} else {
				r.tellRefused(address, answer)
			}
		default:
			refusal = err
			r.tellRefused(address, answer)
		}
	}
	switch {
	case putOff != nil && taken > 0:
		return putOff
	case taken == 0:
		return refusal
	}
	return nil
}

// waitsFor notes that a recipient was put off, and reports whether the others still wait for it.
func (r *receiver) waitsFor(address string) bool {
	since, known := r.putOff[address]
	if !known {
		if r.putOff == nil {
			r.putOff = make(map[string]time.Time)
		}
		since = time.Now()
		r.putOff[address] = since
	}
	return time.Since(since) < patience
}

func (r *receiver) tellRefused(address string, answer *textproto.Error) {
	if r.refused[address] || len(r.config.To) == 1 {
		return
	}
	if r.refused == nil {
		r.refused = make(map[string]bool)
	}
	r.refused[address] = true
	r.Common.Logger.Warn("the mail server refuses a recipient; the others get the mail", "receiver", r.Common.Name, "to", address, "code", answer.Code)
}
