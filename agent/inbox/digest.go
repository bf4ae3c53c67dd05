package inbox

import (
	"bytes"
	"container/heap"
	"time"

	"github.com/edge-eventer/edge-eventer/agent/incident"
	"github.com/edge-eventer/edge-eventer/agent/storm"
	"github.com/edge-eventer/edge-eventer/notify"
	"github.com/edge-eventer/edge-eventer/spool"
)

const (
	// MaxDigestRows bounds the incidents that a digest names, and so its memory: about 1 KiB each while it is sent.
	MaxDigestRows = 256
	// MaxDigestMessages is in how many messages a digest comes at most. What they have no room for is counted in the last.
	MaxDigestMessages = 5
)

// Digest sums up a backlog. It is made in one pass over the queue: the worst and newest incidents are named, all others
// counted. Of those it keeps only what is needed to acknowledge them: 72 bytes each, of at most 40,000 that fit into a
// spool of 16 MiB.
type Digest struct {
	// Rows are named, worst and newest first; those that were confirmed are taken off.
	Rows []Entry
	// Before is what was lost before it was made.
	Before []spool.Loss
	// AwaySince is when the receiver could no longer be reached; zero: it could.
	AwaySince time.Time

	// rest are only counted.
	rest       []mark
	restEvents uint64
	// incidents and events are all that it sums up, since is when the oldest of it was first observed.
	incidents int
	events    uint64
	since     time.Time
	sent      int
	// messages is in how many it comes at most.
	messages int
}

// mark is a reading of an incident: enough to say later that it was told up to here.
type mark struct {
	key                   []byte
	opened                time.Time
	occurrences, notified uint32
}

func markOf(e *Entry) mark {
	return mark{e.Key, e.Incident.Opened, e.Incident.Occurrences, e.Incident.Told}
}

// rowHeap has the row that is the first to go at its root: the least bad, the oldest.
type rowHeap []Entry

func (h rowHeap) Len() int           { return len(h) }
func (h rowHeap) Less(i, j int) bool { return worstAndNewestFirst(h[i], h[j]) > 0 }
func (h rowHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rowHeap) Push(x any)        { *h = append(*h, x.(Entry)) }
func (h *rowHeap) Pop() any {
	last := len(*h) - 1
	row := (*h)[last]
	*h = (*h)[:last]
	return row
}

// Backlog is how much makes a digest: more than After incidents that are due, or several of which one is overdue by Age.
type Backlog struct {
	After int
	Age   time.Duration
}

// Exceeds reports whether so much is due, or so late, that it is to be summed up. What is held back, and keys that holds names, do not count.
func (r *Reading) Exceeds(backlog Backlog, holds func(key []byte) bool) bool {
	n := 0
	var oldest time.Time
	for record := range r.queue.Due(r.now) {
		if record.Untold == 0 || holds(record.Key) || r.muted(&record) {
			continue
		}
		if n == 0 {
			oldest = record.Due
		}
		n++
		if n > backlog.After || n > 1 && r.now.Sub(oldest) > backlog.Age {
			return true
		}
	}
	return false
}

// Waiting counts what is due, that nothing holds back and that holds does not name, up to most.
func (r *Reading) Waiting(most int, holds func(key []byte) bool) (n int) {
	for record := range r.queue.Due(r.now) {
		if record.Untold == 0 || holds(record.Key) || r.muted(&record) {
			continue
		}
		if n++; n >= most {
			break
		}
	}
	return n
}

// Digest sums up all that is due, that nothing holds back and that holds does not name.
func (r *Reading) Digest(holds func(key []byte) bool) (*Digest, error) {
	g := &Digest{Before: r.queue.TotalLosses(), messages: MaxDigestMessages}
	var rows rowHeap
	err := r.sumUp(g, holds, false, func(e Entry) {
		heap.Push(&rows, e)
		if len(rows) > MaxDigestRows {
			g.onlyCount(heap.Pop(&rows).(Entry))
		}
	})
	g.Rows = make([]Entry, len(rows))
	for i := len(rows) - 1; i >= 0; i-- {
		g.Rows[i] = heap.Pop(&rows).(Entry)
	}
	return g, err
}

