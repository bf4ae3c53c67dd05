package inbox

import (
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/notice"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Fold folds the observation into the record of its incident. It reports whether the incident had one already.
func Fold(q *spool.Queue, policy incident.Policy, o *incident.Observation) (joined bool, err error) {
	record, in, err := Pending(q, policy, o)
	if err != nil {
		return false, err
	}
	joined = in != nil
	folded, due, ok := policy.Fold(in, o)
	if !ok {
		return joined, nil
	}
	return joined, put(q, record.Key, due, folded)
}

// FoldOwn folds an observation of the agent itself. A notice begins anew once the last one was notified, so that it is not held back
// as a repeat; of those that are pending, the latest is told.
func FoldOwn(q *spool.Queue, policy incident.Policy, o *incident.Observation) error {
	record, in, err := Pending(q, policy, o)
	if err != nil {
		return err
	}
	if in != nil && notice.Is(o.Event.Reason) && in.Untold() == 0 {
		in = nil
	}
	folded, due, ok := policy.Fold(in, o)
	if !ok {
		return nil
	}
	return put(q, record.Key, due, folded)
}

// Pending returns the record of the observation's incident and the incident in it; nil if it has none yet. The record's
// key is set in any case.
func Pending(q *spool.Queue, policy incident.Policy, o *incident.Observation) (spool.Record, *incident.Incident, error) {
	e := &o.Event
	key := incident.Key(e.InvolvedObject.Namespace, e.InvolvedObject.Kind, o.Workload, e.Reason)
	switch {
	case policy.PerEvent && o.RecordKey != nil:
		key = o.RecordKey
	case policy.PerEvent:
		// The ledger does not know what the agent reports of itself.
		eventKey := spool.EventID{UID: e.UID, Created: e.CreationTimestamp, Scope: e.Namespace}.Key()
		key = eventKey[:]
	}
	record, ok := q.Get(key)
	record.Key = key
	if !ok {
		return record, nil, nil
	}
	in, err := incident.Decode(record.Body)
	return record, in, err
}

// put stores the incident under the key, cut so that it fits into the spool: one long message must not stop all others.
func put(q *spool.Queue, key []byte, due time.Time, in *incident.Incident) error {
	body := in.Append(nil)
	if len(body) > spool.LeastBody {
		body = in.AppendWithin(body[:0], q.MaxBody())
	}
	return q.Put(spool.Record{Key: key, Due: due, Untold: in.Untold(), Body: body})
}
