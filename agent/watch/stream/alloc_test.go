package stream

import (
	"bytes"
	"os"
	"testing"
)

// TestReadingAListStaysWithinItsAllocations bounds what an event costs from the stream to the small record, measured over the recorded
// list. What is allocated beyond the fields' texts is garbage at once, and decides how often the collector runs in a burst.
func TestReadingAListStaysWithinItsAllocations(t *testing.T) {
	data, err := os.ReadFile("testdata/events/list.json")
	if err != nil {
		t.Fatal(err)
	}
	items := 0
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			items = 0
			s := NewScanner(bytes.NewReader(data))
			if _, err := s.List(func(_ ListMeta, item Raw) error {
				items++
				_, err := item.Event()
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if items == 0 {
		t.Fatal("the list is empty")
	}
	// About a third above what it takes (see the log), so that only a change of kind breaks it.
	const maxAllocs, maxBytes = 35, 1800
	allocs, size := result.AllocsPerOp()/int64(items), result.AllocedBytesPerOp()/int64(items)
	t.Logf("%d events of %d bytes on average: %d allocations and %d bytes each", items, len(data)/items, allocs, size)
	if allocs > maxAllocs || size > maxBytes {
		t.Errorf("%d allocations and %d bytes for an event, the budget is %d and %d", allocs, size, maxAllocs, maxBytes)
	}
}
