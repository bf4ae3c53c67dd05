package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestLockFileAloneKeepsASecondSpoolAway: the file itself is closed for a moment by each compaction and each rescue.
func TestLockFileAloneKeepsASecondSpoolAway(t *testing.T) {
	path := filepath.Join(ramDir(t), "spool.db.lock")
	first, err := lockFile(path, ownerOf(path))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := lockFile(path, ownerOf(path)); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v, %v", second, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockFile(path, ownerOf(path))
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

// TestExpiryOfManyTakesManyTransactions: a commit must not wait for the removal of a whole backlog.
func TestExpiryOfManyTakesManyTransactions(t *testing.T) {
	const records = 3 * maxExpire
	h := newHouse(t, Options{MaxAge: time.Hour})
	h.update(func(tx *Tx) error {
		for i := range records {
			if err := tx.Queue("ops").Put(Record{Key: fmt.Append(nil, i), Untold: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	h.put("other", "first")
	h.clock = h.clock.Add(2 * time.Hour)
	left := records
	for i := range 4 {
		// No minute passes: what is left goes with the next commits.
		h.put("other", fmt.Sprint(i))
		n := len(h.keys("ops"))
		if left-n > maxExpire || n == left && n > 0 {
			t.Errorf("commit %d left %d of %d records", i, n, left)
		}
		left = n
	}
	if left > 0 || h.expired("ops").Records != records {
		t.Errorf("%d are left, expired %+v", left, h.expired("ops"))
	}
}
