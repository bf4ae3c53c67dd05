//go:build !arm

// The emulator under which tests of armv7 run on other machines shows its own addresses in smaps.

package memory

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// resident returns how many bytes of the mapping are in the process, as smaps says.
func resident(t *testing.T, b []byte) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), fmt.Sprintf("\n%x-", uintptr(unsafe.Pointer(&b[0]))))
	if !ok {
		t.Fatal("the mapping is not in smaps")
	}
	_, after, _ = strings.Cut(after, "\nRss:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

func TestMappedFileLeavesTheProcessAfterACollectionAndKeepsItsContent(t *testing.T) {
	const size = 4 << 20
	content := []byte(strings.Repeat("0123456789abcdef", size/16))
	path := filepath.Join(t.TempDir(), "spool.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(b); err != nil {
			t.Error(err)
		}
	}()
	if string(b) != string(content) {
		t.Fatal("the mapping has another content than the file")
	}
	if got := resident(t, b); got != size {
		t.Fatalf("%d bytes are resident before, want %d", got, size)
	}

	// A bound of nothing: each collection trims.
	tr := newTrimmer(0)
	tr.arm()
	defer func() {
		// It goes on as long as the process, in which this test may run again.
		tr.busy.Lock()
		defer tr.busy.Unlock()
		tr.bound = 1 << 62
	}()
	timeout := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	// The second round shows that it goes on after the first collection.
	for range 2 {
		for runtime.GC(); resident(t, b) != 0; runtime.GC() {
			select {
			case <-tick.C:
			case <-timeout:
				t.Fatalf("%d bytes are still resident", resident(t, b))
			}
		}
		if string(b) != string(content) {
			t.Fatal("the content changed")
		}
	}
	// Without a collection, by who knows that much was read. It does nothing while a collection's look is under way.
	for tr.trim(0); resident(t, b) != 0; tr.trim(0) {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%d bytes are still resident after a look", resident(t, b))
		}
	}
}
