package clustertest

import (
	"context"
	"testing"
)

// T is whoever asks for a control plane: a test, or a program that measures. Fatal and Fatalf do not return to their caller.
type T interface {
	// Context ends before what Cleanup was given is called.
	Context() context.Context
	// Cleanup calls f at the end, the last one first.
	Cleanup(f func())
	// TempDir is a folder that goes at the end.
	TempDir() string
	// Helper says that the caller is not to blame for a failure.
	Helper()
	// Failed reports whether something was wrong so far.
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// skipInShort skips a test, which a program is not.
func skipInShort(t T) {
	t.Helper()
	if t, ok := t.(testing.TB); ok && testing.Short() {
		t.Skip("the control plane is left out by -short")
	}
}
