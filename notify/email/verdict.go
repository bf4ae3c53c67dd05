package email

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

const (
	// serviceClosing is said by a server that closes the connection, whatever was asked.
	serviceClosing = 421
	// passwordTransition wants a person to sign in by other means once.
	passwordTransition = 432
	tooLarge           = 552
	// greylisting is how long a wait is at least when mail is put off: many servers refuse a stranger's first tries for minutes.
	greylisting = 5 * time.Minute
	// maxPolicies is from how many refusals by policy in a row on not the message is at fault: the full and the simple form of one are two.
	maxPolicies = 3
)

// failure says what an error means. s is the session with the stage in which it came.
func (r *receiver) failure(ctx context.Context, s *session, err error, password string) *notify.Error {
	if e, ok := errors.AsType[*notify.Error](err); ok {
		return e
	}
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		return r.refusal(s.at, answer, password)
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, foreign := errors.AsType[textproto.ProtocolError](err)
	if s.at < sender && r.Common.Doubt != nil {
		r.Common.Doubt(r.Destination(), untrusted || plain || foreign)
	}
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		// The connection's deadline is the same and may be noticed first.
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	reason := "the connection to the mail server broke"
	switch {
	case plain:
		reason = "the answer is no TLS (a captive portal, or a port that wants security: starttls)"
	case untrusted:
		reason = "the server's certificate is not trusted (a captive portal, a wrong clock, or tls.caFile is missing)"
	case foreign:
		reason = "the answer is not that of a mail server (perhaps a captive portal or a proxy)"
	case s.conn == nil:
		reason = "cannot connect"
	case s.at == closing:
		reason = "no answer, the message may have arrived"
	}
	return &notify.Error{Outcome: notify.Retry, Reason: reason, Err: err}
}

// refusal judges an answer that is not the one that was due: by its code, its enhanced code (RFC 3463) and the stage.
func (r *receiver) refusal(at stage, answer *textproto.Error, password string) *notify.Error {
	enhanced := regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`).FindString(answer.Msg)
	text := r.without(password, untrusted.Quoted(answer.Msg))
	e := &notify.Error{Outcome: notify.Retry, Code: strings.TrimSpace(strconv.Itoa(answer.Code) + " " + enhanced), Answer: []byte(text)}
	said := func(outcome notify.Outcome, reason string) *notify.Error {
		e.Outcome, e.Reason = outcome, strings.TrimSuffix(reason+": "+text, ": ")
		return e
	}
	switch {
	case answer.Code == passwordTransition, at == signingIn && answer.Code/100 == 5:
		return said(notify.BadTarget, "the mail server refuses user and password")
	case answer.Code/100 == 4 && answer.Code != serviceClosing && (at == sender || at == recipient):
		e.RetryAfter = greylisting
		return said(notify.Retry, "the mail server puts the message off")
	case answer.Code/100 == 4:
		return said(notify.Retry, "the mail server is not available")
	case answer.Code/100 != 5:
		return said(notify.Retry, "the mail server gave an answer that was not due")
	case at < sender:
		return said(notify.BadTarget, "the mail server does not serve this machine")
	case answer.Code == tooLarge && enhanced != "5.2.2", enhanced == "5.3.4":
		return said(notify.BadPayload, "the mail server refused the message as too large")
	case at == sender:
		return said(notify.BadTarget, "the mail server refuses mail from this sender")
	case at == recipient, strings.HasPrefix(enhanced, "5.1."), strings.HasPrefix(enhanced, "5.2."):
		return said(notify.BadTarget, "the mail server refuses mail to these recipients")
	case at == opening:
		// It has not seen the message yet.
		return said(notify.BadTarget, "the mail server takes no message")
	case strings.HasPrefix(enhanced, "5.7."):
		if r.policies++; r.policies >= maxPolicies {
			return said(notify.BadTarget, "the mail server refuses every message by its policy")
		}
		return said(notify.BadPayload, "the mail server refused the message by its policy")
	}
	return said(notify.BadPayload, "the mail server refused the message")
}

// without takes the password out of a text, also as it went over the wire.
func (r *receiver) without(password, text string) string {
	if password == "" {
		return text
	}
	encode := base64.StdEncoding.EncodeToString
	return strings.NewReplacer(
		encode([]byte("\x00"+r.config.User+"\x00"+password)), "<secret>", encode([]byte(password)), "<secret>", password, "<secret>",
	).Replace(text)
}