// ShortDigest is Digest in one message, which names something of each namespace and workload; with criticalOnly of what is critical alone.
func (r *Reading) ShortDigest(holds func(key []byte) bool, criticalOnly bool) (*Digest, error) {
	g := &Digest{Before: r.queue.TotalLosses(), messages: 1}
	rows := storm.Choice[Entry]{Most: storm.Rows, Before: func(a, b Entry) bool { return worstAndNewestFirst(a, b) < 0 }}
	err := r.sumUp(g, holds, criticalOnly, func(e Entry) {
		out, dropped := rows.Add(storm.Item[Entry]{
			Value: e, Namespace: e.Incident.Event.InvolvedObject.Namespace, Workload: e.Incident.Workload, Critical: e.Severity == notify.Critical,
		})
		if dropped {
			g.onlyCount(out)
		}
	})
	g.Rows = rows.Ordered()
	return g, err
}

// sumUp adds up all that is due and that holds does not name, and hands on each of it.
func (r *Reading) sumUp(g *Digest, holds func(key []byte) bool, criticalOnly bool, each func(Entry)) error {
	for record := range r.queue.Due(r.now) {
		if record.Untold == 0 || holds(record.Key) {
			continue
		}
		in, err := incident.Decode(record.Body)
		if err != nil {
			return err
		}
		e := Entry{record.Key, in, r.inbox.severityOf(in)}
		if !passes(criticalOnly, &e) {
			continue
		}
		if _, muted := r.verdict.Hold(e.subject()); muted {
			continue
		}
		g.incidents++
		g.events += uint64(in.Untold())
		if g.since.IsZero() || in.First.Before(g.since) {
			g.since = in.First
		}
		e.Key = bytes.Clone(e.Key)
		each(e)
	}
	return nil
}

// onlyCount notes an incident that is not named.
func (g *Digest) onlyCount(e Entry) {
	g.rest = append(g.rest, markOf(&e))
	g.restEvents += uint64(e.Incident.Untold())
}

// Incidents returns how many it sums up.
func (g *Digest) Incidents() int { return g.incidents }

// last reports whether the next message is the last one, in which what is not named is counted.
func (g *Digest) last() bool { return g.sent == g.messages-1 }

// Summary is the part of the next message that is not about single incidents.
func (g *Digest) Summary() *notify.Digest {
	return &notify.Digest{
		Incidents: g.incidents, Events: g.events, Since: g.since, AwaySince: g.AwaySince,
		Part: g.sent + 1, Last: g.last(), MoreIncidents: len(g.rest), MoreEvents: g.restEvents,
	}
}

// Confirmed takes off the first n rows, which the receiver confirmed, and returns what it was told only in numbers: all
// the rest, once the last message or the last row was told.
func (g *Digest) Confirmed(n int) Counted {
	final := g.last() || n == len(g.Rows)
	g.sent++
	g.Rows = g.Rows[n:]
	if !final {
		return nil
	}
	counted := make(Counted, 0, len(g.Rows)+len(g.rest))
	for i := range g.Rows {
		counted = append(counted, markOf(&g.Rows[i]))
	}
	counted = append(counted, g.rest...)
	g.Rows, g.rest = nil, nil
	return counted
}

// Counted are incidents that a digest told in numbers.
type Counted []mark

// Next takes off the first n of them, as entries of which only what an acknowledgement needs is set.
func (c *Counted) Next(n int) []Entry {
	n = min(n, len(*c))
	entries := make([]Entry, 0, n)
	for _, m := range (*c)[:n] {
		entries = append(entries, Entry{Key: m.key, Incident: &incident.Incident{Opened: m.opened, Occurrences: m.occurrences, Told: m.notified}})
	}
	*c = (*c)[n:]
	return entries
}

// Done reports whether all of the digest was told.
func (g *Digest) Done() bool { return len(g.Rows) == 0 && len(g.rest) == 0 }
