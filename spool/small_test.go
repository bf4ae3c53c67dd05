package spool

import (
	"errors"
	"fmt"
	"testing"
)

// TestSmallSpoolTakesOneLongBodyInEachQueueAndItsAcknowledgement fills spools of the least size that check-config allows. Whatever is
// put fits after a few tries, and what is noted about a record that was told fits at once: repeated, it would evict what waits.
func TestSmallSpoolTakesOneLongBodyInEachQueueAndItsAcknowledgement(t *testing.T) {
	for _, receivers := range []int{1, 4, 10, 20} {
		t.Run(fmt.Sprint(receivers), func(t *testing.T) {
			h := newHouse(t, Options{MaxBytes: max(minMaxBytes, int64(receivers)*32<<10)})
			worst, refused := 0, 0
			try := func(fn func(tx *Tx) error) int {
				t.Helper()
				for tries := 1; ; tries++ {
					err := h.Update(fn)
					if err == nil {
						return tries
					}
					if !errors.Is(err, ErrNoSpace) || tries == 40 {
						t.Fatalf("try %d: %v", tries, err)
					}
				}
			}
			h.update(func(tx *Tx) error {
				for i := range receivers {
					if err := tx.Queue(fmt.Sprint("receiver", i)).Create(); err != nil {
						return err
					}
				}
				return nil
			})
			for n := range uint64(300) {
				key := fmt.Appendf(nil, "%016x", n*2654435761)
				worst = max(worst, try(func(tx *Tx) error {
					for i := range receivers {
						q := tx.Queue(fmt.Sprint("receiver", i))
						if err := q.Put(Record{Key: key, Due: epoch, Untold: 1, Body: make([]byte, q.MaxBody())}); err != nil {
							return err
						}
					}
					return errors.Join(tx.SetPosition("", fmt.Sprint(n)), tx.Take(eventID(int(n)), Taken{Version: 1, Count: 1}))
				}))
				for i := range receivers {
					tries := try(func(tx *Tx) error {
						q := tx.Queue(fmt.Sprint("receiver", i))
						r, ok := q.Oldest()
						if !ok || n%3 == 0 {
							return nil
						}
						r = r.Clone()
						r.Untold = 0
						return q.Put(r)
					})
					refused += tries - 1
				}
			}
			t.Logf("%d tries at most, %d acknowledgements refused", worst, refused)
			if worst > 12 || refused > 0 {
				t.Errorf("%d tries at most, %d acknowledgements refused", worst, refused)
			}
		})
	}
}
