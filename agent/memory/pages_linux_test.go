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

const maps = `00400000-00aef000 r-xp 00001000 fe:00 11    /usr/bin/edge-eventer
Rss:                6336 kB
Anonymous:             0 kB
00aef000-012b9000 r--p 006f0000 fe:00 11    /usr/bin/edge-eventer
Rss:                5480 kB
Anonymous:             4 kB
012b9000-01327000 rw-p 00eb9000 fe:00 11    /usr/bin/edge-eventer
Anonymous:             0 kB
c000000000-c000800000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0001000000 r--s 00000000 fe:00 12    /var/lib/edge eventer/spool.db
Anonymous:             0 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0      [stack]
Anonymous:             0 kB
7ffd00030000-7ffd00032000 r-xp 00000000 00:00 0      [vdso]
Anonymous:             0 kB
`

func TestOnlyPagesThatTheFileHoldsAreGivenBack(t *testing.T) {
	if got, want := fmt.Sprintf("%x", binaryMappings(strings.NewReader(maps))), "[{400000 aef000}]"; got != want {
		t.Errorf("of the binary: %s, want %s", got, want)
	}
	if got, want := fmt.Sprintf("%x", sharedMappings(strings.NewReader(maps))), "[{7f0000000000 7f0001000000}]"; got != want {
		t.Errorf("shared: %s, want %s", got, want)
	}
}

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
	trimAfterCollections(0)
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
}

func TestFewResidentPagesAreLeftAlone(t *testing.T) {
	statm, err := os.Open("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = statm.Close() }()
	tr := &trimmer{statm: statm, binary: readMappings("smaps", binaryMappings)}
	if len(tr.binary) == 0 {
		t.Fatal("the binary has no mapping that can be given back")
	}
	before := tr.residentFiles()
	if before < 1<<20 {
		t.Fatalf("%d bytes of files are resident: the test program alone is larger", before)
	}
	tr.bound = before + 64<<20
	tr.trim()
	if after := tr.residentFiles(); after < before {
		t.Errorf("trimmed from %d to %d bytes below the bound", before, after)
	}
	tr.bound = 1 << 20
	tr.trim()
	if after := tr.residentFiles(); after >= before {
		t.Errorf("%d bytes before, %d after the trim", before, after)
	}
}

func TestReadingSinglePagesLeavesTheProgramWhole(t *testing.T) {
	readSinglePages()
	if got := fmt.Sprint(strings.Fields("a b")); got != "[a b]" {
		t.Error(got)
	}
}
