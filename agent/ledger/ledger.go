// Package ledger knows which event was taken at which version, so that each is told once however often it is shown.
//
// It promises that what is new is counted once: over lists and watches, restarts and other histories of the API server, for events that
// expired and were created again; and that an absence in which events may have come and gone unseen is told as a loss. Its memory is
// bounded: 512 KiB for lists that have not ended, 150 KiB for events that recur.
package ledger

import (
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/spool"
)

// Ledger is owned by the goroutine that commits.
type Ledger struct {
	// EventTTL is how long the API server keeps an event that nobody touches.
	EventTTL time.Duration
	// Lookback is how far back the first list of a namespace is news.
	Lookback time.Duration

	// lists has what the lists that have not ended showed so far, by namespace.
	lists     map[string]*listed
	recurring *recurrences
}

// New returns an empty ledger for events that live so long, and a first list that looks back so far.
func New(eventTTL, lookback time.Duration) *Ledger {
	return &Ledger{EventTTL: eventTTL, Lookback: lookback, lists: make(map[string]*listed), recurring: newRecurrences()}
}

// Load reads which events recur. Without it, events that are created again count from the beginning.
func (l *Ledger) Load(tx *spool.Tx) { l.recurring.load(tx) }

// Save writes which events recur.
func (l *Ledger) Save(tx *spool.Tx) error { return l.recurring.save(tx) }

// Transaction is the ledger within one transaction of the spool.
type Transaction struct {
	ledger *Ledger
	tx     *spool.Tx
	// counts are what the events of the transaction were observed, by recurrenceKey; recurred has them in their order.
	counts   map[uint64]uint32
	recurred []uint64
	// seen is how far each namespace was seen by the changes of the transaction.
	seen map[string]seenUntil
}

// Begin begins a transaction. What was remembered of a spool that was rescued since is forgotten.
func (l *Ledger) Begin(tx *spool.Tx) *Transaction {
	l.recurring.keepTo(tx.Generation())
	return &Transaction{ledger: l, tx: tx}
}

// Committed remembers what a transaction noted, once it is durable.
func (l *Ledger) Committed(t *Transaction) {
	for _, key := range t.recurred {
		l.recurring.remember(key, t.counts[key])
	}
}

func (t *Transaction) remember(key uint64, count uint32) {
	if t.counts == nil {
		t.counts = make(map[uint64]uint32)
	}
	if _, ok := t.counts[key]; !ok {
		t.recurred = append(t.recurred, key)
	}
	t.counts[key] = count
}

// Verdict says what an event is to the ledger.
type Verdict int

const (
	// Known was taken before in this version.
	Known Verdict = iota
	// Old was last seen before the lookback of the first list.
	Old
	// News was not taken before.
	News
)

// Arrival says when an event came, and how a list differs from the watch.
type Arrival struct {
	// At is when the event arrived.
	At time.Time
	// List is the resourceVersion of the list that showed it; 0: a watch did.
	List uint64
	// notBefore: events last seen before it are entered in the ledger, but are not news. Zero: all are.
	notBefore time.Time
	// replaced: resourceVersions in the ledger are of another history and only counts can be compared.
	replaced bool
	// position: every version up to it was taken. 0: that is not known.
	position uint64
}

// Take enters one version of an event into the ledger. Of News it returns how many observations are new; 0 for a change that observed
// nothing.
func (t *Transaction) Take(e *event.Event, a Arrival) (Verdict, uint32, error) {
	id := idOf(&e.ObjectMeta)
	version, err := event.ParseResourceVersion(e.ResourceVersion)
	if err != nil {
		return Known, 0, fmt.Errorf("take event %s/%s: %w", e.Namespace, e.Name, err)
	}
	observed := observedOf(e)
	taken, known := t.tx.Taken(id)
	if !known && version <= a.position && t.tx.Forgot(id) {
		// A list of more events than the ledger has room for would show the others as new each time.
		return Known, 0, nil
	}
	key := recurrenceKey(e)
	if !known {
		taken.Count, known = t.countedBefore(key)
	}
	isNew := newObservations(taken, known, version, observed, a.replaced)
	if isNew == alreadyTaken && (!a.replaced || taken.Version == version) {
		return Known, 0, nil
	}
	if err := t.tx.Take(id, spool.Taken{Version: version, Count: observed}); err != nil {
		return Known, 0, err
	}
	t.remember(key, observed)
	switch {
	case isNew == alreadyTaken:
		return Known, 0, nil
	case e.LastSeen().Before(a.notBefore):
		return Old, 0, nil
	}
	return News, uint32(isNew), nil
}

// countedBefore returns how often an event that the ledger does not know was observed when another object stood for it.
func (t *Transaction) countedBefore(key uint64) (uint32, bool) {
	if count, ok := t.counts[key]; ok {
		return count, true
	}
	return t.ledger.recurring.count(key)
}

func idOf(m *event.ObjectMeta) spool.EventID {
	return spool.EventID{UID: m.UID, Created: m.CreationTimestamp, Scope: m.Namespace}
}

// RecordKey returns the key of the event's record in the queue of a receiver that gets each event. The keys of what the ledger knows follow
// the order of arrival, so that an acknowledgement changes few pages of the spool.
func RecordKey(tx *spool.Tx, e *event.Event) []byte {
	key := tx.RecordKey(idOf(&e.ObjectMeta))
	return key[:]
}

func observedOf(e *event.Event) uint32 { return uint32(min(uint64(e.Observed()), 1<<32-1)) }

// TakeUnreadable enters an event that could not be read. It reports true where that is a loss: once for each of its versions, however
// often it is listed.
func (t *Transaction) TakeUnreadable(m *event.ObjectMeta, a Arrival) (lost bool, err error) {
	// What is no number is 0: then there is one version.
	version, _ := event.ParseResourceVersion(m.ResourceVersion)
	id := idOf(m)
	taken, known := t.tx.Taken(id)
	switch {
	case known && (a.replaced || version <= taken.Version):
		return false, nil
	case !known && version <= a.position && t.tx.Forgot(id):
		return false, nil
	}
	taken.Version = version
	if err := t.tx.Take(id, taken); err != nil {
		return false, err
	}
	return m.CreationTimestamp.IsZero() || !m.CreationTimestamp.Before(a.notBefore), nil
}

// Forget removes an event that the API server no longer has. How often it was observed is remembered, for it may be created again;
// of an unreadable one nobody knows.
func (t *Transaction) Forget(e *event.Event, unreadable bool) error {
	if !unreadable {
		t.remember(recurrenceKey(e), observedOf(e))
	}
	return t.tx.Forget(idOf(&e.ObjectMeta))
}

// alreadyTaken is what newObservations returns for a version that the ledger knows.
const alreadyTaken = -1

// newObservations returns how many observations of the event were not taken yet, 0 for a change that observed
// nothing new, and alreadyTaken for a version that was. Reporters throttle their writes, so counts jump; a count that
// falls back is a reporter that began to count again, of which one observation is certain.
func newObservations(taken spool.Taken, known bool, version uint64, observed uint32, replaced bool) int64 {
	switch {
	case !known:
		return int64(observed)
	case replaced && observed <= taken.Count, !replaced && version <= taken.Version:
		return alreadyTaken
	case observed < taken.Count:
		return 1
	}
	return int64(observed - taken.Count)
}
