package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// sectorSize is what a power cut writes wholly or not at all.
const sectorSize = 512

// TestPowerCutLosesNoCommittedRecord mixes the file before and after a commit at the size of a sector, as a power cut
// leaves it: of the data pages any sectors may have been written, and the meta page only if all data were, because bbolt
// syncs in between.
func TestPowerCutLosesNoCommittedRecord(t *testing.T) {
	cuts := 200
	if testing.Short() {
		cuts = 100
	}
	r := seeded(t)
	for _, pageSize := range []int{1024, 4096} {
		h := newHouse(t, Options{PageSize: pageSize, MaxBytes: 1 << 20})
		path := filepath.Join(ramDir(t), "spool.db")
		n, next := 0, 0
		step := func() {
			h.update(func(tx *Tx) error {
				q := tx.Queue("ops")
				for range 1 + r.IntN(5) {
					next++
					record := Record{Key: fmt.Appendf(nil, "%d", next), Untold: 1, Body: bytes.Repeat([]byte{byte(next)}, r.IntN(1500))}
					if err := errors.Join(q.Put(record), tx.Take(eventID(next), Taken{Version: uint64(next), Count: 1})); err != nil {
						return err
					}
				}
				for i := range 10 {
					if err := tx.Take(scatteredID(10*next+i), Taken{Version: uint64(next), Count: 1}); err != nil {
						return err
					}
				}
				if r.IntN(30) == 0 {
					if _, err := tx.Sweep("", func(EventKey) bool { return r.IntN(8) > 0 }); err != nil {
						return err
					}
				}
				if oldest, ok := q.Oldest(); ok && q.Len() > 40 {
					if err := q.Delete(oldest.Key); err != nil {
						return err
					}
				}
				return tx.SetPosition("", fmt.Sprint(next))
			})
		}
		for range 30 {
			step()
		}
		before, snapBefore := readSpool(t, h)
		for range cuts / 2 {
			step()
			after, snapAfter := readSpool(t, h)
			metaWritten := r.IntN(3) == 0
			cut := mix(before, after, pageSize, metaWritten, r.IntN)
			if err := os.WriteFile(path, cut, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Options{Path: path, MaxBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			want := snapBefore
			if metaWritten {
				want = snapAfter
			}
			if s.Rescued() != nil {
				t.Errorf("cut %d: rescued %+v", n, s.Rescued())
			}
			err = s.View(func(tx *Tx) error {
				got := snapshotOf(tx)
				position, _ := tx.Position("")
				got["position"] = position
				for key, value := range want {
					if got[key] != value {
						return fmt.Errorf("%s: %.40s, want %.40s", key, got[key], value)
					}
				}
				if len(got) != len(want) {
					return fmt.Errorf("%d things, want %d", len(got), len(want))
				}
				return nil
			})
			if err = errors.Join(err, s.Close(), soundness(path)); err != nil {
				t.Fatalf("cut %d, meta page written %t: %v", n, metaWritten, err)
			}
			before, snapBefore = after, snapAfter
			n++
		}
	}
}

// readSpool returns the file as it is on the disk between two commits, and what it holds.
func readSpool(t *testing.T, h *house) ([]byte, snapshot) {
	t.Helper()
	data, err := os.ReadFile(h.options.Path)
	if err != nil {
		t.Fatal(err)
	}
	var s snapshot
	h.view(func(tx *Tx) {
		s = snapshotOf(tx)
		s["position"], _ = tx.Position("")
	})
	return data, s
}

func mix(before, after []byte, pageSize int, metaWritten bool, intN func(int) int) []byte {
	// The file may have grown: bbolt syncs the new length before it writes.
	cut := make([]byte, len(after))
	copy(cut, before)
	for at := 0; at < len(after); at += sectorSize {
		isMeta := at < 2*pageSize
		if isMeta && metaWritten || !isMeta && (metaWritten || intN(2) == 0) {
			copy(cut[at:at+sectorSize], after[at:])
		}
	}
	return cut
}
