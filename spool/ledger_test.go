package spool

import (
	"fmt"
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
