package agent

import (
	"bytes"
	"container/heap"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/dial/budget"
	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// maxDigestRows bounds the incidents that a digest names, and so its memory: about 1 KiB each while it is sent.
	maxDigestRows = 256
	// maxDigestMessages is in how many messages a digest comes at most. What they have no room for is counted in the last.
	maxDigestMessages = 5
	// digestChunk bounds one transaction that acknowledges what a digest only counted.
	digestChunk = 256
)

// digest sums up a backlog. It is made in one pass over the queue: the worst and newest incidents are named, all others
// counted. Of those it keeps only what is needed to acknowledge them: 72 bytes each, of at most 40,000 that fit into a
// spool of 16 MiB.
type digest struct {
	// rows are named, worst and newest first; those that were confirmed are taken off.
	rows []told
	// rest are only counted.
	rest       []mark
	restEvents uint64
	// incidents and events are all that it sums up, since is when the oldest of it was first observed.
	incidents int
	events    uint64
	since     time.Time
	// awaySince is when the receiver could no longer be reached; zero: it could.
	awaySince time.Time
	// lost is what was lost before it was made.
	lost []spool.Loss
	sent int
}

// mark is a reading of an incident: enough to say later that it was told up to here.
type mark struct {
	key               []byte
	opened            time.Time
	occurrences, told uint32
}

func markOf(t *told) mark {
	return mark{t.key, t.incident.Opened, t.incident.Occurrences, t.incident.Told}
}

// rowHeap has the row that is the first to go at its root: the least bad, the oldest.
type rowHeap []told

func (h rowHeap) Len() int           { return len(h) }
func (h rowHeap) Less(i, j int) bool { return worstAndNewestFirst(h[i], h[j]) > 0 }
func (h rowHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rowHeap) Push(x any)        { *h = append(*h, x.(told)) }
func (h *rowHeap) Pop() any {
	last := len(*h) - 1
	row := (*h)[last]
	*h = (*h)[:last]
	return row
}

// digestDue reports whether so much is due, or so late, that it is to be summed up. At four fifths of the budget everything is.
func (d *delivery) digestDue(q *spool.Queue, now time.Time, level budget.Level) bool {
	n := 0
	var oldest time.Time
	for record := range q.Due(now) {
		if record.Untold == 0 || d.asides.holds(record.Key) {
			continue
		}
		if n == 0 {
			oldest = record.Due
		}
		n++
		if level == budget.Frugal || n > d.digestAfter || n > 1 && now.Sub(oldest) > d.digestAge {
			return true
		}
	}
	return false
}

// sumUp makes the digest that w wants, of what is due now that it can leave.
func (d *delivery) sumUp(w *waiting) error {
	return d.spool.View(func(tx *spool.Tx) (err error) {
		q := tx.Queue(d.name)
		if d.digest, err = d.collect(q, time.Now()); err != nil {
			return err
		}
		w.digest, w.incidents, w.losses = d.digest, d.digest.rows, q.UntoldLosses()
		w.untold, w.lost = q.Untold(), d.digest.lost
		return nil
	})
}

// collect makes a digest of all that is due.
func (d *delivery) collect(q *spool.Queue, now time.Time) (*digest, error) {
	g := &digest{lost: q.TotalLosses()}
	if d.link != nil {
		if s := d.link.Status(); s.OutageTo.After(d.Status().LastDelivered) {
			g.awaySince = s.OutageFrom
		}
	}
	if d.trouble.failures > 0 && (g.awaySince.IsZero() || d.trouble.since.Before(g.awaySince)) {
		g.awaySince = d.trouble.since
	}
	if g.awaySince.IsZero() {
		g.awaySince = d.awaySince
	}
	var rows rowHeap
	for record := range q.Due(now) {
		if record.Untold == 0 || d.asides.holds(record.Key) {
			continue
		}
		in, err := incident.Decode(record.Body)
		if err != nil {
			return nil, err
		}
		g.incidents++
		g.events += uint64(in.Untold())
		if g.since.IsZero() || in.First.Before(g.since) {
			g.since = in.First
		}
		heap.Push(&rows, told{bytes.Clone(record.Key), in, d.severityOf(in)})
		if len(rows) > maxDigestRows {
			out := heap.Pop(&rows).(told)
			g.rest = append(g.rest, markOf(&out))
			g.restEvents += uint64(out.incident.Untold())
		}
	}
	g.rows = make([]told, len(rows))
	for i := len(rows) - 1; i >= 0; i-- {
		g.rows[i] = heap.Pop(&rows).(told)
	}
	return g, nil
}

// last reports whether the next message is the last one, in which what is not named is counted.
func (g *digest) last() bool { return g.sent == maxDigestMessages-1 }

// summary is the part of the next message that is not about single incidents.
func (g *digest) summary() *notify.Digest {
	return &notify.Digest{
		Incidents: g.incidents, Events: g.events, Since: g.since, AwaySince: g.awaySince,
		Part: g.sent + 1, Last: g.last(), MoreIncidents: len(g.rest), MoreEvents: g.restEvents,
	}
}

// confirmed takes off the first n rows, which the receiver confirmed, and returns what it was told only in numbers: all
// the rest, once the last message or the last row was told.
func (g *digest) confirmed(n int) (counted []mark) {
	final := g.last() || n == len(g.rows)
	g.sent++
	g.rows = g.rows[n:]
	if !final {
		return nil
	}
	for i := range g.rows {
		counted = append(counted, markOf(&g.rows[i]))
	}
	counted = append(counted, g.rest...)
	g.rows, g.rest = nil, nil
	return counted
}

// done reports whether all of the digest was told.
func (g *digest) done() bool { return len(g.rows) == 0 && len(g.rest) == 0 }
