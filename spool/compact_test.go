package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// churn lets the ledger hold n events of which, in each of the rounds, some new ones are taken and as many, of no certain age,
// forgotten. It ends with the pages as far apart as a cluster in trouble leaves them.
func (h *house) churn(r *rand.Rand, n, rounds int) {
	h.t.Helper()
	alive := make([]int, 0, n)
	next := 0
	for range rounds {
		h.update(func(tx *Tx) error {
			for range 10 {
				if len(alive) == n {
					i := r.IntN(n)
					if err := tx.Forget(eventID(alive[i])); err != nil {
						return err
					}
					alive[i] = alive[n-1]
					alive = alive[:n-1]
				}
				alive = append(alive, next)
				if err := tx.Take(eventID(next), Taken{Version: uint64(next), Count: 1}); err != nil {
					return err
				}
				next++
			}
			return nil
		})
	}
	h.view(func(tx *Tx) {
		for _, i := range alive {
			if _, ok := tx.Taken(eventID(i)); !ok {
				h.t.Fatalf("event %d of %d is forgotten", i, next)
			}
		}
	})
}

// fill puts n records with bodies of size bytes, each in a commit of its own.
func (h *house) fill(n, size int) {
	h.t.Helper()
	for i := range n {
		h.update(func(tx *Tx) error {
			return tx.Queue("ops").Put(Record{Key: fmt.Appendf(nil, "%08d", i), Untold: 1, Body: make([]byte, size)})
		})
	}
}

// In a soak of 48 minutes a ledger of pages that were half empty drove out records, and then its own entries.
func TestSparseLedgerDrivesNothingOut(t *testing.T) {
	r := seeded(t)
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	h.fill(100, 1000)
	h.churn(r, int(h.maxLedger())-100, 2400)
	records, lost := totalsOf(h)
	file, used := h.Size()
	t.Logf("file %d, used %d, %d records, %d lost, %d ledger entries, %d compactions", file, used, records, lost, h.ledgerLen(), h.Compactions())
	if records != 100 || lost != 0 {
		t.Errorf("%d records, %d lost", records, lost)
	}
	if h.Compactions() == 0 {
		t.Error("nothing was compacted: the test shows nothing")
	}
}

// A file whose pages are full gains nothing by a compaction, however long it stays at its bound.
func TestFullFileIsNotCompactedInVain(t *testing.T) {
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	h.fill(3200, 200)
	if _, lost := totalsOf(h); lost == 0 {
		t.Error("nothing was evicted: the test shows nothing")
	}
	if h.Compactions() != 0 {
		t.Errorf("%d compactions", h.Compactions())
	}
}

func TestDenseBytesIsWhatACompactionLeaves(t *testing.T) {
	r := seeded(t)
	for _, size := range []int{0, 700, 2100, 5000} {
		h := newHouse(t, Options{MaxBytes: 4 << 20})
		h.churn(r, 3000, 350)
		h.update(func(tx *Tx) error {
			for i := range min(400, 1<<20/(size+1)) {
				if err := tx.Queue("ops").Put(Record{Key: fmt.Append(nil, i), Body: make([]byte, size)}); err != nil {
					return err
				}
			}
			return nil
		})
		h.writer.Lock()
		want, err := h.denseBytes()
		if err == nil {
			err = h.compactOpen()
		}
		h.writer.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		_, used := h.Size()
		t.Logf("bodies of %d: %d bytes in use, %d foretold", size, used, want)
		if diff := max(used-want, want-used); diff > used/16 {
			t.Errorf("bodies of %d: %d bytes in use, %d foretold", size, used, want)
		}
	}
}

// While a compaction cannot be made the spool works as without it; what it could not do is not tried again with each commit.
func TestFailedCompactionLeavesEverythingInPlace(t *testing.T) {
	for name, fail := range map[string]func(name string, flag int, perm os.FileMode) (*os.File, error){
		"no room for the new file": func(string, int, os.FileMode) (*os.File, error) { return nil, syscall.ENOSPC },
		"no room in the new file": func(_ string, _ int, perm os.FileMode) (*os.File, error) {
			return os.OpenFile("/dev/full", os.O_RDWR, perm)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := seeded(t)
			failing, failed := false, 0
			h := newHouse(t, Options{MaxBytes: 1 << 20, OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
				if failing && strings.HasSuffix(name, ".new") && flag&os.O_RDWR != 0 {
					failed++
					return fail(name, flag, perm)
				}
				return os.OpenFile(name, flag, perm)
			}})
			failing = true
			h.fill(100, 1000)
			h.churn(r, int(h.maxLedger())-100, 1600)
			if failed == 0 || failed > 400 || h.Compactions() != 0 {
				t.Errorf("%d failed compactions, %d made", failed, h.Compactions())
			}
			if files, err := filepath.Glob(h.options.Path + ".new*"); err != nil || len(files) > 0 {
				t.Errorf("%v is left over, %v", files, err)
			}
			failing = false
			h.churn(r, int(h.maxLedger())-100, 1)
			h.reopen()
			if h.Rescued() != nil {
				t.Errorf("rescued: %v", h.Rescued().Cause)
			}
		})
	}
}

func TestFileThatCannotBeOpenedAfterACompactionIsOpenedLater(t *testing.T) {
	h := newHouse(t, Options{})
	refuse := false
	h.close()
	h.options.OpenFile = func(name string, flag int, perm os.FileMode) (*os.File, error) {
		if refuse && name == h.options.Path && flag&os.O_RDWR != 0 {
			return nil, syscall.EMFILE
		}
		return os.OpenFile(name, flag, perm)
	}
	h.open()
	h.put("ops", "a", "b", "c")
	h.take(0, 1000)
	refuse = true
	h.writer.Lock()
	err := h.compactOpen()
	h.writer.Unlock()
	if !errors.Is(err, syscall.EMFILE) {
		t.Fatal(err)
	}
	if err := h.Update(func(tx *Tx) error { return tx.SetPosition("", "1") }); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("update: %v", err)
	}
	refuse = false
	h.put("ops", "d")
	if keys := h.keys("ops"); len(keys) != 4 || h.ledgerLen() != 1000 || h.Rescued() != nil {
		t.Errorf("%v, ledger %d, rescued %v", keys, h.ledgerLen(), h.Rescued())
	}
}
