package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math"
	"time"
)

// bytesPerLedgerEntry divides MaxBytes to the greatest number of ledger entries: 104,857 with 16 MiB. An entry takes 57
// bytes of a leaf page, so a full and densely packed ledger is a bit over a third of the file.
const bytesPerLedgerEntry = 160

// EventKey is the key of an event in the ledger: 4 bytes of creation time in seconds, big-endian, and 16 bytes of UID.
// The time comes first so that new entries lie beside each other: a batch of new events changes one or two pages, where
// random keys would change one page per event.
type EventKey [20]byte

// EventID names an event.
type EventID struct {
	// UID is the object's UID. A UUID enters the key as its 16 bytes, anything else as a part of its SHA-256.
	UID string
	// Created is the object's creation time, of which the seconds count.
	Created time.Time
	// Namespace is the namespace by which Sweep finds it.
	Namespace string
}

// Key returns the key of the event. Created must be the same each time: it is part of the key.
func (id EventID) Key() EventKey {
	var key EventKey
	binary.BigEndian.PutUint32(key[:], uint32(min(max(0, id.Created.Unix()), math.MaxUint32)))
	if !parseUUID(key[4:], id.UID) {
		sum := sha256.Sum256([]byte(id.UID))
		copy(key[4:], sum[:])
	}
	return key
}

// parseUUID reads the form 8-4-4-4-12 of lower-case digits, the only one that an API server writes.
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

// Taken is the version of an event that was taken.
type Taken struct {
	ResourceVersion uint64
	Count           uint32
}

func ledgerKey(id EventID) []byte {
	key := id.Key()
	return append([]byte{kindLedger}, key[:]...)
}

func namespaceHash(namespace string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(namespace))
	return h.Sum32()
}

// Taken returns which version of the event was taken last.
func (tx *Tx) Taken(id EventID) (Taken, bool) {
	key := ledgerKey(id)
	payload, ok := tx.payload(key)
	if !ok {
		return Taken{}, false
	}
	e, err := decodeEntry(payload)
	if err != nil {
		tx.damaged(err)
		return Taken{}, false
	}
	return e.Taken, true
}

// Forgot says whether the ledger may have known the event and had no room for it: it has no entry, and was not created after the
// newest whose entry went for that reason.
func (tx *Tx) Forgot(id EventID) bool {
	key := id.Key()
	if forgotten := tx.loadTotals().forgotten; forgotten == 0 || binary.BigEndian.Uint32(key[:]) > forgotten {
		return false
	}
	_, known := tx.Taken(id)
	return !known
}

// Take enters the version of the event. Beyond MaxBytes/160 entries those of the oldest creation time go; see [Tx.Forgot].
func (tx *Tx) Take(id EventID, t Taken) error {
	key := ledgerKey(id)
	e := entry{Taken: t, namespace: namespaceHash(id.Namespace)}
	isNew, err := tx.put(key, seal(key, e.append(nil)))
	if err != nil {
		return err
	}
	if !isNew {
		return nil
	}
	totals := tx.loadTotals()
	totals.ledgerLen++
	tx.totalsDirty = true
	if limit := tx.spool.maxLedger(); totals.ledgerLen > limit {
		// A 64th at once, so that the oldest page is not changed by each commit.
		return tx.forgetOldest(int(max(1, limit/64)))
	}
	return nil
}

// Forget removes the event from the ledger.
func (tx *Tx) Forget(id EventID) error {
	return tx.forget(ledgerKey(id))
}

func (tx *Tx) forget(key []byte) error {
	existed, err := tx.delete(key)
	if err != nil || !existed {
		return err
	}
	totals := tx.loadTotals()
	if totals.ledgerLen > 0 {
		totals.ledgerLen--
	}
	tx.totalsDirty = true
	return nil
}

func (tx *Tx) forgetOldest(n int) error {
	var keys [][]byte
	for key := range tx.scan([]byte{kindLedger}) {
		if len(keys) == n {
			break
		}
		keys = append(keys, bytes.Clone(key))
	}
	for _, key := range keys {
		if err := tx.forget(key); err != nil {
			return err
		}
		totals := tx.loadTotals()
		totals.forgotten = max(totals.forgotten, binary.BigEndian.Uint32(key[1:]))
	}
	return nil
}

// entriesPerPage is how many ledger entries fill 4 KiB.
const entriesPerPage = 64

// maxSweepPages is how many stretches of 4 KiB one Sweep may change: 1 MiB with the default, and twice as much where pages are half
// full. More would not fit beside a full spool, and records would be evicted for it.
func (s *Spool) maxSweepPages() int { return int(s.options.MaxBytes / 16 / 4096) }

// Sweep removes the entries of the namespace, "" being all, for which alive says no, and returns how many it removed. One
// call changes a sixteenth of MaxBytes, which holds 16,000 entries with the default; what is left is for the next call.
func (tx *Tx) Sweep(namespace string, alive func(EventKey) bool) (int, error) {
	removed, pages, sincePage := 0, 0, entriesPerPage
	hash := namespaceHash(namespace)
	for key, value := range tx.scan([]byte{kindLedger}) {
		sincePage++
		payload, err := unseal(key, value)
		if err != nil || len(key) != 1+len(EventKey{}) {
			tx.damaged(err)
			break
		}
		e, err := decodeEntry(payload)
		if err != nil {
			tx.damaged(err)
			break
		}
		if namespace != "" && e.namespace != hash || alive(EventKey(key[1:])) {
			continue
		}
		if sincePage >= entriesPerPage {
			if pages == tx.spool.maxSweepPages() {
				break
			}
			pages++
			sincePage = 0
		}
		if err := tx.forget(bytes.Clone(key)); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, tx.err
}

// LedgerLen returns the number of entries in the ledger.
func (tx *Tx) LedgerLen() int {
	return int(tx.loadTotals().ledgerLen)
}
