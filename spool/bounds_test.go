package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/place"
	"github.com/edge-eventer/edge-eventer/spool/retention"
)

// TestLockFileAloneKeepsASecondSpoolAway: the file itself is closed for a moment by each compaction and each rescue.
func TestLockFileAloneKeepsASecondSpoolAway(t *testing.T) {
	path := filepath.Join(ramDir(t), "spool.db.lock")
	first, err := place.Lock(path, place.OwnerOf(path))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := place.Lock(path, place.OwnerOf(path)); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v, %v", second, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := place.Lock(path, place.OwnerOf(path))
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

// TestExpiryOfManyTakesManyTransactions: a commit must not wait for the removal of a whole backlog.
func TestExpiryOfManyTakesManyTransactions(t *testing.T) {
	const records = 3 * retention.MaxExpire
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
		if left-n > retention.MaxExpire || n == left && n > 0 {
			t.Errorf("commit %d left %d of %d records", i, n, left)
		}
		left = n
	}
	if left > 0 || h.expired("ops").Records != records {
		t.Errorf("%d are left, expired %+v", left, h.expired("ops"))
	}
}

func TestMilestonesStayBoundedWhenMaxAgeGrows(t *testing.T) {
	h := newHouse(t, Options{MaxAge: time.Hour})
	step := func(pause time.Duration) {
		for i := range 100 {
			h.put("ops", fmt.Sprint(pause, i))
			h.clock = h.clock.Add(pause)
			h.view(func(tx *Tx) {
				table := retention.MilestonesOf(tx.txn)
				if len(table) > retention.MaxMilestones {
					t.Fatalf("%d milestones", len(table))
				}
				for i := range table[:max(0, len(table)-1)] {
					if table[i].Age > table[i+1].Age || table[i].Count > table[i+1].Count {
						t.Fatalf("out of order: %v", table)
					}
				}
			})
		}
	}
	step(time.Minute)
	h.close()
	h.options.MaxAge = 64 * time.Hour
	h.open()
	step(40 * time.Minute)
	if n := len(h.keys("ops")); n < 96 {
		t.Errorf("%d records are left of those of 64 hours", n)
	}
}

func TestEachRescueIsHandedOutOnce(t *testing.T) {
	h := newHouse(t, Options{})
	garbage := func(at int64) {
		h.put("ops", fmt.Sprint(at))
		file, err := os.OpenFile(h.options.Path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		size, _ := h.Size()
		if _, err := file.WriteAt(make([]byte, size-8192), 8192); err != nil {
			t.Fatal(err)
		}
		_ = h.View(func(tx *Tx) error { tx.Receivers(); return nil })
		h.view(func(*Tx) {})
	}
	before := generationOf(h)
	var want []string
	for i := range 3 {
		garbage(int64(i))
		want = append(want, h.Rescued().SetAside)
	}
	if n := generationOf(h) - before; n != 3 {
		t.Errorf("the generation grew by %d", n)
	}
	select {
	case <-h.Rescues():
	default:
		t.Error("nothing says that there was a rescue")
	}
	for _, setAside := range want {
		if next := h.NextRescue(); next == nil || next.SetAside != setAside || next.AtOpen {
			t.Errorf("%+v, want %s", next, setAside)
		}
	}
	if next := h.NextRescue(); next != nil {
		t.Errorf("one more: %+v", next)
	}
}

func generationOf(h *house) (n uint64) {
	h.t.Helper()
	h.view(func(tx *Tx) { n = tx.Generation() })
	return n
}
