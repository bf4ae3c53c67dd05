package spool

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-eventer/edge-eventer/spool/format"
)

func TestLossIsToldOnce(t *testing.T) {
	h := newHouse(t, Options{})
	lose := func(l Loss) { h.update(func(tx *Tx) error { return tx.Queue("ops").Lose(l) }) }
	lose(Loss{Cause: Evicted, Records: 1, Events: 5})
	lose(Loss{Cause: Unseen})
	h.clock = h.clock.Add(time.Minute)
	lose(Loss{Cause: Evicted, Records: 2, Events: 7})
	told := h.untoldLosses("ops")
	want := []Loss{
		{Cause: Evicted, Records: 3, Events: 12, Times: 2, Since: epoch},
		{Cause: Unseen, Times: 1, Since: epoch},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Fatal(diff)
	}
	// While the message was on its way more was lost.
	h.clock = h.clock.Add(time.Minute)
	lose(Loss{Cause: Evicted, Records: 1, Events: 1})
	lose(Loss{Cause: Unseen})
	h.update(func(tx *Tx) error { return tx.Queue("ops").LossesTold(told) })
	h.reopen()
	rest := h.untoldLosses("ops")
	want = []Loss{
		{Cause: Evicted, Records: 1, Events: 1, Times: 1, Since: h.clock},
		{Cause: Unseen, Times: 1, Since: h.clock},
	}
	if diff := cmp.Diff(want, rest); diff != "" {
		t.Error(diff)
	}
	h.update(func(tx *Tx) error { return tx.Queue("ops").LossesTold(rest) })
	h.update(func(tx *Tx) error { return tx.Queue("ops").LossesTold(rest) })
	if diff := cmp.Diff([]Loss(nil), h.untoldLosses("ops")); diff != "" {
		t.Error(diff)
	}
	h.view(func(tx *Tx) {
		want := []Loss{
			{Cause: Evicted, Records: 4, Events: 13, Times: 3, Since: epoch},
			{Cause: Unseen, Times: 2, Since: epoch},
		}
		if diff := cmp.Diff(want, tx.Queue("ops").TotalLosses()); diff != "" {
			t.Error(diff)
		}
	})
}

func deadKeys(h *house, receiver string) (keys []string) {
	h.view(func(tx *Tx) {
		for d := range tx.Queue(receiver).Dead() {
			keys = append(keys, string(d.Key))
		}
		if n := tx.Queue(receiver).DeadLen(); n != len(keys) {
			h.t.Errorf("%d dead letters, %d counted", len(keys), n)
		}
	})
	return keys
}

func TestDeadLetterIsKeptAndCounted(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b")
	h.update(func(tx *Tx) error {
		return tx.Queue("ops").Bury([]byte("a"), strings.Repeat("r", 300), make([]byte, 2000), epoch)
	})
	h.reopen()
	if diff := cmp.Diff([]string{"b"}, h.keys("ops")); diff != "" {
		t.Error(diff)
	}
	h.view(func(tx *Tx) {
		for d := range tx.Queue("ops").Dead() {
			want := DeadLetter{
				Record: Record{Key: []byte("a"), Due: epoch, Untold: 1, Body: []byte("body of a"), Seq: format.PendingLane | 1, Added: epoch},
				Reason: strings.Repeat("r", 256), Answer: make([]byte, 1024), At: epoch,
			}
			if diff := cmp.Diff(want, d.Clone()); diff != "" {
				t.Error(diff)
			}
		}
	})
	want := []Loss{{Cause: Refused, Records: 1, Events: 1, Times: 1, Since: epoch}}
	if diff := cmp.Diff(want, h.untoldLosses("ops")); diff != "" {
		t.Error(diff)
	}
}

func TestDeadLetterComesBackToItsPlace(t *testing.T) {
	h := newHouse(t, Options{})
	h.put("ops", "a", "b")
	h.update(func(tx *Tx) error { return tx.Queue("ops").Bury([]byte("a"), "no", nil, epoch) })
	h.update(func(tx *Tx) error { return tx.Queue("ops").Revive([]byte("a"), epoch.Add(time.Hour)) })
	if diff := cmp.Diff([]string{"a", "b"}, h.keys("ops")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Loss(nil), h.untoldLosses("ops")); diff != "" {
		t.Error(diff)
	}
	h.view(func(tx *Tx) {
		if r, _ := tx.Queue("ops").Get([]byte("a")); !r.Due.Equal(epoch.Add(time.Hour)) || r.Seq != format.PendingLane|1 {
			t.Errorf("%+v", r)
		}
	})
	h.update(func(tx *Tx) error { return tx.Queue("ops").Bury([]byte("a"), "no", nil, epoch) })
	h.put("ops", "a")
	if err := h.Update(func(tx *Tx) error { return tx.Queue("ops").Revive([]byte("a"), epoch) }); !errors.Is(err, ErrWaiting) {
		t.Errorf("revive of a key that waits: %v", err)
	}
	h.update(func(tx *Tx) error { return tx.Queue("ops").DropDead([]byte("a")) })
	for name, fn := range map[string]func(q *Queue) error{
		"drop":   func(q *Queue) error { return q.DropDead([]byte("x")) },
		"revive": func(q *Queue) error { return q.Revive([]byte("x"), epoch) },
		"bury":   func(q *Queue) error { return q.Bury([]byte("x"), "", nil, epoch) },
	} {
		if err := h.Update(func(tx *Tx) error { return fn(tx.Queue("ops")) }); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if keys := deadKeys(h, "ops"); keys != nil {
		t.Error(keys)
	}
}

func TestDeadLettersAreBoundedByCountAndAge(t *testing.T) {
	h := newHouse(t, Options{MaxAge: 24 * time.Hour})
	for i := range 120 {
		key := fmt.Sprintf("%03d", i)
		h.put("ops", key)
		h.update(func(tx *Tx) error { return tx.Queue("ops").Bury([]byte(key), "no", nil, h.clock) })
		h.clock = h.clock.Add(time.Minute)
	}
	if keys := deadKeys(h, "ops"); len(keys) != 100 || keys[0] != "020" {
		t.Errorf("%d dead letters from %s", len(keys), keys[0])
	}
	h.clock = epoch.Add(24*time.Hour + 100*time.Minute)
	h.put("ops", "new")
	if keys := deadKeys(h, "ops"); len(keys) != 20 || keys[0] != "100" {
		t.Errorf("%d dead letters from %s", len(keys), keys[0])
	}
	h.view(func(tx *Tx) {
		if l := tx.Queue("ops").TotalLosses(); len(l) != 1 || l[0].Records != 120 {
			t.Errorf("losses %v", l)
		}
	})
}
