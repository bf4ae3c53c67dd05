package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

// MaxLists is of how many lists that have not ended it is remembered what they showed, in 128 KiB each. The watch lists one
// namespace after the other, but a list may pause.
const MaxLists = 4

// ErrAnew ends a list that has to begin anew.
var ErrAnew = errors.New("the list begins anew")

// errRescued ends a list in the middle of which the spool was rescued: what its first pages put may be lost. errNoRoom ends one that
// paused while others needed the room of what it had shown.
var (
	errRescued = fmt.Errorf("the spool was damaged while the list was taken: %w", ErrAnew)
	errNoRoom  = fmt.Errorf("other namespaces were listed in the middle of it: %w", ErrAnew)
)

// List is one page of a list within a transaction.
type List struct {
	// Arrival is that of all events of the page.
	Arrival Arrival
	t       *Transaction
	page    *watch.Page
	state   spool.Scope
	shown   *listed
	// listedBefore says that the namespace was listed to its end before, by this agent or an earlier one.
	listedBefore bool
}

// Page begins a page of a list. Its error is ErrAnew where what the pages before it showed is not known any more.
func (t *Transaction) Page(page *watch.Page, now time.Time) (*List, error) {
	if page.First {
		t.ledger.beginList(page.Namespace, t.tx.Generation())
	}
	shown := t.ledger.lists[page.Namespace]
	switch {
	case shown == nil:
		return nil, errNoRoom
	case shown.generation != t.tx.Generation():
		return nil, errRescued
	}
	l := &List{t: t, page: page, state: t.tx.Scope(page.Namespace), shown: shown}
	l.listedBefore = wasListed(t.tx, page.Namespace, &l.state)
	l.Arrival = Arrival{At: now, replaced: page.Replaced}
	if !l.listedBefore {
		l.Arrival.notBefore = now.Add(-t.ledger.Lookback)
	}
	if !page.Replaced {
		// What is no number knows nothing, and leaves the order to that of arrival.
		l.Arrival.List, _ = event.ParseResourceVersion(page.ResourceVersion)
		l.Arrival.position, _ = event.ParseResourceVersion(l.state.Position)
	}
	return l, nil
}

// Take is Transaction.Take for an event of the page.
func (l *List) Take(e *event.Event) (Verdict, uint32, error) {
	l.shown.add(idOf(&e.ObjectMeta).Key())
	l.shown.bridged = l.shown.bridged || outlived(l.t.tx, e, &l.Arrival)
	return l.t.Take(e, l.Arrival)
}

// TakeUnreadable is Transaction.TakeUnreadable for an event of the page.
func (l *List) TakeUnreadable(m *event.ObjectMeta) (lost bool, err error) {
	l.shown.add(idOf(m).Key())
	return l.t.TakeUnreadable(m, l.Arrival)
}

// End ends the list with its last page, forgets the events that it did not show, and moves the position. It returns the absence that
// the list had to bridge, nil where nothing can have come and gone unseen.
//
// The position moves only here: a list that breaks off is begun again, and the ledger makes what was already taken of it harmless.
func (l *List) End() (unseen *spool.Loss, err error) {
	tx, page := l.t.tx, l.page
	if l.listedBefore && !l.shown.bridged {
		if unseen, err = l.t.ledger.gap(tx, page, sightOf(tx, &l.state)); err != nil {
			return nil, err
		}
	}
	if _, err := tx.Sweep(page.Namespace, l.shown.mayHave); err != nil {
		return nil, err
	}
	if err := forgetOldNotes(tx, page.Namespace); err != nil {
		return nil, err
	}
	l.state.Position, l.state.Listed, l.state.Seen = page.ResourceVersion, true, page.At
	return unseen, tx.SetScope(page.Namespace, l.state)
}

// beginList makes room to remember what a list shows, if need be at the cost of another one that has not ended.
func (l *Ledger) beginList(namespace string, generation uint64) {
	if l.lists[namespace] == nil && len(l.lists) == MaxLists {
		for other := range l.lists {
			delete(l.lists, other)
			break
		}
	}
	l.lists[namespace] = &listed{generation: generation}
}

// EndedList gives up what is remembered of a list that is durable to its end.
func (l *Ledger) EndedList(namespace string) { delete(l.lists, namespace) }

// listed remembers which events a list showed, so that the ledger can forget all others. It is a Bloom filter of
// 128 KiB whatever the number of events: with 100,000 of them 1.2 % of the expired entries stay until the next list.
type listed struct {
	bits [1 << 17]byte
	// generation is that of the spool when the list began.
	generation uint64
	// bridged says that the list showed an event which outlived the time since everything was last seen; see outlived.
	bridged bool
}

// The UID in a key is random or a hash, so its four words serve as the four hashes.
func (s *listed) each(key spool.EventKey, visit func(word *byte, bit byte) bool) bool {
	for i := 4; i+4 <= len(key); i += 4 {
		n := (uint32(key[i])<<24 | uint32(key[i+1])<<16 | uint32(key[i+2])<<8 | uint32(key[i+3])) % uint32(8*len(s.bits))
		if !visit(&s.bits[n/8], 1<<(n%8)) {
			return false
		}
	}
	return true
}

func (s *listed) add(key spool.EventKey) {
	s.each(key, func(word *byte, bit byte) bool { *word |= bit; return true })
}

func (s *listed) mayHave(key spool.EventKey) bool {
	return s.each(key, func(word *byte, bit byte) bool { return *word&bit != 0 })
}
