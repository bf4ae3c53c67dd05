package intake

import (
	"sync/atomic"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/disk"
	"github.com/edge-eventer/edge-eventer/agent/filter"
	"github.com/edge-eventer/edge-eventer/agent/histogram"
	"github.com/edge-eventer/edge-eventer/agent/status"
)

// tally is what one transaction did.
type tally struct {
	seen, known, old, filtered, committed, critical, folded uint64
}

// stats are written by the goroutine of Run and read by any.
type stats struct {
	seen, known, old, filtered, taken, critical, folded, commits, failures atomic.Uint64
	// commitTimes are those of whole transactions, fsync included.
	commitTimes histogram.Histogram
	// progressAt is when the loop last went round, in nanoseconds after began, which no step of the clock moves; 0: it waits
	// for something to do.
	began      time.Time
	progressAt atomic.Int64
	// blockedSince is when the spool began to refuse writes, in Unix nanoseconds; 0: it does not. blockedBy says why.
	blockedSince atomic.Int64
	blockedBy    atomic.Pointer[string]
	// stuckSince is the time on the clock of progressAt since when the spool refuses for a reason that no disk has; 0: it does not.
	stuckSince atomic.Int64
}

// alive notes that the loop works, and idle that it waits for something to do, which is no standstill.
func (s *stats) alive() { s.progressAt.Store(max(1, int64(time.Since(s.began)))) }
func (s *stats) idle()  { s.progressAt.Store(0) }

// committed counts a transaction that is durable.
func (s *stats) committed(t *tally, took time.Duration) {
	s.commitTimes.Add(took)
	s.commits.Add(1)
	s.seen.Add(t.seen)
	s.known.Add(t.known)
	s.old.Add(t.old)
	s.filtered.Add(t.filtered)
	s.taken.Add(t.committed)
	s.critical.Add(t.critical)
	s.folded.Add(t.folded)
	s.blockedSince.Store(0)
	s.stuckSince.Store(0)
}

// refused notes that the spool did not take a transaction.
func (s *stats) refused(err error) {
	s.alive()
	s.failures.Add(1)
	s.blockedSince.CompareAndSwap(0, time.Now().UnixNano())
	if disk.Fault(err) {
		s.stuckSince.Store(0)
	} else {
		s.stuckSince.CompareAndSwap(0, max(1, int64(time.Since(s.began))))
	}
	why := disk.Advice(err)
	s.blockedBy.Store(&why)
}

// Status returns what was counted since the agent started. It may be called from any goroutine.
func (in *Intake) Status() status.Intake {
	s := &in.stats
	d := status.Intake{
		Seen: s.seen.Load(), Known: s.known.Load(), Old: s.old.Load(), Filtered: s.filtered.Load(),
		Committed: s.taken.Load(), Critical: s.critical.Load(), Folded: s.folded.Load(),
		Commits: s.commits.Load(), Failures: s.failures.Load(), CommitTimes: s.commitTimes.Read(),
	}
	in.mu.RLock()
	defer in.mu.RUnlock()
	d.Rules = filter.Hits(in.rules.Filter.Rules())
	return d
}

// Blocked returns since when the spool refuses writes, and why; the zero time while it does not.
func (in *Intake) Blocked() (since time.Time, why string) {
	at := in.stats.blockedSince.Load()
	if at == 0 {
		return time.Time{}, ""
	}
	if w := in.stats.blockedBy.Load(); w != nil {
		why = *w
	}
	return time.Unix(0, at), why
}

// StandsStill returns for how long the loop has not shown that it is alive: 0 while it waits for something to do.
func (in *Intake) StandsStill() time.Duration { return in.stats.since(&in.stats.progressAt) }

// StuckFor returns for how long the spool has refused everything for a reason of its own.
func (in *Intake) StuckFor() time.Duration { return in.stats.since(&in.stats.stuckSince) }

func (s *stats) since(at *atomic.Int64) time.Duration {
	if n := at.Load(); n != 0 {
		return time.Since(s.began) - time.Duration(n)
	}
	return 0
}
