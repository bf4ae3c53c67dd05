package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"maps"
	"slices"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
)

// census counts the entries of a file and checks each for itself, and in the end that records and their indexes agree. Its
// memory is a few words per queue: an index is compared with the records by the sum of the checksums of what each says.
type census struct {
	version uint32
	totals  totals
	ledger  uint64
	maxSeq  uint64
	queues  map[string]*queueCensus
	table   *crc64.Table
}

type queueCensus struct {
	queueStats

	stats    queueStats
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
	e, err := parseEntry(key, value)
	if err != nil {
		return err
	}
	switch e.kind {
	case kindFormat:
		c.version = e.version
	case kindTotals:
		c.totals = e.totals
	case kindQueue:
		q := c.queue(e.name)
		q.stats, q.hasStats = e.stats, true
	case kindDue:
		c.queue(e.name).byDue -= crc64.Checksum(key[1:], c.table)
	case kindKey:
		c.queue(e.name).byKey -= c.identity(key, e.seq)
	case kindRecord:
		q := c.queue(e.name)
		q.records++
		q.bytes += e.record.size()
		q.untold += uint64(e.record.untold)
		q.byDue += crc64.Checksum(dueKey(string(e.name), e.record.due, e.seq)[1:], c.table)
		q.byKey += c.identity(named(kindKey, string(e.name), e.record.key...), e.seq)
		c.maxSeq = max(c.maxSeq, e.seq)
	case kindDead:
		c.queue(e.name).dead++
		c.maxSeq = max(c.maxSeq, e.seq)
	case kindLedger:
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
		return fmt.Errorf("%w: no format version", errMalformed)
	case c.version > formatVersion:
		return fmt.Errorf("%w: %d, this program knows %d", ErrVersion, c.version, formatVersion)
	case c.totals.ledgerLen != c.ledger:
		return fmt.Errorf("%w: %d ledger entries, counted %d", errMalformed, c.totals.ledgerLen, c.ledger)
	case c.totals.nextSeq < c.maxSeq:
		return fmt.Errorf("%w: record %d beyond the last number %d", errMalformed, c.maxSeq, c.totals.nextSeq)
	}
	for _, name := range slices.Sorted(maps.Keys(c.queues)) {
		switch q := c.queues[name]; {
		case !q.hasStats:
			return fmt.Errorf("%w: queue %q has no statistics", errMalformed, name)
		case q.stats != q.queueStats:
			return fmt.Errorf("%w: queue %q: statistics %+v, counted %+v", errMalformed, name, q.stats, q.queueStats)
		case q.byDue != 0:
			return fmt.Errorf("%w: queue %q: due times do not agree with the records", errMalformed, name)
		case q.byKey != 0:
			return fmt.Errorf("%w: queue %q: keys do not agree with the records", errMalformed, name)
		}
	}
	return nil
}

// parsedEntry is an entry of the bucket, taken apart and checked as far as one entry can be.
type parsedEntry struct {
	kind    byte
	version uint32
	totals  totals
	name    []byte
	stats   queueStats
	due     int64
	seq     uint64
	record  stored
	ledger  entry
}

