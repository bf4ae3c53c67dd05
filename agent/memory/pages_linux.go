package memory

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// mapping is a part of the address space that shows a file.
type mapping struct{ from, to uintptr }

// binaryMappings reads smaps and returns what is mapped from a file for this process alone, is not written to and has no page
// that the file does not hold: the code and the read-only data of the binary.
func binaryMappings(smaps io.Reader) []mapping {
	var found []mapping
	var current mapping
	for scanner := bufio.NewScanner(smaps); scanner.Scan(); {
		if m, access, ok := parseMapping(scanner.Bytes()); ok {
			current = mapping{}
			if access == "r--p" || access == "r-xp" {
				current = m
			}
			continue
		}
		// The binary of a build with relocations has such pages: the loader wrote addresses into them.
		name, value, _ := bytes.Cut(scanner.Bytes(), []byte(":"))
		if string(name) == "Anonymous" && string(bytes.TrimSpace(value)) == "0 kB" && current.to != 0 {
			found = append(found, current)
		}
	}
	return found
}

// sharedMappings reads maps and returns what is mapped from a file for all processes and is not written to: the spool.
func sharedMappings(maps io.Reader) []mapping {
	var found []mapping
	for scanner := bufio.NewScanner(maps); scanner.Scan(); {
		if m, access, ok := parseMapping(scanner.Bytes()); ok && access == "r--s" {
			found = append(found, m)
		}
	}
	return found
}

// parseMapping reads the line that begins a mapping of a file.
//
//	00400000-00aef000 r-xp 00001000 fe:00 1234    /edge-eventer
func parseMapping(line []byte) (m mapping, access string, ok bool) {
	if !bytes.Contains(line, []byte(" /")) {
		return mapping{}, "", false
	}
	span, rest, _ := bytes.Cut(line, []byte(" "))
	from, to, ok := bytes.Cut(span, []byte("-"))
	if !ok || len(rest) < 4 {
		return mapping{}, "", false
	}
	first, err1 := strconv.ParseUint(string(from), 16, strconv.IntSize)
	last, err2 := strconv.ParseUint(string(to), 16, strconv.IntSize)
	if err1 != nil || err2 != nil {
		return mapping{}, "", false
	}
	return mapping{uintptr(first), uintptr(last)}, string(rest[:4]), true
}

// readMappings reads a file of /proc/self; what cannot be read has no mappings.
func readMappings(file string, parse func(io.Reader) []mapping) []mapping {
	f, err := os.Open("/proc/self/" + file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	return parse(f)
}

// advise tells the kernel what to do with a mapping. It is advice: that it was not taken changes nothing but memory.
func (m mapping) advise(advice uintptr) {
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, advice)
}

// readSinglePages turns reading ahead off for what is mapped. A cgroup that is short of memory reads a page of the binary again now
// and then; reading 128 KiB around it, the default, or 8 MiB, as some disks have it, drives out what is needed next.
func readSinglePages() {
	for _, m := range readMappings("smaps", binaryMappings) {
		m.advise(syscall.MADV_RANDOM)
	}
}

// trimmer gives the pages of mapped files back.
type trimmer struct {
	// busy is held by who trims. Nobody waits for it.
	busy   sync.Mutex
	bound  int64
	binary []mapping
	statm  *os.File
}

// trimAfterCollections looks after each garbage collection whether more than bound bytes of files are resident, and if so takes
// all of them out of the process. They stay in the page cache: what is needed comes back with a fault that costs a
// microsecond or two for 16 pages, and what is not needed can be reclaimed without asking the process. What it returns looks at once.
func trimAfterCollections(bound int64) (trim func(much bool)) {
	t := newTrimmer(bound)
	if t == nil {
		return func(bool) {}
	}
	t.arm()
	return func(much bool) {
		if much {
			t.trim(min(bound, fileLeft))
			return
		}
		t.trim(bound)
	}
}

// newTrimmer returns nil where the process cannot look at itself.
func newTrimmer(bound int64) *trimmer {
	statm, err := os.Open("/proc/self/statm")
	if err != nil {
		return nil
	}
	// The binary's mappings stay as they are; those of the spool change as it grows.
	return &trimmer{bound: bound, binary: readMappings("smaps", binaryMappings), statm: statm}
}

// sentinel is garbage from its birth; it has a pointer because objects without are put together with others.
type sentinel struct{ _ *byte }

// arm waits for the next collection.
func (t *trimmer) arm() {
	runtime.SetFinalizer(&sentinel{}, func(*sentinel) {
		t.busy.Lock()
		bound := t.bound
		t.busy.Unlock()
		t.trim(bound)
		t.arm()
	})
}

func (t *trimmer) trim(bound int64) {
	if !t.busy.TryLock() {
		return
	}
	defer t.busy.Unlock()
	if t.residentFiles() <= bound {
		return
	}
	for _, m := range slices.Concat(readMappings("maps", sharedMappings), t.binary) {
		m.advise(syscall.MADV_DONTNEED)
	}
}

// residentFiles reads the third number of statm: resident pages of files, in bytes.
func (t *trimmer) residentFiles() int64 {
	var text [128]byte
	n, err := t.statm.ReadAt(text[:], 0)
	if n == 0 || err != nil && err != io.EOF { //nolint:errorlint // ReadAt's contract is the bare io.EOF.
		return 0
	}
	fields := bytes.Fields(text[:n])
	if len(fields) < 3 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
