package boltfile

import (
	"fmt"
	"testing"
)

// TestMoreLostRangesThanAreToldApartAreOne: what is beyond the bound must not pass for read.
func TestMoreLostRangesThanAreToldApartAreOne(t *testing.T) {
	f := New(nil, "bucket", 0, DefaultPageSize, 0)
	for i := range maxLost + 1 {
		f.Lose(Range{fmt.Appendf(nil, "%08d", i), fmt.Appendf(nil, "%08d.", i)}, ErrMalformed)
	}
	if len(f.lost) > maxLost || !f.IsLost(fmt.Appendf(nil, "%08d", maxLost)) || !f.IsLost([]byte("00000000")) {
		t.Errorf("%d ranges", len(f.lost))
	}
}
