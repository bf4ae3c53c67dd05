package agent

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/watch"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// eventTTL is how long an API server keeps an event that nobody touches: --event-ttl, by default 1 hour, which K3s leaves as
	// it is. Events that came and went in a longer absence were never seen.
	eventTTL = time.Hour
	// sightStamp is how often a quiet watch notes on disk that it still sees: 48 small commits a day.
	sightStamp = 30 * time.Minute
	// sightValue names the note.
	sightValue = "sight"
	// gapCounter names the number of gaps since the spool was made.
	gapCounter = "gaps"
)

// stampSight notes that up to now everything was seen.
func stampSight(tx *spool.Tx, now time.Time) error {
	return tx.SetValue(sightValue, binary.AppendVarint(nil, now.Unix()))
}

// lastSight returns when everything was last seen.
func lastSight(tx *spool.Tx) (time.Time, bool) {
	seconds, n := binary.Varint(tx.Value(sightValue))
	if n <= 0 {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0), true
}

// noteGap counts a loss of unknown size for each receiver when a list had to bridge an absence longer than events live. A
// watch that resumes at its position saw everything, however long it was away.
func (in *intake) noteGap(tx *spool.Tx, now time.Time) error {
	last, ok := lastSight(tx)
	if !ok || now.Sub(last) <= eventTTL {
		return nil
	}
	if err := in.lose(tx, spool.Loss{Cause: spool.Unseen, Since: last}); err != nil {
		return err
	}
	return tx.Add(gapCounter, 1)
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

// keepSight stamps the note while the watch is quiet and well, so that a later absence is measured from here. The history of the
// status page is written in the same transaction, and without the note while the watch does not see.
func (a *Agent) keepSight(ctx context.Context, s *spool.Spool) error {
	for wait(ctx, sightStamp) == nil {
		err := s.Update(func(tx *spool.Tx) error {
			if a.sees() {
				if err := stampSight(tx, time.Now()); err != nil {
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

// sees reports whether every namespace is being watched.
func (a *Agent) sees() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watcher == nil {
		return false
	}
	for _, n := range a.watcher.Status().Namespaces {
		if n.Failing != nil || n.State != watch.StateWatching {
			return false
		}
	}
	return true
}
