package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/edge-eventer/edge-eventer/agent/event"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxRecurrences is how many events are remembered beyond the ledger: 48 KiB, and an index of 100.
	maxRecurrences = 4096
	// recurrenceBytes is one of them on disk: key and count. recurrencesPerValue of them lie in one value.
	recurrenceBytes     = 8 + 4
	recurrencesPerValue = 256
)

// recurrences remember how often events were observed that may be gone. A reporter that repeats an event which expired or was deleted
// creates it again with the same name, the old first time and the next count (client-go tools/record: recordEvent and the
// eventLogger's cache, which forgets nothing by time), so the API server shows a new object whose count holds what was told.
//
// The ledger forgets an event with the API server. This is a ring: the oldest makes room, unless it recurred since its last turn.
type recurrences struct {
	slots []recurrence
	index map[uint64]int
	next  int
	// generation is that of the spool from which they are.
	generation uint64
}

type recurrence struct {
	key   uint64
	count uint32
	// again gives the event another turn.
	again bool
}

func newRecurrences() *recurrences { return &recurrences{index: make(map[uint64]int)} }

// recurrenceKey is the same for each object that stands for the event. Another one of the same name began at another time.
func recurrenceKey(e *event.Event) uint64 {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%d:%s%d", len(e.Namespace), e.Namespace, len(e.Name), e.Name, e.FirstSeen().Unix())
	// 0 stands for an empty slot.
	return max(1, binary.BigEndian.Uint64(h.Sum(nil)))
}

// keepTo forgets everything once the spool was rescued: what was counted then may be lost with what was damaged.
func (r *recurrences) keepTo(generation uint64) {
	if r.generation != generation {
		*r = recurrences{index: make(map[uint64]int), generation: generation}
	}
}

// count returns how often the event was observed when it was last seen.
func (r *recurrences) count(key uint64) (uint32, bool) {
	i, ok := r.index[key]
	if !ok {
		return 0, false
	}
	return r.slots[i].count, true
}

func (r *recurrences) remember(key uint64, count uint32) {
	if i, ok := r.index[key]; ok {
		r.slots[i].again = r.slots[i].again || r.slots[i].count != count
		r.slots[i].count = count
		return
	}
	if len(r.slots) < maxRecurrences {
		r.index[key] = len(r.slots)
		r.slots = append(r.slots, recurrence{key: key, count: count})
		return
	}
	for r.slots[r.next].again {
		r.slots[r.next].again = false
		r.next = (r.next + 1) % len(r.slots)
	}
	delete(r.index, r.slots[r.next].key)
	r.slots[r.next], r.index[key] = recurrence{key: key, count: count}, r.next
	r.next = (r.next + 1) % len(r.slots)
}

func recurrenceValue(n int) string { return fmt.Sprintf("recurrences-%02d", n) }

// save writes what changed.
func (r *recurrences) save(tx *spool.Tx) error {
	for i := 0; i < maxRecurrences; i += recurrencesPerValue {
		// nil removes a value.
		var value []byte
		for _, s := range r.slots[min(len(r.slots), i):min(len(r.slots), i+recurrencesPerValue)] {
			value = binary.BigEndian.AppendUint64(value, s.key)
			value = binary.BigEndian.AppendUint32(value, s.count)
		}
		if err := tx.SetValue(recurrenceValue(i/recurrencesPerValue), value); err != nil {
			return fmt.Errorf("note recurring events: %w", err)
		}
	}
	return nil
}

// load reads what save wrote, unless the spool was rescued when it was opened.
func (r *recurrences) load(tx *spool.Tx) {
	if r.generation = tx.Generation(); r.generation > 0 {
		return
	}
	for i := range maxRecurrences / recurrencesPerValue {
		value := tx.Value(recurrenceValue(i))
		for ; len(value) >= recurrenceBytes && len(r.slots) < maxRecurrences; value = value[recurrenceBytes:] {
			r.remember(binary.BigEndian.Uint64(value), binary.BigEndian.Uint32(value[8:]))
		}
	}
}
