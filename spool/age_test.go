package spool

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/retention"
)

// expired returns how many records and occurrences of a queue were counted as expired.
func (h *house) expired(receiver string) (l Loss) {
	h.t.Helper()
	for _, loss := range h.untoldLosses(receiver) {
		if loss.Cause == Expired {
			l = loss
		}
	}
	return l
}

// observe puts a record with so many untold occurrences.
func (h *house) observe(receiver, key string, untold uint32) {
	h.t.Helper()
	h.update(func(tx *Tx) error {
		return tx.Queue(receiver).Put(Record{Key: []byte(key), Untold: untold, Body: fmt.Append(nil, h.clock)})
	})
}

func TestAgeIsThatOfTheOldestUntoldOccurrence(t *testing.T) {
	h := newHouse(t, Options{MaxAge: time.Hour})
	for range 60 {
		// What was told is told in full, or something came while the message was on its way.
		h.observe("ops", "full", 1)
		h.observe("ops", "part", 3)
		h.clock = h.clock.Add(5 * time.Minute)
		h.observe("ops", "full", 0)
		h.observe("ops", "part", 1)
	}
	if l := h.expired("ops"); l.Records != 0 {
		t.Fatalf("a receiver that takes everything within five minutes lost %+v", l)
	}
	// Nobody tells any more: both go when their oldest is an hour old, however new the latest.
	for range 15 {
		h.observe("ops", "full", 1)
		h.clock = h.clock.Add(5 * time.Minute)
	}
	h.put("other", "x")
	if l := h.expired("ops"); l.Records != 2 {
		t.Errorf("expired %+v, want both", l)
	}
}

func TestClockThatIsSetAheadOrBackExpiresNothing(t *testing.T) {
	for _, step := range []time.Duration{1000 * time.Hour, -1000 * time.Hour, epoch.Sub(time.Unix(100, 0))} {
		t.Run(step.String(), func(t *testing.T) {
			h := newHouse(t, Options{MaxAge: time.Hour})
			if step > 10_000*time.Hour {
				// It begins in 1970.
				h.set(-step)
			}
			for i := range 200 {
				h.put("ops", fmt.Sprint(i))
			}
			h.clock = h.clock.Add(10 * time.Minute)
			h.set(step)
			for range 4 {
				h.put("other", h.clock.String())
				h.clock = h.clock.Add(10 * time.Minute)
				h.reopen()
			}
			if n := len(h.keys("ops")); n != 200 {
				t.Errorf("%d of 200 records are left after 50 minutes", n)
			}
			h.clock = h.clock.Add(15 * time.Minute)
			h.put("other", "last")
			if n := len(h.keys("ops")); n != 0 || h.expired("ops").Records != 200 {
				t.Errorf("%d of 200 records are left after 65 minutes, %+v", n, h.expired("ops"))
			}
		})
	}
}

func TestTimeOfARebootIsNotTakenForAge(t *testing.T) {
	h := newHouse(t, Options{MaxAge: time.Hour})
	h.put("ops", "a")
	h.put("ops", "b")
	h.close()
	// Within one boot the time while the spool is closed counts.
	h.clock = h.clock.Add(30 * time.Minute)
	h.open()
	h.put("ops", "c")
	h.close()
	// Over a reboot nobody knows: the wall clock may have been set meanwhile.
	h.boot = "1f0f0f0f-5b1c-4c43-8e0a-9b7d0f4a5e11"
	h.clock = h.clock.Add(100 * time.Hour)
	h.open()
	h.put("ops", "d")
	if n := len(h.keys("ops")); n != 4 {
		t.Errorf("%d of 4 records are left", n)
	}
	h.clock = h.clock.Add(35 * time.Minute)
	h.put("ops", "e")
	if keys := h.keys("ops"); len(keys) != 3 {
		t.Errorf("after 65 minutes of which an uptime is known %v are left", keys)
	}
}

func TestRecordExpiresAtMostA64thOfMaxAgeLate(t *testing.T) {
	h := newHouse(t, Options{MaxAge: 64 * time.Hour})
	for i := range 1000 {
		h.put("ops", fmt.Sprintf("%04d", i))
		h.clock = h.clock.Add(20 * time.Minute)
		oldest, _ := h.oldest("ops")
		if age := h.clock.Sub(oldest.Added); age > 65*time.Hour+40*time.Minute {
			t.Fatalf("record %d: the oldest waits since %s", i, age)
		}
	}
	if l := h.expired("ops"); l.Records < 1000-200 {
		t.Errorf("expired %+v", l)
	}
	h.view(func(tx *Tx) {
		if n := len(retention.MilestonesOf(tx.txn)); n > retention.MaxMilestones || n < retention.AgePart {
			t.Errorf("%d milestones", n)
		}
	})
}

