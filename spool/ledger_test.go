package spool

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/format"
)

func eventID(i int) EventID {
	return EventID{
		UID:     fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i)*2654435761, i),
		Created: epoch.Add(time.Duration(i/10) * time.Second),
		Scope:   fmt.Sprintf("ns%d", i%3),
	}
}

// scatteredID is an event that was created at another time than those of the numbers beside it.
func scatteredID(i int) EventID {
	id := eventID(100_000 + i)
	id.Created = epoch.Add(-time.Duration(i*7919%50_021) * time.Second)
	return id
}

func (h *house) take(from, to int) {
	h.t.Helper()
	for ; from < to; from += 500 {
		h.update(func(tx *Tx) error {
			for i := from; i < min(from+500, to); i++ {
				if err := tx.Take(eventID(i), Taken{Version: uint64(i), Count: 1}); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (h *house) ledgerLen() (n int) {
	h.t.Helper()
	h.view(func(tx *Tx) { n = tx.LedgerLen() })
	return n
}

func TestLedgerKnowsWhatWasTaken(t *testing.T) {
	h := newHouse(t, Options{})
	h.take(0, 100)
	h.update(func(tx *Tx) error { return tx.Take(eventID(7), Taken{Version: 700, Count: 3}) })
	h.update(func(tx *Tx) error { return tx.Forget(eventID(8)) })
	h.update(func(tx *Tx) error { return tx.Forget(eventID(8)) })
	h.reopen()
	h.view(func(tx *Tx) {
		if got, ok := tx.Taken(eventID(7)); got != (Taken{Version: 700, Count: 3}) || !ok {
			t.Errorf("%v, %t", got, ok)
		}
		if _, ok := tx.Taken(eventID(8)); ok {
			t.Error("a forgotten event is known")
		}
		if n := tx.LedgerLen(); n != 99 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestLedgerKeyIsTimeThenUID(t *testing.T) {
	id := EventID{UID: "01234567-89ab-cdef-0123-456789abcdef", Created: time.Unix(0x01020304, 5)}
	if got := fmt.Sprintf("%x", id.Key()); got != "01020304"+"0123456789abcdef0123456789abcdef" {
		t.Error(got)
	}
	for _, uid := range []string{"", "not-a-uuid", "01234567-89AB-cdef-0123-456789abcdef", "01234567+89ab-cdef-0123-456789abcdef"} {
		id := EventID{UID: uid, Created: time.Time{}}
		if got := fmt.Sprintf("%x", id.Key()); got[:8] != "00000000" || got[8:] == "0123456789abcdef0123456789abcdef" {
			t.Errorf("%q: %s", uid, got)
		}
	}
}

func TestLedgerSweepRemovesWhatIsNotAlive(t *testing.T) {
	h := newHouse(t, Options{})
	h.take(0, 3000)
	alive := make(map[EventKey]bool)
	for i := 0; i < 3000; i += 2 {
		alive[eventID(i).Key()] = true
	}
	sweep := func(namespace string) (n int) {
		h.update(func(tx *Tx) (err error) {
			n, err = tx.Sweep(namespace, func(key EventKey) bool { return alive[key] })
			return err
		})
		return n
	}
	if n := sweep("ns1"); n != 500 {
		t.Errorf("swept %d of one namespace", n)
	}
	if n := sweep(""); n != 1000 {
		t.Errorf("swept %d of the rest", n)
	}
	if n := h.ledgerLen(); n != 1500 {
		t.Errorf("%d left", n)
	}
	h.view(func(tx *Tx) {
		for i := range 3000 {
			if _, ok := tx.Taken(eventID(i)); ok != (i%2 == 0) {
				t.Fatalf("event %d: %t", i, ok)
			}
		}
	})
}

func TestSweepOfMuchIsBoundedAndGoesOn(t *testing.T) {
	h := newHouse(t, Options{})
	h.take(0, 50_000)
	calls, removed := 0, 0
	for h.ledgerLen() > 0 {
		h.update(func(tx *Tx) error {
			n, err := tx.Sweep("", func(EventKey) bool { return false })
			removed += n
			return err
		})
		calls++
	}
	if calls < 2 || removed != 50_000 {
		t.Errorf("%d calls removed %d", calls, removed)
	}
}

func TestLedgerIsBoundedAndForgetsTheOldest(t *testing.T) {
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	limit := int(h.maxLedger())
	h.take(0, 2*limit)
	if n := h.ledgerLen(); n > limit || n < limit-limit/32 {
		t.Errorf("%d entries, limit %d", n, limit)
	}
	h.view(func(tx *Tx) {
		if _, ok := tx.Taken(eventID(0)); ok {
			t.Error("the oldest is still known")
		}
		if _, ok := tx.Taken(eventID(2*limit - 1)); !ok {
			t.Error("the newest is not known")
		}
	})
}

func TestLedgerSaysWhatItMayHaveForgotten(t *testing.T) {
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	limit := int(h.maxLedger())
	h.take(0, limit)
	h.view(func(tx *Tx) {
		if tx.Forgot(EventID{UID: "early", Created: epoch.Add(-time.Hour)}) {
			t.Error("something is forgotten although everything had room")
		}
	})
	h.take(limit, 2*limit)
	h.reopen()
	h.writer.Lock()
	err := h.compactOpen()
	h.writer.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	h.view(func(tx *Tx) {
		for id, want := range map[EventID]bool{
			eventID(0): true, eventID(2*limit - 1): false, eventID(2 * limit): false,
			{UID: "early", Created: epoch.Add(-time.Hour)}: true, {UID: "late", Created: epoch.Add(1e6 * time.Second)}: false,
		} {
			if got := tx.Forgot(id); got != want {
				t.Errorf("%s of %s: %t, want %t", id.UID, id.Created, got, want)
			}
		}
	})
}

// A file of a release that did not count what it forgot.
func TestTotalsOfAnOlderReleaseAreRead(t *testing.T) {
	want := format.Totals{NextSeq: 1, Rev: 2, LedgerLen: 3}
	if got, err := format.DecodeTotals(want.Append(nil)[:24]); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestRecordKeyFollowsTheOrderOfArrival: an update keeps the key, also over a reopening, what an older release took has its key of then.
func TestRecordKeyFollowsTheOrderOfArrival(t *testing.T) {
	h := newHouse(t, Options{})
	var keys []EventKey
	for _, i := range []int{900, 5, 400} {
		h.update(func(tx *Tx) error { return tx.Take(eventID(i), Taken{Version: 1, Count: 1}) })
		h.view(func(tx *Tx) { keys = append(keys, tx.RecordKey(eventID(i))) })
	}
	if !slices.IsSortedFunc(keys, func(a, b EventKey) int { return bytes.Compare(a[:], b[:]) }) {
		t.Errorf("%x are not in order", keys)
	}
	h.update(func(tx *Tx) error { return tx.Take(eventID(900), Taken{Version: 2, Count: 2}) })
	h.reopen()
	h.view(func(tx *Tx) {
		if got := tx.RecordKey(eventID(900)); got != keys[0] {
			t.Errorf("%x after an update, %x before", got, keys[0])
		}
		if got, want := tx.RecordKey(eventID(7)), eventID(7).Key(); got != want {
			t.Errorf("unknown: %x, want %x", got, want)
		}
	})
	// An older release wrote 16 bytes.
	h.update(func(tx *Tx) error {
		id := eventID(5).Key()
		key := append([]byte{format.KindLedger}, id[:]...)
		payload, _ := tx.txn.Payload(key)
		_, err := tx.txn.Put(key, format.Seal(key, payload[:16]))
		return err
	})
	h.update(func(tx *Tx) error { return tx.Take(eventID(5), Taken{Version: 3, Count: 3}) })
	h.view(func(tx *Tx) {
		if got, want := tx.RecordKey(eventID(5)), eventID(5).Key(); got != want {
			t.Errorf("of an older release: %x, want %x", got, want)
		}
	})
}

// version returns the format version that the file says.
func (h *house) version() (v byte) {
	h.t.Helper()
	h.view(func(tx *Tx) {
		payload, _ := tx.txn.Payload([]byte{format.KindFormat})
		v = payload[len(payload)-1]
	})
	return v
}

// TestListOutOfOrderIsKnownAtOnceAndLeavesNoRun: what lies in a run is known like all else, also to whoever changes or forgets it, and after
// the list the file is one that an older release reads.
func TestListOutOfOrderIsKnownAtOnceAndLeavesNoRun(t *testing.T) {
	for _, maxBytes := range []int64{1 << 20, 16 << 20} {
		h := newHouse(t, Options{MaxBytes: maxBytes})
		h.take(0, 500)
		if got := h.version(); got != format.LeastVersion {
			t.Fatalf("version %d of a file in order", got)
		}
		const events, page = 900, 100
		check := func(n int) {
			t.Helper()
			h.view(func(tx *Tx) {
				if got := tx.LedgerLen(); got != 500+n {
					t.Errorf("%d entries, want %d", got, 500+n)
				}
				for i := range n {
					if taken, ok := tx.Taken(scatteredID(i)); taken != (Taken{Version: uint64(i), Count: 1}) || !ok {
						t.Fatalf("event %d of %d: %+v, %t", i, n, taken, ok)
					}
				}
			})
		}
		var first EventKey
		for from := 0; from < events; from += page {
			h.update(func(tx *Tx) error {
				for i := from; i < from+page; i++ {
					if err := tx.Take(scatteredID(i), Taken{Version: uint64(i), Count: 1}); err != nil {
						return err
					}
				}
				return nil
			})
			if from == 0 {
				h.view(func(tx *Tx) { first = tx.RecordKey(scatteredID(7)) })
				if got := h.version(); got != format.FormatVersion {
					t.Fatalf("version %d of a file with a run", got)
				}
			}
			check(from + page)
			h.reopen()
		}
		h.update(func(tx *Tx) error {
			return errors.Join(tx.Take(scatteredID(899), Taken{Version: 5000, Count: 7}), tx.Forget(scatteredID(898)), tx.Forget(scatteredID(897)))
		})
		h.view(func(tx *Tx) {
			_, forgotten := tx.Taken(scatteredID(898))
			if taken, _ := tx.Taken(scatteredID(899)); taken != (Taken{Version: 5000, Count: 7}) || forgotten {
				t.Errorf("%+v, %t", taken, forgotten)
			}
		})
		// Event 0 is gone from the API server; the list is at its end.
		removed := 0
		h.update(func(tx *Tx) (err error) {
			removed, err = tx.Sweep("", func(key EventKey) bool { return key != scatteredID(0).Key() })
			return err
		})
		h.view(func(tx *Tx) {
			if key := tx.txn.First([]byte{format.KindRun}); key != nil {
				t.Errorf("run %x is left", key)
			}
			if got := tx.RecordKey(scatteredID(7)); got != first {
				t.Errorf("record key %x, was %x", got, first)
			}
			if got := tx.LedgerLen(); got != 500+events-3 || removed != 1 {
				t.Errorf("%d entries, %d removed", got, removed)
			}
		})
		if got := h.version(); got != format.LeastVersion {
			t.Errorf("version %d of a file without a run", got)
		}
	}
}

// TestRunsStayWithinTheLedgersBound lists more events than a small ledger has room for.
func TestRunsStayWithinTheLedgersBound(t *testing.T) {
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	limit := int(h.maxLedger())
	for from := 0; from < 2*limit; from += 20 {
		h.update(func(tx *Tx) error {
			for i := from; i < from+20; i++ {
				if err := tx.Take(scatteredID(i), Taken{Version: uint64(i), Count: 1}); err != nil {
					return err
				}
			}
			return nil
		})
		h.view(func(tx *Tx) {
			if got := tx.LedgerLen(); got > limit {
				t.Fatalf("%d entries, at most %d", got, limit)
			}
		})
	}
	h.view(func(tx *Tx) {
		for i := range 2 * limit {
			if _, known := tx.Taken(scatteredID(i)); !known && !tx.Forgot(scatteredID(i)) {
				t.Fatalf("event %d is neither known nor forgotten", i)
			}
		}
	})
}

// TestCrashWhileRunsAreWrittenOrPutInOrder fails each write and each sync of the transactions that make a file one of version 2 and one of
// version 1 again. What is there then is what was there before, in a file that opens without a rescue.
func TestCrashWhileRunsAreWrittenOrPutInOrder(t *testing.T) {
	list := func(tx *Tx) error {
		for i := range 100 {
			if err := tx.Take(scatteredID(i), Taken{Version: 1, Count: 1}); err != nil {
				return err
			}
		}
		return nil
	}
	sweep := func(tx *Tx) error {
		_, err := tx.Sweep("", func(EventKey) bool { return true })
		return err
	}
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	h.take(0, 500)
	for name, fn := range map[string]func(*Tx) error{"list": list, "sweep": sweep} {
		if name == "sweep" {
			h.update(list)
		}
		before, want := readSpool(t, h)
		h.update(fn)
		after, changed := readSpool(t, h)
		if bytes.Equal(before, after) {
			t.Fatalf("%s changed nothing", name)
		}
		r := seeded(t)
		for n := range 60 {
			metaWritten := n%3 == 0
			path := filepath.Join(ramDir(t), "spool.db")
			if err := os.WriteFile(path, mix(before, after, 4096, metaWritten, r.IntN), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Options{Path: path, MaxBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			expected := want
			if metaWritten {
				expected = changed
			}
			err = s.View(func(tx *Tx) error {
				got := snapshotOf(tx)
				got["position"], _ = tx.Position("")
				if !maps.Equal(got, expected) {
					return fmt.Errorf("%d things, want %d", len(got), len(expected))
				}
				return nil
			})
			if err = errors.Join(err, s.Close(), soundness(path)); err != nil || s.Rescued() != nil {
				t.Fatalf("%s, cut %d: %v, rescued %+v", name, n, err, s.Rescued())
			}
		}
	}
}
