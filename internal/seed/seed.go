// Package seed gives randomised tests their random numbers. Without [Variable] each test has the same ones in every run, so that what
// passed once passes again; scripts/explore sets it to try others, and what it finds becomes a test with that seed.
package seed

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Variable is the environment variable that holds the seed of all randomised tests of a process, a decimal number below 2^64.
const Variable = "EDGE_EVENTER_SEED"

// New returns the random numbers of the test and writes their seed to its log.
func New(t testing.TB) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(Of(t), 0))
}

// Of returns the seed of the test and writes it to its log: that of [Variable], or one that follows from the test's name.
func Of(t testing.TB) uint64 {
	t.Helper()
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name()))
	seed := h.Sum64()
	if text := os.Getenv(Variable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", Variable, err)
		}
	}
	t.Logf("%s=%d", Variable, seed)
	return seed
}
