package format

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// Run is entries of the ledger that lie in one entry of the file, sorted by their keys. They need not lie in the ledger's order with
// those of other runs. Key is that of [RunKey], Value is sealed.
type Run struct{ Key, Value []byte }

// runEntryLen is the length of an entry in a run: key, version, count, scope, arrival.
const runEntryLen = 20 + 8 + 4 + 4 + 4

// RunKey returns the key of a run of the transaction with the revision.
func RunKey(revision uint64, part uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64([]byte{KindRun}, revision), part)
}

// AppendRunEntry appends an entry to the payload of a run.
func AppendRunEntry(b []byte, id EventKey, e LedgerEntry) []byte {
	return e.Append(append(b, id[:]...))
}

// isRun says whether the payload has the form of a run: whole entries in their order.
func isRun(payload []byte) bool {
	if len(payload) == 0 || len(payload)%runEntryLen != 0 {
		return false
	}
	for at := runEntryLen; at < len(payload); at += runEntryLen {
		if bytes.Compare(payload[at-runEntryLen:][:20], payload[at:][:20]) >= 0 {
			return false
		}
	}
	return true
}

// Len returns how many entries the run has.
func (r Run) Len() int { return max(0, len(r.Value)-SealLen) / runEntryLen }

// At returns an entry and its key.
func (r Run) At(i int) (EventKey, LedgerEntry) {
	b := r.Value[SealLen+i*runEntryLen:][:runEntryLen]
	e, _ := DecodeLedgerEntry(b[20:])
	return EventKey(b[:20]), e
}

// Find returns where the entry with the key is.
func (r Run) Find(id EventKey) (int, bool) {
	n := r.Len()
	at := func(i int) []byte { return r.Value[SealLen+i*runEntryLen:][:20] }
	i := sort.Search(n, func(i int) bool { return bytes.Compare(at(i), id[:]) >= 0 })
	return i, i < n && bytes.Equal(at(i), id[:])
}

// With returns the payload of the run with another entry in the place of entry i, or without it where e is nil.
func (r Run) With(i int, e *LedgerEntry) []byte {
	payload := bytes.Clone(r.Value[SealLen:])
	at := i * runEntryLen
	if e == nil {
		return append(payload[:at], payload[at+runEntryLen:]...)
	}
	e.Append(payload[:at+20])
	return payload
}
