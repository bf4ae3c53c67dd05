package incident

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/notify"
)

const (
	// maxObjects bounds the names of affected objects that an incident keeps.
	maxObjects = 8
	// maxObjectHashes bounds how many different objects an incident can tell apart: 64 hashes of 4 bytes.
	maxObjectHashes = 64
	// maxOccurrences keeps counts within the int32 that Kubernetes counts in.
	maxOccurrences = 1<<31 - 1
)

// Incident is the record that waits in a receiver's queue.
type Incident struct {
	// Event is the newest event that was folded in, by arrival: its own times are those of a clock that may be wrong.
	Event event.Event
	// Workload is the involved object's name without generated suffixes.
	Workload string
	// First and Last are the earliest first observation and the last one of the newest event, as the events say. Span bounds them
	// for show.
	First, Last time.Time
	// Opened and Active are when the agent took the first and the latest event, by its own clock.
	Opened, Active time.Time
	// Occurrences counts the observations, and Told how many of them the receiver has confirmed.
	Occurrences, Told uint32
	// ToldAt is when the receiver last confirmed; zero: never.
	ToldAt time.Time
	// Step is how long repeats are held back after ToldAt.
	Step time.Duration
	// Objects names the affected objects, newest first, at most 8.
	Objects []string
	// Own marks an incident of the agent itself.
	Own bool

	objectHashes []uint32
}

// Policy says when a receiver is told.
type Policy struct {
	// PerEvent makes every event an incident of its own, forgotten once told: fold: event.
	PerEvent bool
	// GroupWait is how long a first occurrence waits for companions.
	GroupWait time.Duration
	// GroupInterval is the first pause between two tellings of one incident; it doubles up to RepeatInterval.
	GroupInterval, RepeatInterval time.Duration
	// ResolveAfter is how long an incident is quiet before it is over.
	ResolveAfter time.Duration
}

// Observation is an event as it was taken.
type Observation struct {
	Event    event.Event
	Workload string
	// New counts the observations that were not taken before; 0 for a change of the event that observed nothing new.
	New uint32
	// At is the agent's clock.
	At time.Time
	// List is the resourceVersion of the list that showed the event, which is in no order of time; 0: a watch did, in order.
	List uint64
	// Own marks an event of the agent itself.
	Own bool
	// RecordKey identifies the event within the queue of a receiver that gets each; nil where the ledger does not know it.
	RecordKey []byte
}

// Key identifies the incident of an event within a queue: 16 bytes over namespace, kind, workload and reason.
func Key(namespace, kind, workload, reason string) []byte {
	h := sha256.New()
	for _, part := range []string{namespace, kind, workload, reason} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)[:16]
}

// Fold returns the incident with o folded in, and when it is due. A nil incident is one that did not exist before. It
// reports false where o is no news to anyone: nothing new was observed and nothing waits.
func (p Policy) Fold(in *Incident, o *Observation) (*Incident, time.Time, bool) {
	switch {
	case p.PerEvent:
		return p.foldEvent(in, o), o.At.Add(p.GroupWait), true
	case in == nil && o.New == 0:
		return nil, time.Time{}, false
	case in == nil, in.Untold() == 0 && o.New > 0 && in.quietAt(o.At, p.ResolveAfter):
		in = &Incident{First: o.Event.FirstSeen(), Opened: o.At}
		in.add(o, in.isNewest(o))
		return in, o.At.Add(p.GroupWait), true
	}
	waited := in.Untold() > 0
	returned := in.quietAt(o.At, p.ResolveAfter)
	in.add(o, in.isNewest(o))
	if in.Untold() == 0 {
		return in, p.due(in), true
	}
	if returned {
		// It was quiet long enough to be over, but the last repeats are still held back: it is told as news.
		in.Step = 0
	}
	due := p.due(in)
	if soonest := o.At.Add(p.GroupWait); !waited && due.Before(soonest) {
		due = soonest
	}
	return in, due, true
}

// foldEvent keeps the latest version of one event. Every version counts as untold, since an archive wants each update, and
// what its predecessors observed stays so while they wait.
func (p Policy) foldEvent(in *Incident, o *Observation) *Incident {
	var waiting uint32
	if in == nil {
		in = &Incident{First: o.Event.FirstSeen(), Opened: o.At}
	} else {
		waiting = in.Untold()
	}
	in.add(o, true)
	in.Occurrences = uint32(min(o.Event.Observed(), maxOccurrences))
	untold := max(uint64(waiting)+uint64(o.New), 1)
	in.Told = in.Occurrences - uint32(min(untold, uint64(in.Occurrences)))
	return in
}

// ToldUntil returns the incident after a receiver confirmed the occurrences of seen, an earlier reading of the same
// incident, and when it is due next. It reports false when nothing of it need be kept.
func (p Policy) ToldUntil(in, seen *Incident, at time.Time) (*Incident, time.Time, bool) {
	if p.PerEvent {
		// What came meanwhile is an update of its own, even if it observed nothing new.
		in.Told = min(max(in.Told, seen.Occurrences), max(in.Occurrences, 1)-1)
		return in, at, in.Event.ResourceVersion != seen.Event.ResourceVersion
	}
	if !in.Opened.Equal(seen.Opened) {
		// The incident ended and began anew while the message was on its way: the new one is news.
		return in, p.due(in), true
	}
	in.Told = max(in.Told, seen.Occurrences)
	in.ToldAt = at
	in.Step = min(max(2*in.Step, p.GroupInterval), p.RepeatInterval)
	if in.Untold() == 0 && in.quietAt(at, p.ResolveAfter) {
		return in, time.Time{}, false
	}
	return in, p.due(in), true
}

