package incident

import (
	"testing"
	"time"
)

// TestFoldingARepeatStaysWithinItsAllocations bounds what a repeat of a waiting incident costs: read, fold, write.
func TestFoldingARepeatStaysWithinItsAllocations(t *testing.T) {
	in, _, _ := incidents.Fold(nil, observation(start, 1))
	record := in.Append(nil)
	o := observation(start.Add(time.Second), 1)
	buffer := make([]byte, 0, 2*len(record))
	allocs := testing.AllocsPerRun(200, func() {
		in, err := Decode(record)
		if err != nil {
			t.Fatal(err)
		}
		in, _, _ = incidents.Fold(in, o)
		buffer = in.Append(buffer[:0])
	})
	// One for each text of the record, one for the incident and its list of objects.
	const most = 17
	t.Logf("%.0f allocations, record of %d bytes", allocs, len(record))
	if allocs > most {
		t.Errorf("%.0f allocations for a repeat, the budget is %d", allocs, most)
	}
}
