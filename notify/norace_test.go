//go:build !race

package notify_test

const raceFactor = 1
