package agent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// sightStamp is how often a quiet watch notes on disk that it still sees: 48 small commits a day.
	sightStamp = 30 * time.Minute
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
func outlived(tx *spool.Tx, e *event.Event, options *takeOptions) bool {
	version, err := event.ParseResourceVersion(e.ResourceVersion)
	if err != nil || options.replaced || version > options.position {
		return false
	}
	taken, known := tx.Taken(eventID(e))
	return known && taken.Version == version
}

// noteGap counts a loss of unknown size for each receiver when a list had to bridge an absence longer than events live. A
// watch that resumes at its position saw everything, however long it was away. stored is when the namespace was last seen as far
// as the disk tells.
func (in *intake) noteGap(tx *spool.Tx, page *watch.Page, stored time.Time) error {
	since, away, ok := absence(page, stored)
	if !ok || away <= in.eventTTL {
		return nil
	}
	if err := in.lose(tx, spool.Loss{Cause: spool.Unseen, Since: since}); err != nil {
		return err
	}
	return tx.Add(gapCounter, 1)
}

// absence returns since when a namespace was not seen before the list, and how long that was. While the agent runs, the clock that
// cannot be set tells. After a restart only wall clocks do: the agent's own and the API server's, of which the later one counts,
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

// lose counts a loss for each receiver: nobody knows which of them it would have matched.
func (in *intake) lose(tx *spool.Tx, l spool.Loss) error {
	for i := range in.routes {
		if err := tx.Queue(in.routes[i].receiver).Lose(l); err != nil {
			return fmt.Errorf("count loss for %s: %w", in.routes[i].receiver, err)
		}
	}
	return nil
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

// keepSight notes on disk up to when the watches saw, so that a later absence is measured from here. The history of the status page
// is written in the same transaction.
func (a *Agent) keepSight(ctx context.Context, in *intake) error {
	for wait(ctx, sightStamp) == nil {
		// It is read before it takes its place behind what was shown: of that nothing arrived later, however long the disk refuses.
		seen := a.seen()
		err := in.note(ctx, func(tx *spool.Tx) error {
			for _, n := range seen {
				if err := noteSight(tx, n.Namespace, n.Seen); err != nil {
					return err
				}
			}
			return a.storeHistory(tx)
		})
		if err != nil {
			a.logger.Debug("cannot note that the watch is well, and the history of the status page", "err", err)
		}
	}
	return nil
}

// noteSight moves the time of last sight. A namespace without a position waits for a list, which alone proves sight of it.
func noteSight(tx *spool.Tx, namespace string, at time.Time) error {
	state := tx.Scope(namespace)
	if at.IsZero() || state.Position == "" {
		return nil
	}
	state.Seen = at
	return tx.SetScope(namespace, state)
}

// seen returns how the watches stand.
func (a *Agent) seen() []watch.NamespaceStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watcher == nil {
		return nil
	}
	return a.watcher.Status().Namespaces
}