func (h *house) oldest(receiver string) (r Record, ok bool) {
	h.t.Helper()
	h.view(func(tx *Tx) {
		r, ok = tx.Queue(receiver).Oldest()
		r = r.Clone()
	})
	return r, ok
}

// A file of an older release has no clock of its own, and its records kept their first arrival while they were told again and again.
func TestRecordsOfAnOlderFileBeginToAgeWhenItIsOpened(t *testing.T) {
	data, err := os.ReadFile("testdata/v1.db")
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, Options{MaxAge: time.Hour})
	h.close()
	if err := os.WriteFile(h.options.Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h.clock = h.clock.Add(10_000 * time.Hour)
	h.open()
	before := len(h.keys("ops"))
	h.put("other", "1")
	h.clock = h.clock.Add(59 * time.Minute)
	h.put("other", "2")
	if n := len(h.keys("ops")); n != before || before == 0 {
		t.Errorf("%d of %d records are left after 59 minutes", n, before)
	}
	h.clock = h.clock.Add(3 * time.Minute)
	h.put("other", "3")
	if n := len(h.keys("ops")); n != 0 {
		t.Errorf("%d of %d records are left after 62 minutes", n, before)
	}
}

func TestWhatNobodyWaitsForIsEvictedFirst(t *testing.T) {
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	body := make([]byte, 600)
	put := func(receiver, key string, untold uint32) {
		h.update(func(tx *Tx) error {
			return tx.Queue(receiver).Put(Record{Key: []byte(key), Untold: untold, Body: body})
		})
	}
	// A receiver that is down has the oldest records. Another was told of all that came since.
	for i := range 300 {
		put("down", fmt.Sprint(i), 1)
	}
	for i := range 900 {
		put("up", fmt.Sprint(i), 1)
		put("up", fmt.Sprint(i), 0)
	}
	h.view(func(tx *Tx) {
		if n := tx.Queue("down").Len(); n != 300 || len(tx.Queue("down").TotalLosses()) > 0 {
			t.Errorf("%d of 300 records that wait are left, lost %v", n, tx.Queue("down").TotalLosses())
		}
		if n := tx.Queue("up").Len(); n == 900 || n == 0 {
			t.Errorf("%d of 900 records that nobody waits for are left: the test shows nothing", n)
		}
	})
	// Told ones of the same queue go before others of it, and what waits goes only when all of them are gone.
	for i := range 900 {
		put("down", fmt.Sprint("more", i), 1)
	}
	h.view(func(tx *Tx) {
		if n := tx.Queue("up").Len(); n != 0 {
			t.Errorf("%d records that nobody waits for are left beside %v", n, tx.Queue("down").TotalLosses())
		}
		if l := tx.Queue("down").TotalLosses(); len(l) != 1 || l[0].Records != uint64(1200-tx.Queue("down").Len()) {
			t.Errorf("lost %v", l)
		}
	})
}

// In a file of an older release records lie in one lane, told or not.
func TestWhatNobodyWaitsForInAnOlderFileIsEvictedFirst(t *testing.T) {
	h := newHouse(t, Options{MaxBytes: 1 << 20})
	waiting := 0
	for i := range 800 {
		h.update(func(tx *Tx) error {
			q := tx.Queue("ops")
			if err := q.Create(); err != nil {
				return err
			}
			totals := tx.txn.LoadTotals()
			totals.NextSeq++
			tx.txn.TotalsDirty = true
			s := format.Record{Untold: uint32(i % 2), Key: fmt.Append(nil, i), Body: make([]byte, 500), Rev: totals.Rev + 1}
			return q.Store(totals.NextSeq, &s)
		})
		waiting += i % 2
	}
	for i := range 500 {
		h.put("other", fmt.Sprint(i))
		h.observe("ops", fmt.Sprint("told", i), 0)
	}
	h.view(func(tx *Tx) {
		left := 0
		for r := range tx.Queue("ops").All() {
			if r.Untold > 0 {
				left++
			}
		}
		if lost := tx.Queue("ops").TotalLosses(); left != waiting || len(lost) > 0 {
			t.Errorf("%d of %d that wait are left, lost %v", left, waiting, lost)
		}
		if n := tx.Queue("ops").Len(); n == 800+500 {
			t.Error("nothing was evicted: the test shows nothing")
		}
	})
}
