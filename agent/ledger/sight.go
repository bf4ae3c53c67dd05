package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// gapCounter names the number of gaps since the spool was made.
	gapCounter = "gaps"
	// clockSlack is by how much the clock of a restarted agent may lie behind the last note without having been put back.
	clockSlack = time.Minute
)

// seenUntil is how far a namespace was seen by the changes of one transaction.
type seenUntil struct {
	// position is the last resourceVersion, "" where none could be read.
	position string
	// at is when the last change arrived. That of its commit would be later by however long the disk refused it.
	at time.Time
}

// Saw notes that a change of the namespace arrived, in the version that its event has.
func (t *Transaction) Saw(namespace, resourceVersion string, at time.Time) {
	if t.seen == nil {
		t.seen = make(map[string]seenUntil)
	}
	until := t.seen[namespace]
	until.at = at
	if _, err := event.ParseResourceVersion(resourceVersion); err == nil {
		// Of what cannot be read the version may be missing too. The position moves with the next change.
		until.position = resourceVersion
	}
	t.seen[namespace] = until
}

// Close writes up to where the namespaces were seen by the changes of the transaction.
func (t *Transaction) Close() error {
	for namespace, until := range t.seen {
		if err := until.write(t.tx, namespace); err != nil {
			return err
		}
	}
	return nil
}

func (s seenUntil) write(tx *spool.Tx, namespace string) error {
	state := tx.Scope(namespace)
	if state.Position == "" {
		// A rescue took the position, for events may be lost with what was damaged. Only a list may set it again, or prove sight.
		return nil
	}
	if s.position != "" {
		state.Position = s.position
	}
	if !s.at.IsZero() {
		state.Seen = s.at
	}
	return tx.SetScope(namespace, state)
}

// outlived reports whether a listed event proves that nothing was missed since everything was last seen: it was taken before then in
// just this version, and is still there. Whatever came later expires later, whatever the time to live is and whatever any clock shows.
func outlived(tx *spool.Tx, e *event.Event, a *Arrival) bool {
	version, err := event.ParseResourceVersion(e.ResourceVersion)
	if err != nil || a.replaced || version > a.position {
		return false
	}
	taken, known := tx.Taken(idOf(&e.ObjectMeta))
	return known && taken.Version == version
}

// gap returns the loss of unknown size of a list that had to bridge an absence longer than events live, and counts it. A
// watch that resumes at its position saw everything, however long it was away. stored is when the namespace was last seen as far
// as the disk tells.
func (l *Ledger) gap(tx *spool.Tx, page *watch.Page, stored time.Time) (*spool.Loss, error) {
	since, away, ok := absence(page, stored)
	if !ok || away <= l.EventTTL {
		return nil, nil
	}
	return &spool.Loss{Cause: spool.Unseen, Since: since}, tx.Add(gapCounter, 1)
}

// Gaps returns the number of such absences since the spool was made.
func Gaps(tx *spool.Tx) uint64 { return tx.Counter(gapCounter) }

// absence returns since when a namespace was not seen before the list, and how long that was. While the agent runs, the monotonic clock
// tells. After a restart only wall clocks do: the agent's own and the API server's, of which the later one counts,
// for a Pi starts with an old time. Where both lie before the last sight they are wrong, and the absence may be of any length.
func absence(page *watch.Page, stored time.Time) (since time.Time, away time.Duration, ok bool) {
	if !page.Seen.IsZero() {
		return page.Seen, page.At.Sub(page.Seen), true
	}
	if stored.IsZero() {
		return time.Time{}, 0, false
	}
	away = page.At.Round(0).Sub(stored)
	if !page.Date.IsZero() {
		away = max(away, page.Date.Sub(stored))
	}
	if away < -clockSlack {
		away = 1<<63 - 1
	}
	return stored, away, true
}

// The notes of releases before the table of namespaces: one time of sight for all, and one value for each namespace that was listed.
const oldSight = "sight"

func oldListed(namespace string) string {
	sum := sha256.Sum256([]byte(namespace))
	return fmt.Sprintf("listed-%x", sum[:8])
}

// wasListed reports whether the namespace was ever listed to its end. A spool that was rescued from damage may have lost the
// position, and what is missed since is news all the same, however old.
func wasListed(tx *spool.Tx, namespace string, state *spool.Scope) bool {
	return state.Listed || state.Position != "" || len(tx.Value(oldListed(namespace))) > 0
}

// sightOf returns when the namespace was last seen; the zero time stands for never.
func sightOf(tx *spool.Tx, state *spool.Scope) time.Time {
	if !state.Seen.IsZero() {
		return state.Seen
	}
	if seconds, n := binary.Varint(tx.Value(oldSight)); n > 0 {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

// forgetOldNotes removes the note of an older release once the table has its own.
func forgetOldNotes(tx *spool.Tx, namespace string) error {
	return tx.SetValue(oldListed(namespace), nil)
}

// NoteSight moves the time of last sight. A namespace without a position waits for a list, which alone proves sight of it.
func NoteSight(tx *spool.Tx, namespace string, at time.Time) error {
	state := tx.Scope(namespace)
	if at.IsZero() || state.Position == "" {
		return nil
	}
	state.Seen = at
	return tx.SetScope(namespace, state)
}
