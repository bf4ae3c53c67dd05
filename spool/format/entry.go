package format

import (
	"encoding/binary"
	"fmt"
)

// Entry is an entry of the bucket, taken apart and checked as far as one entry can be.
type Entry struct {
	Kind    byte
	Version uint32
	Totals  Totals
	Name    []byte
	Stats   QueueStats
	Seq     uint64
	Record  Record
	Ledger  LedgerEntry
	Run     Run
}

// Parse takes an entry of the bucket apart.
func Parse(key, value []byte) (e Entry, err error) {
	if len(key) == 0 {
		return e, fmt.Errorf("%w: empty key", ErrMalformed)
	}
	e.Kind = key[0]
	var rest []byte
	if e.Name, rest, err = splitKey(key); err != nil {
		return e, err
	}
	payload := value
	if e.Kind != KindDue && e.Kind != KindKey {
		if payload, err = Unseal(key, value); err != nil {
			return e, err
		}
	}
	ok := true
	switch e.Kind {
	case KindFormat:
		if ok = len(payload) >= 4; ok {
			e.Version = binary.BigEndian.Uint32(payload)
		}
	case KindTotals:
		e.Totals, err = DecodeTotals(payload)
	case KindValue:
	case KindPosition:
		if _, isState := ScopeOf(key); isState {
			_, err = DecodeScopeState(payload)
		}
	case KindCounter:
		ok = len(payload) == 8
	case KindQueue:
		e.Stats, err = DecodeQueueStats(payload)
	case KindUntold, KindTotal:
		ok = len(payload) >= LossLen
	case KindDue:
		if ok = len(rest) == 16 && len(value) == 0; ok {
			e.Seq = binary.BigEndian.Uint64(rest[8:])
		}
	case KindKey:
		if ok = len(rest) >= 1 && len(rest) <= MaxKeyLen && len(value) == 8; ok {
			e.Seq = binary.BigEndian.Uint64(value)
		}
	case KindRecord, KindDead:
		if ok = len(rest) == 8; !ok {
			break
		}
		e.Seq = binary.BigEndian.Uint64(rest)
		if e.Kind == KindRecord {
			e.Record, err = DecodeRecord(payload)
		} else {
			_, err = DecodeDeadLetter(payload)
		}
	case KindRun:
		ok = len(key) == 11 && isRun(payload)
		e.Run = Run{Key: key, Value: value}
	case KindLedger:
		if ok = len(key) == 1+len(EventKey{}); ok {
			e.Ledger, err = DecodeLedgerEntry(payload)
		}
	default:
		ok = false
	}
	if !ok {
		err = fmt.Errorf("%w: entry %x of %d bytes", ErrMalformed, key, len(value))
	}
	return e, err
}

// splitKey takes the key of an entry apart if it is one of a receiver.
func splitKey(key []byte) (name, rest []byte, err error) {
	switch {
	case key[0] < KindQueue || key[0] > KindDead:
		return nil, nil, nil
	case key[0] > KindQueue:
		return SplitNamed(key)
	case len(key) < 3 || int(key[1]) != len(key)-2 || key[1] > MaxNameLen:
		return nil, nil, fmt.Errorf("%w: key %x", ErrMalformed, key)
	}
	// The key of statistics ends with the name.
	return key[2:], nil, nil
}
