package spool

import (
	"path/filepath"
	"testing"
)

// TestNotLostTakesBackOnlyWhatWasLostSince: causes and events are looked at, and what was told already is taken off the total only.
func TestNotLostTakesBackOnlyWhatWasLostSince(t *testing.T) {
	s, err := Open(Options{Path: filepath.Join(t.TempDir(), "spool.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	lose := func(q *Queue, cause string, records, events uint64) {
		t.Helper()
		if err := q.Lose(Loss{Cause: cause, Records: records, Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	sum := func(losses []Loss) (records, events uint64) {
		for _, l := range losses {
			records, events = records+l.Records, events+l.Events
		}
		return records, events
	}
	want := func(what string, losses []Loss, records, events uint64) {
		t.Helper()
		if r, e := sum(losses); r != records || e != events {
			t.Errorf("%s: %d events in %d records, want %d in %d", what, e, r, events, records)
		}
	}
	err = s.Update(func(tx *Tx) error {
		q := tx.Queue("ops")
		lose(q, Evicted, 2, 9)
		before := q.TotalLosses()
		if err := q.NotLost(before, 4); err != nil {
			return err
		}
		want("nothing was lost since", q.TotalLosses(), 2, 9)
		lose(q, Expired, 1, 4)
		if err := q.NotLost(before, 5); err != nil {
			return err
		}
		want("another record was lost since", q.TotalLosses(), 3, 13)
		if err := q.NotLost(before, 4); err != nil {
			return err
		}
		want("it was this one", q.TotalLosses(), 2, 9)
		want("it was this one, untold", q.UntoldLosses(), 2, 9)
		for _, l := range q.TotalLosses() {
			if l.Cause == Expired {
				t.Errorf("%+v is left of it", l)
			}
		}
		lose(q, Evicted, 1, 3)
		if err := q.LossesTold(q.UntoldLosses()); err != nil {
			return err
		}
		if err := q.NotLost(before, 3); err != nil {
			return err
		}
		want("told already", q.TotalLosses(), 2, 9)
		want("told already, untold", q.UntoldLosses(), 0, 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
