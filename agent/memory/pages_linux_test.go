package memory

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const maps = `00400000-00aef000 r-xp 00001000 fe:00 11    /usr/bin/edge-eventer
Rss:                6336 kB
Anonymous:             0 kB
00aef000-012b9000 r--p 006f0000 fe:00 11    /usr/bin/edge-eventer
Rss:                5480 kB
Anonymous:             4 kB
012b9000-01327000 rw-p 00eb9000 fe:00 11    /usr/bin/edge-eventer
Anonymous:             0 kB
02000000-02800000 rw-p 00000000 00:00 0
Anonymous:             0 kB
b6000000-b7000000 r--s 00000000 fe:00 12    /var/lib/edge eventer/spool.db
Anonymous:             0 kB
bee00000-bee21000 rw-p 00000000 00:00 0      [stack]
Anonymous:             0 kB
beef0000-beef2000 r-xp 00000000 00:00 0      [vdso]
Anonymous:             0 kB
`

func TestOnlyPagesThatTheFileHoldsAreGivenBack(t *testing.T) {
	if got, want := fmt.Sprintf("%x", binaryMappings(strings.NewReader(maps))), "[{400000 aef000}]"; got != want {
		t.Errorf("of the binary: %s, want %s", got, want)
	}
	if got, want := fmt.Sprintf("%x", sharedMappings(strings.NewReader(maps))), "[{b6000000 b7000000}]"; got != want {
		t.Errorf("shared: %s, want %s", got, want)
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
	tr.trim(tr.bound)
	if after := tr.residentFiles(); after < before {
		t.Errorf("trimmed from %d to %d bytes below the bound", before, after)
	}
	tr.bound = 1 << 20
	tr.trim(tr.bound)
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
