package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/notify/untrusted"
)

// verdict sums up what became of the records of a request.
type verdict struct {
	request *notify.Request
	index   map[*kgo.Record]int
	// errs are those of the records, by index; nil was written.
	errs []error
	// lostTouch says that some record got no answer from a broker.
	lostTouch bool
}

func newVerdict(request *notify.Request, records []*kgo.Record) *verdict {
	v := &verdict{request: request, index: make(map[*kgo.Record]int, len(records)), errs: make([]error, len(records))}
	for i, record := range records {
		v.index[record] = i
		v.errs[i] = errNoResult
	}
	return v
}

var errNoResult = errors.New("the client gave no result")

func (v *verdict) add(result kgo.ProduceResult) {
	i, ok := v.index[result.Record]
	if !ok {
		return
	}
	switch v.errs[i] = result.Err; {
	case errors.Is(result.Err, kerr.DuplicateSequenceNumber):
		// It is there already.
		v.errs[i] = nil
	case result.Err == nil && result.Record.Offset < 0:
		v.errs[i] = errNoResult
	}
}

// err returns nil if every record was written.
func (v *verdict) err(ctx context.Context) *notify.Error {
	tally := notify.NewTally(v.request.Incidents)
	var worst error
	for i, err := range v.errs {
		if err == nil {
			continue
		}
		if _, fromBroker := errors.AsType[*kerr.Error](err); !fromBroker {
			v.lostTouch = true
		}
		if o, ofTopic := outcomeOf(err); tally.Fail(i, o, ofTopic) {
			worst = err
		}
	}
	if worst == nil {
		return nil
	}
	code := ""
	if broker, ok := errors.AsType[*kerr.Error](worst); ok {
		code = strconv.Itoa(int(broker.Code))
	}
	e := &notify.Error{Code: code, Reason: fmt.Sprintf("%d of %d records were not written: %s", tally.Failed(), len(v.errs), reason(ctx, worst))}
	if cause := context.Cause(ctx); cause != nil {
		e.Err = cause
	}
	tally.Settle(e)
	return e
}

// reason says what an operator can do. No text of the client's holds a password.
func reason(ctx context.Context, err error) string {
	broker, fromBroker := errors.AsType[*kerr.Error](err)
	_, distrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, eof := errors.AsType[*kgo.ErrFirstReadEOF](err)
	switch {
	case fromBroker:
		return broker.Message + ": " + untrusted.Quoted(broker.Description)
	case distrusted:
		return "the broker's certificate is not trusted (a wrong clock, or tls.caFile is missing)"
	case eof:
		return "the broker closed the connection (sasl or TLS is missing, or the password is wrong)"
	case ctx.Err() != nil:
		return "no broker answered in time"
	}
	return untrusted.Quoted(err.Error())
}

// outcomeOf judges the error of a record, and says whether it is for the topic: it does not exist, or is forbidden. What is not listed is
// to be retried: leaders that move, storage, quotas, time-outs.
func outcomeOf(err error) (o notify.Outcome, ofTopic bool) {
	broker, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		return notify.Retry, false
	}
	switch broker.Code {
	case kerr.MessageTooLarge.Code, kerr.RecordListTooLarge.Code, kerr.InvalidRecord.Code, kerr.InvalidTimestamp.Code:
		return notify.BadPayload, false
	case kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code:
		// It may be in the making.
		return notify.Retry, true
	case kerr.TopicAuthorizationFailed.Code, kerr.InvalidTopicException.Code, kerr.PolicyViolation.Code:
		return notify.BadTarget, true
	case kerr.ClusterAuthorizationFailed.Code, kerr.TransactionalIDAuthorizationFailed.Code, kerr.UnsupportedSaslMechanism.Code,
		kerr.IllegalSaslState.Code, kerr.SaslAuthenticationFailed.Code, kerr.InvalidRequiredAcks.Code, kerr.UnsupportedVersion.Code,
		kerr.UnsupportedForMessageFormat.Code, kerr.UnsupportedCompressionType.Code:
		return notify.BadTarget, false
	}
	return notify.Retry, false
}
