package ledger

import "testing"

func TestRecurringEventsAreRememberedWithinABound(t *testing.T) {
	r := newRecurrences()
	for i := range 10 * maxRecurrences {
		r.remember(uint64(1+i), 1)
		// One recurs now and then, among many that do not.
		if i%(maxRecurrences/2) == 0 {
			r.remember(1, uint32(2+i))
		}
	}
	if len(r.slots) != maxRecurrences || len(r.index) != maxRecurrences {
		t.Errorf("%d slots, %d in the index, want %d", len(r.slots), len(r.index), maxRecurrences)
	}
	if _, ok := r.count(1); !ok {
		t.Error("the one that recurs was forgotten")
	}
	if _, ok := r.count(2); ok {
		t.Error("one that did not for a long time was kept")
	}
	for i := range r.slots {
		r.slots[i].again = true
	}
	r.remember(1<<40, 1)
	if n, ok := r.count(1 << 40); !ok || n != 1 {
		t.Error("where all recur, a new one has no place")
	}
}
