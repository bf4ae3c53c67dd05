package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// verdict sums up what became of the messages of a request. It returns nil only if the broker took each of them, for somebody.
func verdict(ctx context.Context, incidents int, fates []error, redact func(string) string) error {
	tally := notify.NewTally(incidents)
	var worst error
	for i, err := range fates {
		if err == nil {
			continue
		}
		o, ofTopic := outcomeOf(err)
		if tally.Fail(i, o, ofTopic) {
			worst = err
		}
	}
	if worst == nil {
		return nil
	}
	e := failure(ctx, worst, redact)
	e.Reason = fmt.Sprintf("%d of %d messages were not taken: %s", tally.Failed(), len(fates), e.Reason)
	tally.Settle(e)
	return e
}

// failure is an error of the whole receiver or of one message.
func failure(ctx context.Context, err error, redact func(string) string) *notify.Error {
	var e *notify.Error
	if errors.As(err, &e) {
		return e
	}
	e = &notify.Error{}
	e.Outcome, _ = outcomeOf(err)
	refused, byBroker := errors.AsType[*refusal](err)
	_, distrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case byBroker:
		e.Code, e.Reason = fmt.Sprintf("0x%02x", refused.code), redact(refused.reason())
	case distrusted:
		e.Reason = "the broker's certificate is not trusted (a captive portal, a wrong clock, or tls.caFile is missing)"
	case plain:
		e.Reason = "the answer is no TLS (a captive portal, or the port without TLS)"
	case errors.Is(err, errOld), errors.Is(err, errForeign), errors.Is(err, errUnanswered), errors.Is(err, errNoQoS1):
		e.Reason = untrusted.Quoted(redact(err.Error()))
	case ctx.Err() != nil:
		e.Reason = "the broker did not answer in time"
	default:
		e.Reason = "no connection to the broker: " + untrusted.Quoted(redact(err.Error()))
	}
	if cause := context.Cause(ctx); cause != nil {
		e.Err = cause
	}
	return e
}

// outcomeOf judges what is no yes, and says whether it is about the topic only. What is not listed is to be retried.
func outcomeOf(err error) (o notify.Outcome, ofTopic bool) {
	refused, ok := errors.AsType[*refusal](err)
	switch {
	case errors.Is(err, errOld), errors.Is(err, errNoQoS1):
		return notify.BadTarget, false
	case !ok:
		return notify.Retry, false
	}
	switch refused.code {
	case reasonNoSubscribers, reasonNotAuthorized, reasonTopicName:
		// Nobody has it, or it may not go there. In a CONNACK there is no topic.
		return notify.BadTarget, !refused.connecting
	case reasonTooLarge, reasonPayloadFormat:
		return notify.BadPayload, false
	case reasonVersion, reasonClientID, reasonUser, reasonBanned, reasonAuthMethod, reasonRetain, reasonQoS, reasonUseAnotherServer,
		reasonServerMoved:
		return notify.BadTarget, false
	}
	return notify.Retry, false
}

// reason says what an operator can do.
func (r *refusal) reason() string {
	known := map[byte]string{
		reasonNoSubscribers: "nobody has subscribed to the topic, so nobody has it", reasonVersion: "the broker does not speak MQTT 5",
		reasonClientID: "the broker refuses clientId", reasonUser: "user or password is wrong",
		reasonNotAuthorized: "not authorized by the broker", reasonBanned: "banned by the broker",
		reasonAuthMethod: "the broker wants another way to sign in", reasonTopicName: "the broker refuses the name of the topic",
		reasonServerBusy: "the broker is busy", 0x88: "the broker is not available", reasonShuttingDown: "the broker shuts down",
		reasonKeepAliveTimeout: "the broker heard nothing for too long", reasonTakenOver: "another client has connected with this clientId",
		reasonTooLarge: "the message is too large for the broker", 0x97: "the broker's quota is exceeded",
		reasonPayloadFormat: "the broker refuses the format of the message", reasonRetain: "the broker keeps no retained messages: empty stateTopic",
		reasonQoS: "the broker does not take QoS 1", reasonUseAnotherServer: "the broker asks to use another one",
		reasonServerMoved: "the broker has moved", 0x9F: "too many connections to the broker at once",
	}[r.code]
	if known == "" {
		known = "the broker refused the message"
		if r.connecting {
			known = "the broker refused the connection"
		}
	}
	if text := untrusted.Quoted(r.text); text != "" {
		known += ": " + text
	}
	if r.ended {
		known += " (it ended the connection)"
	}
	return known
}
