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
	due     int64
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
	if e.Kind >= KindQueue && e.Kind <= KindDead {
		// The key of statistics ends with the name.
		if e.Kind == KindQueue {
			if len(key) < 3 || int(key[1]) != len(key)-2 || key[1] > MaxNameLen {
				return e, fmt.Errorf("%w: key %x", ErrMalformed, key)
			}
			e.Name = key[2:]
		} else if e.Name, rest, err = SplitNamed(key); err != nil {
			return e, err
		}
	}
	payload := value
	if e.Kind != KindDue && e.Kind != KindKey {
		if payload, err = Unseal(key, value); err != nil {
			return e, err
		}
	}
	wrong := func() (Entry, error) {
		return e, fmt.Errorf("%w: entry %x of %d bytes", ErrMalformed, key, len(value))
	}
	switch e.Kind {
	case KindFormat:
		if len(payload) < 4 {
			return wrong()
		}
		e.Version = binary.BigEndian.Uint32(payload)
	case KindTotals:
		e.Totals, err = DecodeTotals(payload)
	case KindValue:
	case KindPosition:
		if _, isState := ScopeOf(key); isState {
			_, err = DecodeScopeState(payload)
		}
	case KindCounter:
		if len(payload) != 8 {
			return wrong()
		}
	case KindQueue:
		e.Stats, err = DecodeQueueStats(payload)
	case KindUntold, KindTotal:
		if len(payload) < LossLen {
			return wrong()
		}
	case KindDue:
		if len(rest) != 16 || len(value) != 0 {
			return wrong()
		}
		e.due, e.Seq = int64(binary.BigEndian.Uint64(rest)), binary.BigEndian.Uint64(rest[8:])
	case KindKey:
		if len(rest) < 1 || len(rest) > MaxKeyLen || len(value) != 8 {
			return wrong()
		}
		e.Seq = binary.BigEndian.Uint64(value)
	case KindRecord, KindDead:
		if len(rest) != 8 {
			return wrong()
		}
		e.Seq = binary.BigEndian.Uint64(rest)
		if e.Kind == KindRecord {
			e.Record, err = DecodeRecord(payload)
		} else {
			_, err = DecodeDeadLetter(payload)
		}
	case KindRun:
		if len(key) != 11 || !isRun(payload) {
			return wrong()
		}
		e.Run = Run{Key: key, Value: value}
	case KindLedger:
		if len(key) != 1+len(EventKey{}) {
			return wrong()
		}
		e.Ledger, err = DecodeLedgerEntry(payload)
	default:
		return wrong()
	}
	return e, err
}
