package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/txn"
)

// BytesPerLedgerEntry divides MaxBytes to the greatest number of ledger entries: 104,857 with 16 MiB. An entry takes 57
// bytes of a leaf page, so a full and densely packed ledger is a bit over a third of the file.
const BytesPerLedgerEntry = 160

// EventID names an event.
type EventID struct {
	// UID names the event for ever. A UUID enters the key as its 16 bytes, anything else as a part of its SHA-256.
	UID string
	// Created is when the event was created, of which the seconds count.
	Created time.Time
	// Scope is the name by which Sweep finds it.
	Scope string
}

// Key returns the key of the event. Created must be the same each time: it is part of the key.
func (id EventID) Key() format.EventKey {
	var key format.EventKey
	binary.BigEndian.PutUint32(key[:], uint32(min(max(0, id.Created.Unix()), math.MaxUint32)))
	if !parseUUID(key[4:], id.UID) {
		sum := sha256.Sum256([]byte(id.UID))
		copy(key[4:], sum[:])
	}
	return key
}

// parseUUID reads the form 8-4-4-4-12 of lower-case digits, the usual one.
func parseUUID(dst []byte, s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false
	}
	var digits [32]byte
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
			digits[n] = c
			n++
		default:
			return false
		}
	}
	_, err := hex.Decode(dst, digits[:])
	return err == nil
}

// Ledger says which version of an event was taken last.
type Ledger struct {
	tx   *txn.Txn
	runs runs
}

// New returns the ledger as the transaction sees it.
func New(tx *txn.Txn) *Ledger { return &Ledger{tx: tx} }

// limit is the bound of the number of entries.
func (l *Ledger) limit() uint64 {
	if l.tx.Env.Bulk {
		return 1 << 62
	}
	return uint64(l.tx.Env.MaxBytes / BytesPerLedgerEntry)
}

func scopeHash(scope string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(scope))
	return h.Sum32()
}

// ordered returns the entry of the event that lies in its place.
func (l *Ledger) ordered(id format.EventKey) (format.LedgerEntry, bool) {
	payload, ok := l.tx.Payload(append([]byte{format.KindLedger}, id[:]...))
	if !ok {
		return format.LedgerEntry{}, false
	}
	e, err := format.DecodeLedgerEntry(payload)
	if err != nil {
		l.tx.IsDamaged(err)
		return format.LedgerEntry{}, false
	}
	return e, true
}

// entry returns the entry of the event, wherever it lies.
func (l *Ledger) entry(id format.EventKey) (format.LedgerEntry, bool) {
	if e, ok := l.runs.fresh[id]; ok {
		return e, true
	}
	if e, ok := l.ordered(id); ok {
		return e, true
	}
	run, at, ok := l.inRun(id)
	if !ok {
		return format.LedgerEntry{}, false
	}
	_, e := run.At(at)
	return e, true
}

// Taken returns which version of the event was taken last.
func (l *Ledger) Taken(id EventID) (format.Taken, bool) {
	e, ok := l.entry(id.Key())
	return e.Taken, ok
}

// RecordKey returns a key for a record of the event itself. Where [format.EventKey] has the time of the creation it has the order in which
// events were first taken, so that what one transaction puts, and what one message acknowledges, lies together in the index of a queue,
// also where events are listed in another order than that of their creation. It stays the same as long as the ledger knows the event. An
// event that it does not know, or knows from an older release, has its EventKey.
func (l *Ledger) RecordKey(id EventID) format.EventKey {
	key := id.Key()
	if e, ok := l.entry(key); ok && e.Arrival != 0 {
		binary.BigEndian.PutUint32(key[:], e.Arrival)
	}
	return key
}

// Forgot says whether the ledger may have known the event and had no room for it: it has no entry, and was not created after the
// newest whose entry went for that reason.
func (l *Ledger) Forgot(id EventID) bool {
	key := id.Key()
	if forgotten := l.tx.LoadTotals().Forgotten; forgotten == 0 || binary.BigEndian.Uint32(key[:]) > forgotten {
		return false
	}
	_, known := l.Taken(id)
	return !known
}

