package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// card counts what commits write: each page that they allocate, in bytes, and a meta page.
type card struct {
	*house

	bytes int64
}

func (c *card) update(fn func(tx *Tx) error) {
	c.t.Helper()
	before := c.db.Stats()
	c.house.update(fn)
	after := c.db.Stats()
	written := after.TxStats.Sub(&before.TxStats)
	c.bytes += written.GetPageAlloc() + int64(c.db.Info().PageSize)
}

// TestArchiveSparesTheCard lists events in the order of their names, which is in none of time, as an API server does, in commits of a page
// each, and acknowledges what is due by the hundred: what an archive costs. The bodies have 400 bytes.
func TestArchiveSparesTheCard(t *testing.T) {
	const page, batch = 250, 100
	events, most := 20_000, int64(1500)
	if testing.Short() {
		events = 5_000
	}
	random := seeded(t)
	c := &card{house: newHouse(t, Options{MaxBytes: 64 << 20})}
	order := random.Perm(events)
	took := 0
	list := func() {
		for part := range slices.Chunk(order, page) {
			c.update(func(tx *Tx) error {
				for _, n := range part {
					id := eventID(n)
					if err := tx.Take(id, Taken{Version: uint64(n), Count: 1}); err != nil {
						return err
					}
					key := tx.RecordKey(id)
					took++
					r := Record{Key: key[:], Due: epoch.Add(time.Duration(took) * time.Millisecond), Untold: 1, Body: make([]byte, 400)}
					if err := tx.Queue("archive").Put(r); err != nil {
						return err
					}
				}
				return tx.SetPosition("", fmt.Sprint(took))
			})
		}
	}
	list()
	listed := c.bytes
	for c.Queue("archive") > 0 {
		var keys [][]byte
		c.view(func(tx *Tx) {
			for r := range tx.Queue("archive").Due(epoch.Add(time.Hour)) {
				if keys = append(keys, slices.Clone(r.Key)); len(keys) == batch {
					break
				}
			}
		})
		c.update(func(tx *Tx) error {
			var errs []error
			for _, key := range keys {
				errs = append(errs, tx.Queue("archive").Delete(key))
			}
			return errors.Join(errs...)
		})
	}
	perEvent := c.bytes / int64(events)
	t.Logf("%d bytes written per event, %d of them to take it", perEvent, listed/int64(events))
	if perEvent > most {
		t.Errorf("%d bytes written per event, at most %d", perEvent, most)
	}
}

// Queue returns how many records the queue has.
func (c *card) Queue(name string) (n int) {
	c.t.Helper()
	c.view(func(tx *Tx) { n = tx.Queue(name).Len() })
	return n
}

// TestCommitIsCountedByThePage: on a kernel that keeps files in larger units a commit was counted as twice of what it wrote. In memory, where
// nothing is counted, the test shows nothing.
func TestCommitIsCountedByThePage(t *testing.T) {
	c := &card{house: newHouse(t, Options{Path: filepath.Join(t.TempDir(), "spool.db")})}
	counted := writtenBytes(t)
	for i := range 40 {
		c.update(func(tx *Tx) error {
			return tx.Queue("ops").Put(Record{Key: fmt.Append(nil, i), Untold: 1, Body: make([]byte, 400)})
		})
	}
	if counted = writtenBytes(t) - counted; counted > c.bytes+c.bytes/4 {
		t.Errorf("%d bytes counted, %d written", counted, c.bytes)
	}
}
