package ledger

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/edge-eventer/edge-eventer/spool/format"
)

// The ledger lies in the order of creation, and a list shows events in the order of their names, which is in no order of time: each of its
// entries would change a page of its own, 4 KiB for 61 bytes. So what one transaction takes that way is put into one entry of the file, a
// run, and a few thousand of them are put in order together. The list that brought them ends with a [Ledger.Sweep], which leaves no
// run behind. A file with runs has version 2; without them any release can read it.

const (
	// maxScattered is how many entries out of order a transaction may put where they belong.
	maxScattered = 8
	// tailEntries is how many entries at the end of the ledger count as one place: those of two pages or three.
	tailEntries = 128
	// maxRunEntries bounds a run to a quarter of a page: bbolt does not split a leaf of up to four entries, and the kernel counts what was once
	// written in one piece as written to the full with each page of it. maxRuns is how many of them a look-up has to search.
	maxRunEntries = 24
	maxRuns       = 512
	// maxMergePages bounds the pages that putting runs in order may change, in memory too.
	maxMergePages = 512
)

// runs are what a transaction knows of the entries that are not in order yet.
type runs struct {
	// fresh has the entries that this transaction took.
	fresh map[format.EventKey]format.LedgerEntry
	// parts counts the runs that it wrote, arrivals what was new to it.
	parts    uint16
	arrivals uint32
	// stored are those of the file, and isLoaded says whether they were looked up.
	stored   []format.Run
	isLoaded bool
}

// mayDefer says whether new entries may wait for their place: the ledger has few enough pages for all of them to be changed at once.
func (l *Ledger) mayDefer() bool {
	pages := min(maxMergePages, l.tx.Env.MaxBytes/16/4096)
	return !l.tx.Env.Bulk && l.tx.LoadTotals().LedgerLen <= uint64(pages*entriesPerPage)
}

// maxDeferred is how many entries may wait for their place: those of a hundredth of the file.
func (l *Ledger) maxDeferred() int {
	return int(min(8192, l.tx.Env.MaxBytes/4096))
}

func (l *Ledger) load() []format.Run {
	if !l.runs.isLoaded {
		l.runs.isLoaded, l.runs.stored = true, nil
		for key, value := range l.tx.Scan([]byte{format.KindRun}) {
			l.runs.stored = append(l.runs.stored, format.Run{Key: key, Value: value})
		}
	}
	return l.runs.stored
}

// inRun returns the entry of the event and the run that has it.
func (l *Ledger) inRun(id format.EventKey) (run format.Run, at int, ok bool) {
	for _, run := range l.load() {
		at, ok := run.Find(id)
		if !ok {
			continue
		}
		if _, err := format.Unseal(run.Key, run.Value); err != nil {
			l.tx.IsDamaged(err)
			return run, 0, false
		}
		return run, at, true
	}
	return format.Run{}, 0, false
}

// changeRun stores a run anew, or removes it if nothing is left in it.
func (l *Ledger) changeRun(key, payload []byte) error {
	l.runs.isLoaded = false
	if len(payload) == 0 {
		_, err := l.tx.Delete(key)
		return err
	}
	_, err := l.tx.Put(key, format.Seal(key, payload))
	return err
}

// Flush puts what the transaction took where it belongs, or into a run. It comes before the transaction is measured.
func (l *Ledger) Flush() error {
	if len(l.runs.fresh) == 0 {
		return l.tx.Err
	}
	keys := slices.SortedFunc(maps.Keys(l.runs.fresh), func(a, b format.EventKey) int { return bytes.Compare(a[:], b[:]) })
	scattered := 0
	if tail := l.tail(); tail != nil {
		for scattered < len(keys) && bytes.Compare(keys[scattered][:], tail) < 0 {
			scattered++
		}
	}
	if scattered <= maxScattered || !l.mayDefer() {
		for _, key := range keys {
			if err := l.put(key, l.runs.fresh[key]); err != nil {
				return err
			}
		}
		clear(l.runs.fresh)
		return l.tx.Err
	}
	deferred := len(keys)
	for _, run := range l.load() {
		deferred += run.Len()
	}
	if deferred > l.maxDeferred() || len(l.runs.stored) >= maxRuns {
		return l.merge()
	}
	return l.writeRuns(keys)
}

// tail returns where the last few entries of the ledger begin, less the kind; nil for an empty one.
func (l *Ledger) tail() []byte {
	key := l.tx.Back([]byte{format.KindLedger}, tailEntries)
	if key == nil {
		return nil
	}
	return key[1:]
}

// put puts an entry in its place.
func (l *Ledger) put(id format.EventKey, e format.LedgerEntry) error {
	key := append([]byte{format.KindLedger}, id[:]...)
	_, err := l.tx.Put(key, format.Seal(key, e.Append(nil)))
	return err
}

// writeRuns writes the fresh entries, whose keys are sorted, as runs.
func (l *Ledger) writeRuns(keys []format.EventKey) error {
	if err := l.setVersion(format.FormatVersion); err != nil {
		return err
	}
	for part := range slices.Chunk(keys, maxRunEntries) {
		var payload []byte
		for _, key := range part {
			payload = format.AppendRunEntry(payload, key, l.runs.fresh[key])
		}
		if err := l.changeRun(format.RunKey(l.tx.LoadTotals().Rev+1, l.runs.parts), payload); err != nil {
			return err
		}
		l.runs.parts++
	}
	clear(l.runs.fresh)
	return l.tx.Err
}

// merge puts all entries in their places: those of the runs and the fresh ones. No run is left.
func (l *Ledger) merge() error {
	stored := l.load()
	if len(stored) > 0 {
		if l.runs.fresh == nil {
			l.runs.fresh = make(map[format.EventKey]format.LedgerEntry)
		}
		keys := make([][]byte, 0, len(stored))
		for _, run := range stored {
			if _, err := format.Unseal(run.Key, run.Value); err != nil {
				l.tx.IsDamaged(err)
				return l.tx.Err
			}
			for i := range run.Len() {
				id, e := run.At(i)
				l.runs.fresh[id] = e
			}
			keys = append(keys, bytes.Clone(run.Key))
		}
		for _, key := range keys {
			if err := l.changeRun(key, nil); err != nil {
				return err
			}
		}
		if err := l.setVersion(format.LeastVersion); err != nil {
			return err
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(l.runs.fresh), func(a, b format.EventKey) int { return bytes.Compare(a[:], b[:]) }) {
		if err := l.put(id, l.runs.fresh[id]); err != nil {
			return err
		}
	}
	clear(l.runs.fresh)
	return l.tx.Err
}

// setVersion says which releases can read the file.
func (l *Ledger) setVersion(version uint32) error {
	return l.tx.PutChanged([]byte{format.KindFormat}, binary.BigEndian.AppendUint32(nil, version))
}

// dropOldestRun forgets all that is in the oldest run.
func (l *Ledger) dropOldestRun() error {
	stored := l.load()
	if len(stored) == 0 {
		return l.tx.Err
	}
	run := stored[0]
	if _, err := format.Unseal(run.Key, run.Value); err != nil {
		l.tx.IsDamaged(err)
		return l.tx.Err
	}
	totals := l.tx.LoadTotals()
	for i := range run.Len() {
		id, _ := run.At(i)
		totals.Forgotten = max(totals.Forgotten, binary.BigEndian.Uint32(id[:]))
	}
	l.tx.CountLedger(-run.Len())
	if len(stored) == 1 {
		if err := l.setVersion(format.LeastVersion); err != nil {
			return err
		}
	}
	return l.changeRun(bytes.Clone(run.Key), nil)
}
