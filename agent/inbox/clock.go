package inbox

import (
	"bytes"
	"fmt"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxRebase bounds one transaction that corrects due times.
	maxRebase = 256
	// leastStep is what a clock has to be set back by to be noticed: less delays a message by less.
	leastStep = time.Second
)

// wallClock notices that the wall clock was set back. A Pi whose real-time clock holds local time runs hours ahead until the
// network sets it, and what was noted meanwhile would wait for those hours.
type wallClock struct{ asked time.Time }

// setBack reports whether the clock was set back since it was last asked, as far as the monotonic clock tells; at first, nobody knows,
// and it was.
func (c *wallClock) setBack(now time.Time) bool {
	before := c.asked
	c.asked = now
	return before.IsZero() || stepped(now.Round(0).Sub(before.Round(0)), now.Sub(before))
}

func stepped(wall, elapsed time.Duration) bool { return elapsed-wall >= leastStep }

// rebase corrects what was noted by a clock that ran ahead and was set back since, in transactions of bounded size, of which
// there is none where nothing is to be corrected.
func (b *Inbox) rebase() error {
	corrected := 0
	for {
		keys, err := b.aheadOfClock()
		if err == nil && len(keys) > 0 {
			corrected += len(keys)
			err = b.rebaseKeys(keys)
		}
		if err != nil {
			return fmt.Errorf("correct due times after the clock was put back: %w", err)
		}
		if len(keys) < maxRebase {
			break
		}
	}
	if corrected > 0 && b.Rebased != nil {
		b.Rebased(corrected)
	}
	return nil
}

// aheadOfClock returns the keys of incidents that the clock would hold, maxRebase at most.
func (b *Inbox) aheadOfClock() (keys [][]byte, err error) {
	err = b.Spool.View(func(tx *spool.Tx) error {
		// Read after the transaction began, so that nothing in it was noted later.
		now := time.Now()
		for record := range tx.Queue(b.Receiver).All() {
			if !record.Due.After(now) {
				continue
			}
			in, err := incident.Decode(record.Body)
			if err != nil {
				return err
			}
			if b.Policy.Ahead(in, record.Due, now) {
				if keys = append(keys, bytes.Clone(record.Key)); len(keys) == maxRebase {
					break
				}
			}
		}
		return nil
	})
	return keys, err
}

func (b *Inbox) rebaseKeys(keys [][]byte) error {
	return b.Spool.Update(func(tx *spool.Tx) error {
		now := time.Now()
		q := tx.Queue(b.Receiver)
		for _, key := range keys {
			record, ok := q.Get(key)
			if !ok {
				continue
			}
			in, err := incident.Decode(record.Body)
			if err != nil {
				return err
			}
			if !b.Policy.Ahead(in, record.Due, now) {
				continue
			}
			due := b.Policy.Rebase(in, now)
			if err := put(q, key, due, in); err != nil {
				return err
			}
		}
		return nil
	})
}
