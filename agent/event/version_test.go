package event

import "testing"

func TestResourceVersionIsAPositiveNumber(t *testing.T) {
	for s, want := range map[string]uint64{"1": 1, "4755": 4755, "18446744073709551615": 1<<64 - 1} {
		if got, err := ParseResourceVersion(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "007", "-1", "+1", "1_000", "0x10", "18446744073709551616", "abc"} {
		if got, err := ParseResourceVersion(s); err == nil {
			t.Errorf("%q is %d, want an error", s, got)
		}
	}
	for _, c := range []struct {
		version, position string
		want              bool
	}{{"9", "10", true}, {"10", "9", false}, {"10", "10", false}, {"x", "x", false}, {"x", "9", true}, {"9", "x", true}} {
		if got := WentBack(c.version, c.position); got != c.want {
			t.Errorf("WentBack(%s, %s) = %t", c.version, c.position, got)
		}
	}
}
