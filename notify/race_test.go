//go:build race

package notify_test

// raceFactor is for budgets of allocations: the race detector makes sync.Pool forget at random, and buffers are made anew.
const raceFactor = 5
