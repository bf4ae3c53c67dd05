package inspect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"maps"
	"slices"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
)

// census counts the entries of a file and checks each for itself, and in the end that records and their indexes agree. Its
// memory is a few words per queue: an index is compared with the records by the sum of the checksums of what each says.
type census struct {
	version uint32
	totals  format.Totals
	ledger  uint64
	maxSeq  uint64
	queues  map[string]*queueCensus
	table   *crc64.Table
}

type queueCensus struct {
	format.QueueStats

	stats    format.QueueStats
	hasStats bool
	// byDue and byKey are sums over the records less sums over the index.
	byDue, byKey uint64
}

func newCensus() *census {
	return &census{queues: make(map[string]*queueCensus), table: crc64.MakeTable(crc64.ECMA)}
}

func (c *census) queue(name []byte) *queueCensus {
	q := c.queues[string(name)]
	if q == nil {
		q = new(queueCensus)
		c.queues[string(name)] = q
	}
	return q
}

// add checks an entry and counts it.
func (c *census) add(key, value []byte) error {
	e, err := format.Parse(key, value)
	if err != nil {
		return err
	}
	switch e.Kind {
	case format.KindFormat:
		c.version = e.Version
	case format.KindTotals:
		c.totals = e.Totals
	case format.KindQueue:
		q := c.queue(e.Name)
		q.stats, q.hasStats = e.Stats, true
	case format.KindDue:
		c.queue(e.Name).byDue -= crc64.Checksum(key[1:], c.table)
	case format.KindKey:
		c.queue(e.Name).byKey -= c.identity(key, e.Seq)
	case format.KindRecord:
		q := c.queue(e.Name)
		q.Records++
		q.Bytes += e.Record.Size()
		q.Untold += uint64(e.Record.Untold)
		q.byDue += crc64.Checksum(format.DueKey(string(e.Name), e.Record.Due, e.Seq)[1:], c.table)
		q.byKey += c.identity(format.Named(format.KindKey, string(e.Name), e.Record.Key...), e.Seq)
		c.maxSeq = max(c.maxSeq, e.Seq)
	case format.KindDead:
		c.queue(e.Name).Dead++
		c.maxSeq = max(c.maxSeq, e.Seq)
	case format.KindRun:
		c.ledger += uint64(e.Run.Len())
	case format.KindLedger:
		c.ledger++
	}
	return nil
}

func (c *census) identity(key []byte, seq uint64) uint64 {
	return crc64.Checksum(binary.BigEndian.AppendUint64(key[1:len(key):len(key)], seq), c.table)
}

// check says what does not agree.
func (c *census) check() error {
	switch {
	case c.version == 0:
		return fmt.Errorf("%w: no format version", format.ErrMalformed)
	case c.version > format.FormatVersion:
		return fmt.Errorf("%w: %d, this program knows %d", failure.ErrVersion, c.version, format.FormatVersion)
	case c.totals.LedgerLen != c.ledger:
		return fmt.Errorf("%w: %d ledger entries, counted %d", format.ErrMalformed, c.totals.LedgerLen, c.ledger)
	case c.totals.NextSeq < c.maxSeq:
		return fmt.Errorf("%w: record %d beyond the last number %d", format.ErrMalformed, c.maxSeq, c.totals.NextSeq)
	}
	for _, name := range slices.Sorted(maps.Keys(c.queues)) {
		switch q := c.queues[name]; {
		case !q.hasStats:
			return fmt.Errorf("%w: queue %q has no statistics", format.ErrMalformed, name)
		case q.stats != q.QueueStats:
			return fmt.Errorf("%w: queue %q: statistics %+v, counted %+v", format.ErrMalformed, name, q.stats, q.QueueStats)
		case q.byDue != 0:
			return fmt.Errorf("%w: queue %q: due times do not agree with the records", format.ErrMalformed, name)
		case q.byKey != 0:
			return fmt.Errorf("%w: queue %q: keys do not agree with the records", format.ErrMalformed, name)
		}
	}
	return nil
}

// Report is what a reading of the whole file found.
type Report struct {
	// metas are the valid meta pages, meta the one that was walked; nil if none is valid.
	metas  []boltfile.Meta
	Meta   *boltfile.Meta
	Pages  *boltfile.File
	census *census
	// Cause is why the file is not sound; nil if it is.
	Cause error
	// older: meta is, or may be, that of the transaction before the last, because too little of the last can be read.
	Older bool
}

// Agrees says that what the pages say agrees.
func (in *Report) Agrees() bool { return in.Meta != nil && in.census.check() == nil }

// LostIndex says that neither index of records can be trusted to be whole.
func (in *Report) LostIndex() bool {
	return in.Meta == nil || in.Pages.HasLost([]byte{format.KindDue}) && in.Pages.HasLost([]byte{format.KindKey})
}

// Read reads all pages of the file. It returns an error only for a file that is of a newer version.
func Read(r io.ReaderAt, size int64) (*Report, error) {
	metas, why := boltfile.ReadMetas(r)
	if len(metas) == 0 {
		if errors.Is(why, boltfile.ErrNewer) {
			return nil, fmt.Errorf("%w: of bbolt", failure.ErrVersion)
		}
		if size == 0 {
			why = fmt.Errorf("%w: the file is empty", format.ErrMalformed)
		}
		pages := boltfile.New(r, format.BucketName, size, boltfile.GuessPageSize(r, size), 1<<62)
		pages.Lose(boltfile.Range{}, why)
		return &Report{Pages: pages, census: newCensus(), Cause: why}, nil
	}
	var newest *Report
	for i := range metas {
		in := &Report{
			metas:  metas,
			Meta:   &metas[i],
			Pages:  boltfile.New(r, format.BucketName, size, metas[i].PageSize, metas[i].Pages),
			census: newCensus(),
		}
		in.Pages.Walk(metas[i], in.census.add)
		in.Cause = in.Pages.Cause()
		if err := in.census.check(); errors.Is(err, failure.ErrVersion) {
			return nil, err
		} else if in.Cause == nil {
			in.Cause = err
		}
		if newest == nil {
			switch {
			case in.Cause != nil:
			case len(metas) < 2:
				// A meta page lies in one sector, so that a power cut leaves the old or the new one. One that is neither is
				// damage, and may be that of the last transaction.
				in.Cause, in.Older = errors.Join(why, fmt.Errorf("%w: one of two meta pages is gone", format.ErrMalformed)), true
			default:
				in.Cause = errors.Join(metas[0].Flaw, metas[1].Flaw)
			}
			if in.Cause == nil || in.Older || !in.LostIndex() {
				return in, nil
			}
			newest = in
			continue
		}
		if in.Cause == nil {
			in.Cause, in.Older = newest.Cause, true
			return in, nil
		}
	}
	return newest, nil
}
