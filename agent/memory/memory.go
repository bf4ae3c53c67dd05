package memory

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	// gcPercent trades CPU for memory. The live heap is about 3 MiB: at 50 % it grows to 4.5 MiB before it is collected.
	gcPercent = 50
	// softLimit is the heap, stacks and the runtime's own at which the collector works harder in a burst rather than let them grow.
	softLimit = 12 << 20
	// minSoftLimit is above what lives, so that the collector never works without an end.
	minSoftLimit = 7 << 20
	// tightLimit of a cgroup is where pages of the binary are reclaimed and read again.
	tightLimit = 64 << 20
	// maxProcs is how many threads run Go code at once. With four on two busy cores the agent took twice the CPU time for the same
	// work, in the collector and in looking for work.
	maxProcs = 2
	// fileBound is how much of mapped files may be resident before they are given back.
	fileBound = 8 << 20
	// fileLeft is how much is given back before what may need a whole mapped file of 16 MiB.
	fileLeft = 4 << 20
)

// Settings say what Tune found and set. The zero value of a field means that it was left alone.
type Settings struct {
	// CgroupLimit is the limit of the memory cgroup in bytes; 0: there is none.
	CgroupLimit int64
	// SoftLimit is what was set in place of GOMEMLIMIT, in bytes.
	SoftLimit int64
	// GCPercent is what was set in place of GOGC.
	GCPercent int
}

// Tune sets the garbage collector and GOMAXPROCS, unless the environment did, and bounds the resident pages of mapped files from then on. The
// program calls it once, at its start. What it returns looks at once whether they have become too many, as each collection does: who
// reads much of a mapped file and allocates little calls it now and then, and with much set before it may read all of one. It costs some
// microseconds where they have not.
func Tune() (s Settings, trim func(much bool)) {
	s = settings(cgroupLimit("/"), os.Getenv)
	if s.GCPercent != 0 {
		debug.SetGCPercent(s.GCPercent)
	}
	if s.SoftLimit != 0 {
		debug.SetMemoryLimit(s.SoftLimit)
	}
	// The runtime's own choice is already below the CPU limit of a cgroup.
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > maxProcs {
		runtime.GOMAXPROCS(maxProcs)
	}
	if s.CgroupLimit > 0 && s.CgroupLimit <= tightLimit {
		readSinglePages()
	}
	return s, trimAfterCollections(fileBound)
}

// settings chooses. In a small cgroup half of the limit is for files: of the binary's pages about 6 MiB are in use all the time.
func settings(limit int64, getenv func(string) string) Settings {
	s := Settings{CgroupLimit: limit}
	if getenv("GOGC") == "" {
		s.GCPercent = gcPercent
	}
	if getenv("GOMEMLIMIT") == "" {
		s.SoftLimit = softLimit
		if limit > 0 {
			s.SoftLimit = min(softLimit, max(minSoftLimit, limit/2))
		}
	}
	return s
}