// Take enters the version of the event. Beyond MaxBytes/160 entries those of the oldest creation time go; see [Tx.Forgot].
func (l *Ledger) Take(id EventID, t format.Taken) error {
	if !l.tx.Writable {
		return failure.ErrNotWritable
	}
	key := id.Key()
	e := format.LedgerEntry{Taken: t, Scope: scopeHash(id.Scope)}
	if old, ok := l.runs.fresh[key]; ok {
		e.Arrival = old.Arrival
		l.runs.fresh[key] = e
		return nil
	}
	if old, ok := l.ordered(key); ok {
		e.Arrival = old.Arrival
		return l.put(key, e)
	}
	if run, at, ok := l.inRun(key); ok {
		_, old := run.At(at)
		e.Arrival = old.Arrival
		return l.changeRun(bytes.Clone(run.Key), run.With(at, &e))
	}
	if l.runs.fresh == nil {
		l.runs.fresh = make(map[format.EventKey]format.LedgerEntry)
	}
	e.Arrival = l.nextArrival()
	l.runs.fresh[key] = e
	l.tx.CountLedger(1)
	if limit := l.limit(); l.tx.LoadTotals().LedgerLen > limit {
		// A 64th at once, so that the oldest page is not changed by each commit.
		return l.ForgetOldest(int(max(1, limit/64)))
	}
	return l.tx.Err
}

// nextArrival returns a number for a new entry: the low bits of the transaction's revision, and the count of its new entries. It begins
// anew after four million transactions, which costs nothing but that two stretches of arrivals lie side by side.
func (l *Ledger) nextArrival() uint32 {
	l.runs.arrivals++
	return max(1, uint32(l.tx.LoadTotals().Rev+1)<<10|l.runs.arrivals&(1<<10-1))
}

// Forget removes the event from the ledger.
func (l *Ledger) Forget(id EventID) error {
	if !l.tx.Writable {
		return failure.ErrNotWritable
	}
	key := id.Key()
	if _, ok := l.runs.fresh[key]; ok {
		delete(l.runs.fresh, key)
		l.tx.CountLedger(-1)
		return nil
	}
	if run, at, ok := l.inRun(key); ok {
		l.tx.CountLedger(-1)
		return l.changeRun(bytes.Clone(run.Key), run.With(at, nil))
	}
	return l.forget(append([]byte{format.KindLedger}, key[:]...))
}

func (l *Ledger) forget(key []byte) error {
	existed, err := l.tx.Delete(key)
	if err != nil || !existed {
		return err
	}
	l.tx.CountLedger(-1)
	return nil
}

// ForgetOldest removes the n entries of the oldest creation times. Those of runs, which a list is bringing, go last and run by run.
func (l *Ledger) ForgetOldest(n int) error {
	var keys [][]byte
	for key := range l.tx.Scan([]byte{format.KindLedger}) {
		if len(keys) == n {
			break
		}
		keys = append(keys, bytes.Clone(key))
	}
	for _, key := range keys {
		if err := l.forget(key); err != nil {
			return err
		}
		totals := l.tx.LoadTotals()
		totals.Forgotten = max(totals.Forgotten, binary.BigEndian.Uint32(key[1:]))
	}
	if len(keys) < n {
		return l.dropOldestRun()
	}
	return nil
}

// entriesPerPage is how many ledger entries fill 4 KiB.
const entriesPerPage = 64

// maxSweepPages is how many stretches of 4 KiB one Sweep may change: 1 MiB with the default, and twice as much where pages are half
// full. More would not fit beside a full spool, and records would be evicted for it.
func (l *Ledger) maxSweepPages() int { return int(l.tx.Env.MaxBytes / 16 / 4096) }

// Sweep removes the entries of the scope, "" being all, for which alive says no, and returns how many it removed. One
// call changes a sixteenth of MaxBytes, which holds 16,000 entries with the default; what is left is for the next call.
func (l *Ledger) Sweep(scope string, alive func(format.EventKey) bool) (int, error) {
	if err := l.merge(); err != nil {
		return 0, err
	}
	removed, pages, sincePage := 0, 0, entriesPerPage
	hash := scopeHash(scope)
	for key, value := range l.tx.Scan([]byte{format.KindLedger}) {
		sincePage++
		payload, err := format.Unseal(key, value)
		if err != nil || len(key) != 1+len(format.EventKey{}) {
			l.tx.IsDamaged(err)
			break
		}
		e, err := format.DecodeLedgerEntry(payload)
		if err != nil {
			l.tx.IsDamaged(err)
			break
		}
		if scope != "" && e.Scope != hash || alive(format.EventKey(key[1:])) {
			continue
		}
		if sincePage >= entriesPerPage {
			if pages == l.maxSweepPages() {
				break
			}
			pages++
			sincePage = 0
		}
		if err := l.forget(bytes.Clone(key)); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, l.tx.Err
}

// LedgerLen returns the number of entries in the ledger.
func (l *Ledger) LedgerLen() int {
	return int(l.tx.LoadTotals().LedgerLen)
}