// Over reports whether the incident was told in full and has been quiet for ResolveAfter.
func (p Policy) Over(in *Incident, at time.Time) bool {
	return in.Untold() == 0 && in.quietAt(at, p.ResolveAfter)
}

// Ahead reports whether an incident that is due at the given time was noted by a clock that ran ahead of at, or by a policy
// with longer pauses. After Rebase it is not.
func (p Policy) Ahead(in *Incident, due, at time.Time) bool {
	firstTelling := in.Untold() > 0 && in.ToldAt.IsZero()
	return in.Active.After(at) || in.ToldAt.After(at) || firstTelling && due.After(at.Add(p.GroupWait)) || due.After(at.Add(p.Longest()))
}

// Rebase takes times that lie ahead of the clock back to at, and returns when the incident is due then. They were set
// before the clock was put back, and would hold the incident for as long as the clock was wrong. Opened stays, since it is part
// of the ID by which a receiver knows a repeated message: what was never told and opened ahead of the clock is due at once.
func (p Policy) Rebase(in *Incident, at time.Time) time.Time {
	for _, t := range []*time.Time{&in.Active, &in.ToldAt} {
		if t.After(at) {
			*t = at
		}
	}
	in.Step = min(in.Step, p.RepeatInterval)
	if in.Untold() > 0 && in.ToldAt.IsZero() && in.Opened.After(at) {
		return at
	}
	return p.due(in)
}

// Longest is the longest time by which a due time can lie ahead: a later one was set before the clock was put back.
func (p Policy) Longest() time.Duration {
	return max(p.GroupWait, p.RepeatInterval, p.ResolveAfter)
}

// due returns when the incident wants attention: to be told, or, when all is told, to be forgotten.
func (p Policy) due(in *Incident) time.Time {
	switch {
	case in.Untold() == 0:
		return in.Active.Add(p.ResolveAfter)
	case in.ToldAt.IsZero():
		return in.Opened.Add(p.GroupWait)
	}
	return in.ToldAt.Add(in.Step)
}

// Untold counts the observations that the receiver has not confirmed.
func (in *Incident) Untold() uint32 { return in.Occurrences - in.Told }

// quietAt reports whether nothing was observed for the given time. A clock that was put back makes Active lie ahead;
// then the incident is not quiet.
func (in *Incident) quietAt(at time.Time, resolveAfter time.Duration) bool {
	return at.Sub(in.Active) >= resolveAfter
}

// add takes the observation into counts, times and objects. The newest event becomes the sample.
func (in *Incident) add(o *Observation, newest bool) {
	if newest {
		in.Event = o.Event
		in.Last = o.Event.LastSeen()
		in.Workload = o.Workload
	}
	if first := o.Event.FirstSeen(); first.Before(in.First) {
		in.First = first
	}
	in.Own = o.Own
	in.Occurrences += min(o.New, maxOccurrences-in.Occurrences)
	if o.New > 0 {
		in.Active = o.At
	}
	in.addObject(o.Event.InvolvedObject.Name)
}

// isNewest reports whether the event is newer than all that were folded in. What a watch shows is; of a list, what has the higher
// resourceVersion. The sample of another history than the list's, whose version may lie above that of the list, is older.
func (in *Incident) isNewest(o *Observation) bool {
	if o.List == 0 {
		return true
	}
	sample, err := strconv.ParseUint(in.Event.ResourceVersion, 10, 64)
	if err != nil || sample > o.List {
		return true
	}
	version, err := strconv.ParseUint(o.Event.ResourceVersion, 10, 64)
	return err != nil || version > sample
}

// Span returns the times of the first and the latest observation for show: none lies ahead of now, as that of a node does whose
// clock is ahead, and the first not behind the latest.
func (in *Incident) Span(now time.Time) (first, last time.Time) {
	first, last = in.First, in.Last
	if last.After(now) {
		last = now
	}
	if first.After(last) {
		first = last
	}
	return first, last
}

func (in *Incident) addObject(name string) {
	if i := slices.Index(in.Objects, name); i >= 0 {
		in.Objects = slices.Delete(in.Objects, i, i+1)
	}
	in.Objects = slices.Insert(in.Objects, 0, name)
	in.Objects = in.Objects[:min(len(in.Objects), maxObjects)]

	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	sum := h.Sum32()
	if len(in.objectHashes) < maxObjectHashes && !slices.Contains(in.objectHashes, sum) {
		in.objectHashes = append(in.objectHashes, sum)
	}
}

// ObjectCount is how many different objects are affected; it stops at 64.
func (in *Incident) ObjectCount() int { return len(in.objectHashes) }

// Alert is the incident as receivers render it.
func (in *Incident) Alert(p Policy, cluster string, severity notify.Severity) notify.Incident {
	return notify.Incident{
		Event:       in.Event,
		ID:          in.id(p),
		Cluster:     cluster,
		Workload:    in.Workload,
		Severity:    severity,
		Occurrences: int(in.Occurrences),
		Untold:      int(in.Untold()),
		FirstSeen:   in.First,
		LastSeen:    in.Last,
		Objects:     in.Objects,
		ObjectCount: in.ObjectCount(),
		Own:         in.Own,
	}
}

// id is stable over retries and changes with the content. An event's is its UID with the version, so that receivers can
// match it with what kubectl shows.
func (in *Incident) id(p Policy) string {
	if p.PerEvent {
		return in.Event.UID + "." + in.Event.ResourceVersion
	}
	key := Key(in.Event.InvolvedObject.Namespace, in.Event.InvolvedObject.Kind, in.Workload, in.Event.Reason)
	return fmt.Sprintf("%s-%x-%d", hex.EncodeToString(key[:6]), in.Opened.UnixMicro(), in.Occurrences)
}
