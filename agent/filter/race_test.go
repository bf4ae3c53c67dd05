//go:build race

package filter_test

// raceDetector is true where the race detector makes sync.Pool forget at random, which package regexp then allocates anew.
const raceDetector = true
