package seed_test

import (
	"testing"

	"github.com/edge-eventer/edge-eventer/internal/seed"
)

func TestSeedIsThatOfTheNameUnlessOneIsGiven(t *testing.T) {
	t.Setenv(seed.Variable, "")
	var first uint64
	t.Run("a", func(t *testing.T) {
		first = seed.Of(t)
		if again := seed.Of(t); again != first {
			t.Errorf("%d and %d", first, again)
		}
		if a, b := seed.New(t).Uint64(), seed.New(t).Uint64(); a != b {
			t.Errorf("%d and %d from one seed", a, b)
		}
	})
	t.Run("b", func(t *testing.T) {
		if other := seed.Of(t); other == first {
			t.Errorf("%d for two tests", other)
		}
	})
	t.Setenv(seed.Variable, "17")
	if got := seed.Of(t); got != 17 {
		t.Errorf("it is %d", got)
	}
}