func parseEntry(key, value []byte) (e parsedEntry, err error) {
	if len(key) == 0 {
		return e, fmt.Errorf("%w: empty key", errMalformed)
	}
	e.kind = key[0]
	var rest []byte
	if e.kind >= kindQueue && e.kind <= kindDead {
		// The key of statistics ends with the name.
		if e.kind == kindQueue {
			if len(key) < 3 || int(key[1]) != len(key)-2 || key[1] > maxNameLen {
				return e, fmt.Errorf("%w: key %x", errMalformed, key)
			}
			e.name = key[2:]
		} else if e.name, rest, err = splitNamed(key); err != nil {
			return e, err
		}
	}
	payload := value
	if e.kind != kindDue && e.kind != kindKey {
		if payload, err = unseal(key, value); err != nil {
			return e, err
		}
	}
	wrong := func() (parsedEntry, error) {
		return e, fmt.Errorf("%w: entry %x of %d bytes", errMalformed, key, len(value))
	}
	switch e.kind {
	case kindFormat:
		if len(payload) < 4 {
			return wrong()
		}
		e.version = binary.BigEndian.Uint32(payload)
	case kindTotals:
		e.totals, err = decodeTotals(payload)
	case kindValue:
	case kindPosition:
		if _, isState := namespaceOf(key); isState {
			_, err = decodeNamespaceState(payload)
		}
	case kindCounter:
		if len(payload) != 8 {
			return wrong()
		}
	case kindQueue:
		e.stats, err = decodeQueueStats(payload)
	case kindUntold, kindTotal:
		_, err = decodeLoss(string(rest), payload)
	case kindDue:
		if len(rest) != 16 || len(value) != 0 {
			return wrong()
		}
		e.due, e.seq = int64(binary.BigEndian.Uint64(rest)), binary.BigEndian.Uint64(rest[8:])
	case kindKey:
		if len(rest) < 1 || len(rest) > maxKeyLen || len(value) != 8 {
			return wrong()
		}
		e.seq = binary.BigEndian.Uint64(value)
	case kindRecord, kindDead:
		if len(rest) != 8 {
			return wrong()
		}
		e.seq = binary.BigEndian.Uint64(rest)
		if e.kind == kindRecord {
			e.record, err = decodeStored(payload)
		} else {
			_, err = decodeDead(payload)
		}
	case kindLedger:
		if len(key) != 1+len(EventKey{}) {
			return wrong()
		}
		e.ledger, err = decodeEntry(payload)
	default:
		return wrong()
	}
	return e, err
}

// inspection is what a reading of the whole file found.
type inspection struct {
	// metas are the valid meta pages, meta the one that was walked; nil if none is valid.
	metas  []boltfile.Meta
	meta   *boltfile.Meta
	pages  *boltfile.File
	census *census
	// cause is why the file is not sound; nil if it is.
	cause error
	// older: meta is, or may be, that of the transaction before the last, because too little of the last can be read.
	older bool
}

// agrees says that what the pages say agrees.
func (in *inspection) agrees() bool { return in.meta != nil && in.census.check() == nil }

// lostIndex says that neither index of records can be trusted to be whole.
func (in *inspection) lostIndex() bool {
	return in.meta == nil || in.pages.HasLost([]byte{kindDue}) && in.pages.HasLost([]byte{kindKey})
}

// inspect reads all pages of the file. It returns an error only for a file that is of a newer version.
func inspect(r io.ReaderAt, size int64) (*inspection, error) {
	metas, why := boltfile.ReadMetas(r)
	if len(metas) == 0 {
		if errors.Is(why, boltfile.ErrNewer) {
			return nil, fmt.Errorf("%w: of bbolt", ErrVersion)
		}
		if size == 0 {
			why = fmt.Errorf("%w: the file is empty", errMalformed)
		}
		pages := boltfile.New(r, bucketName, size, boltfile.GuessPageSize(r, size), 1<<62)
		pages.Lose(boltfile.Range{}, why)
		return &inspection{pages: pages, census: newCensus(), cause: why}, nil
	}
	var newest *inspection
	for i := range metas {
		in := &inspection{
			metas:  metas,
			meta:   &metas[i],
			pages:  boltfile.New(r, bucketName, size, metas[i].PageSize, metas[i].Pages),
			census: newCensus(),
		}
		in.pages.Walk(metas[i], in.census.add)
		in.cause = in.pages.Cause()
		if err := in.census.check(); errors.Is(err, ErrVersion) {
			return nil, err
		} else if in.cause == nil {
			in.cause = err
		}
		if newest == nil {
			switch {
			case in.cause != nil:
			case len(metas) < 2:
				// A meta page lies in one sector, so that a power cut leaves the old or the new one. One that is neither is
				// damage, and may be that of the last transaction.
				in.cause, in.older = errors.Join(why, fmt.Errorf("%w: one of two meta pages is gone", errMalformed)), true
			default:
				in.cause = errors.Join(metas[0].Flaw, metas[1].Flaw)
			}
			if in.cause == nil || in.older || !in.lostIndex() {
				return in, nil
			}
			newest = in
			continue
		}
		if in.cause == nil {
			in.cause, in.older = newest.cause, true
			return in, nil
		}
	}
	return newest, nil
}
