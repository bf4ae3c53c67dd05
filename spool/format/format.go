package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
)

// FormatVersion is the highest version of a file that this package reads, and that of one with runs. A file without runs is one of version
// LeastVersion, which older releases read. DESIGN.md describes them.
const (
	FormatVersion = 2
	LeastVersion  = 1
)

// BucketName names the one bucket of the file. All entries lie in one tree, told apart by the first byte of their keys:
// each bucket of its own would add at least one page to most commits.
const BucketName = "spool"

// Kinds of entries: the first byte of the key. Small entries that most transactions change lie beside each other, so
// that they share a page.
const (
	KindFormat   byte = 0x01 // -> version
	KindTotals   byte = 0x02 // -> totals
	KindPosition byte = 0x03 // scope -> position; 0, scope -> scopeState
	KindCounter  byte = 0x04 // name -> count
	KindValue    byte = 0x05 // name -> value
	KindQueue    byte = 0x06 // receiver -> queueStats
	KindUntold   byte = 0x07 // receiver, cause -> loss
	KindTotal    byte = 0x08 // receiver, cause -> loss
	KindDue      byte = 0x10 // receiver, due, seq -> nothing
	KindKey      byte = 0x20 // receiver, key -> seq
	KindRecord   byte = 0x30 // receiver, seq -> record
	KindDead     byte = 0x40 // receiver, seq -> dead letter
	KindLedger   byte = 0x50 // creation time, UID -> Taken, scope, arrival
	KindRun      byte = 0x51 // revision, part -> ledger entries, each with its key
)

// Limits of names and values in bytes.
const (
	MaxNameLen     = 64
	MaxKeyLen      = 64
	MaxBodyLen     = 64 << 10
	MaxValueLen    = 4 << 10
	MaxReasonLen   = 256
	MaxAnswerLen   = 1 << 10
	MaxPositionLen = 64
	MaxNames       = 256
	MaxDead        = 100
)

// ErrMalformed says that an entry is not what this package writes.
var ErrMalformed = boltfile.ErrMalformed

// SealLen is the length of the checksum before a sealed value.
const SealLen = 4

// Seal puts the checksum of key and payload before the payload. The key is in the sum so that a value under a key that
// lost a bit is noticed too.
func Seal(key, payload []byte) []byte {
	v := make([]byte, SealLen, SealLen+len(payload))
	v = append(v, payload...)
	ResealInPlace(key, v)
	return v
}

// ResealInPlace sets the checksum of v, whose payload begins at sealLen.
func ResealInPlace(key, v []byte) {
	binary.BigEndian.PutUint32(v, Checksum(key, v[SealLen:]))
}

// Checksum is CRC-32C, for which arm64 and amd64 have instructions.
func Checksum(key, payload []byte) uint32 {
	// MakeTable makes this one once.
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, payload)
}

// Unseal returns the payload of a sealed value.
func Unseal(key, v []byte) ([]byte, error) {
	if len(v) < SealLen {
		return nil, fmt.Errorf("%w: value of %d bytes under key %x", ErrMalformed, len(v), key)
	}
	if binary.BigEndian.Uint32(v) != Checksum(key, v[SealLen:]) {
		return nil, fmt.Errorf("%w: checksum of the value under key %x", ErrMalformed, key)
	}
	return v[SealLen:], nil
}

// Named returns the key of an entry of a receiver: kind, length of the name, name, rest.
func Named(kind byte, name string, rest ...byte) []byte {
	key := make([]byte, 0, 2+len(name)+max(len(rest), 16))
	key = append(key, kind, byte(len(name)))
	key = append(key, name...)
	return append(key, rest...)
}

// Plain returns the key of an entry with a name of its own.
func Plain(kind byte, name string) []byte {
	return append([]byte{kind}, name...)
}

// SeqKey returns the key of a record or dead letter.
func SeqKey(kind byte, name string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(Named(kind, name), seq)
}

// LaneKey returns the prefix of the numbers of a lane. An order stays below 1<<48.
func LaneKey(kind byte, name string, lane uint64) []byte {
	key := SeqKey(kind, name, lane)
	return key[:len(key)-6]
}

// DueKey returns the key of a record in the index by due time, which is in milliseconds.
func DueKey(name string, due int64, seq uint64) []byte {
	key := binary.BigEndian.AppendUint64(Named(KindDue, name), uint64(due))
	return binary.BigEndian.AppendUint64(key, seq)
}

// SplitNamed takes the key of an entry of a receiver apart.
func SplitNamed(key []byte) (name, rest []byte, err error) {
	if len(key) < 3 || key[1] == 0 || key[1] > MaxNameLen || len(key) < 2+int(key[1]) {
		return nil, nil, fmt.Errorf("%w: key %x", ErrMalformed, key)
	}
	n := 2 + int(key[1])
	return key[2:n], key[n:], nil
}

// Millis returns t in milliseconds of the epoch, 0 for what lies before it: keys are ordered as unsigned numbers.
func Millis(t time.Time) int64 {
	return max(0, t.UnixMilli())
}

// Totals are the counts of the whole spool.
type Totals struct {
	NextSeq uint64
	// Rev counts the transactions that changed something. Rescue tells the newer of two copies of a record by it.
	Rev       uint64
	LedgerLen uint64
	// Forgotten is the creation time, in seconds, of the newest entry that the ledger had no room for. A file of an older release
	// has no such number, which is 0: nothing is forgotten.
	Forgotten uint32
	// Age is what the spool's own clock showed, uptime what the machine's did, in milliseconds, and boot names the boot of that
	// uptime. A file of an older release has none of them.
	Age, Uptime int64
	Boot        [16]byte
}

// PendingLane is the bit of a sequence number that is set while something in the record is untold. A number is made of a lane and an
// order. The order is that of arrival over all queues; the lane comes first, so that the
// records with nothing untold, for which nobody waits, have the smaller numbers and are found without a search. Records of files of
// older releases all lie in that lane. The bit is the highest with which a number is exact in JSON.
const PendingLane = 1 << 52

// OrderOf returns the sequence number without its lane.
func OrderOf(seq uint64) uint64 { return seq &^ PendingLane }

// LaneOf returns the bit of the lane in which a record with so many untold occurrences belongs.
func LaneOf(untold uint32) uint64 {
	if untold > 0 {
		return PendingLane
	}
	return 0
}

// Append appends the payload to b.
func (t Totals) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, t.NextSeq)
	b = binary.BigEndian.AppendUint64(b, t.Rev)
	b = binary.BigEndian.AppendUint64(b, t.LedgerLen)
	b = binary.BigEndian.AppendUint32(b, t.Forgotten)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Age))
	b = binary.BigEndian.AppendUint64(b, uint64(t.Uptime))
	return append(b, t.Boot[:]...)
}

// DecodeTotals reads what Append wrote.
func DecodeTotals(b []byte) (Totals, error) {
	if len(b) < 24 {
		return Totals{}, fmt.Errorf("%w: totals of %d bytes", ErrMalformed, len(b))
	}
	t := Totals{
		NextSeq:   binary.BigEndian.Uint64(b),
		Rev:       binary.BigEndian.Uint64(b[8:]),
		LedgerLen: binary.BigEndian.Uint64(b[16:]),
	}
	if len(b) >= 28 {
		t.Forgotten = binary.BigEndian.Uint32(b[24:])
	}
	if len(b) >= 60 {
		t.Age, t.Uptime = int64(binary.BigEndian.Uint64(b[28:])), int64(binary.BigEndian.Uint64(b[36:]))
		copy(t.Boot[:], b[44:])
	}
	return t, nil
}

// QueueStats are the counts of one queue.
type QueueStats struct {
	Records uint64
	Bytes   uint64
	Untold  uint64
	Dead    uint64
}

// Append appends the payload to b.
func (s QueueStats) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, s.Records)
	b = binary.BigEndian.AppendUint64(b, s.Bytes)
	b = binary.BigEndian.AppendUint64(b, s.Untold)
	return binary.BigEndian.AppendUint64(b, s.Dead)
}

// DecodeQueueStats reads what Append wrote.
func DecodeQueueStats(b []byte) (QueueStats, error) {
	if len(b) < 32 {
		return QueueStats{}, fmt.Errorf("%w: queue statistics of %d bytes", ErrMalformed, len(b))
	}
	return QueueStats{
		Records: binary.BigEndian.Uint64(b),
		Bytes:   binary.BigEndian.Uint64(b[8:]),
		Untold:  binary.BigEndian.Uint64(b[16:]),
		Dead:    binary.BigEndian.Uint64(b[24:]),
	}, nil
}

// Record is a record as it lies on disk. Its slices point into the decoded value.
type Record struct {
	Due, Added int64
	Rev        uint64
	Untold     uint32
	Key, Body  []byte
}

// RecordHeader is: flags (0, for a later encoding of bodies), due, added, rev, untold, length of the key.
const RecordHeader = 1 + 8 + 8 + 8 + 4 + 1

// Append appends the payload to b.
func (r *Record) Append(b []byte) []byte {
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Due))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Added))
	b = binary.BigEndian.AppendUint64(b, r.Rev)
	b = binary.BigEndian.AppendUint32(b, r.Untold)
	b = append(b, byte(len(r.Key)))
	b = append(b, r.Key...)
	return append(b, r.Body...)
}

// DecodeRecord reads what Append wrote. Its slices point into b.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) < RecordHeader {
		return Record{}, fmt.Errorf("%w: record of %d bytes", ErrMalformed, len(b))
	}
	keyLen := int(b[RecordHeader-1])
	if b[0] != 0 || keyLen < 1 || keyLen > MaxKeyLen || len(b) < RecordHeader+keyLen {
		return Record{}, fmt.Errorf("%w: record header %x", ErrMalformed, b[:RecordHeader])
	}
	r := Record{
		Due:    int64(binary.BigEndian.Uint64(b[1:])),
		Added:  int64(binary.BigEndian.Uint64(b[9:])),
		Rev:    binary.BigEndian.Uint64(b[17:]),
		Untold: binary.BigEndian.Uint32(b[25:]),
		Key:    b[RecordHeader : RecordHeader+keyLen : RecordHeader+keyLen],
		Body:   b[RecordHeader+keyLen : len(b) : len(b)],
	}
	if r.Due < 0 || r.Added < 0 || len(r.Body) > MaxBodyLen {
		return Record{}, fmt.Errorf("%w: record header %x with a body of %d bytes", ErrMalformed, b[:RecordHeader], len(r.Body))
	}
	return r, nil
}

// Size is what a record counts in Queue.Bytes.
func (r *Record) Size() uint64 {
	return uint64(len(r.Key) + len(r.Body))
}

// DeadLetter is a dead letter as it lies on disk.
type DeadLetter struct {
	At             int64
	Reason, Answer []byte
	Record         Record
}

// Append appends the payload to b.
func (d *DeadLetter) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(d.At))
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.Reason)))
	b = append(b, d.Reason...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.Answer)))
	b = append(b, d.Answer...)
	return d.Record.Append(b)
}

// DecodeDeadLetter reads what Append wrote. Its slices point into b.
func DecodeDeadLetter(b []byte) (DeadLetter, error) {
	var d DeadLetter
	malformed := func() (DeadLetter, error) {
		return DeadLetter{}, fmt.Errorf("%w: dead letter", ErrMalformed)
	}
	if len(b) < 8 {
		return malformed()
	}
	d.At, b = int64(binary.BigEndian.Uint64(b)), b[8:]
	for _, field := range []*[]byte{&d.Reason, &d.Answer} {
		if len(b) < 2 {
			return malformed()
		}
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return malformed()
		}
		*field, b = b[2:2+n:2+n], b[2+n:]
	}
	var err error
	d.Record, err = DecodeRecord(b)
	return d, err
}

// LossLen is the least length of the payload of a loss: records, events, times, since.
const LossLen = 4 * 8

// ScopeOf returns whose entry the key of kindPosition is, and whether it is a state.
func ScopeOf(key []byte) (name []byte, isState bool) {
	if len(key) > 1 && key[1] == 0 {
		return key[2:], true
	}
	return key[1:], false
}

// ScopeState is a Scope, less its position, as it lies on disk.
type ScopeState struct {
	// Rev is the transaction that last changed the entry.
	Rev    uint64
	Seen   int64
	Listed bool
	Note   []byte
}

// scopeHeader is rev, seen, flags.
const scopeHeader = 8 + 8 + 1

// The flags of a scopeState.
const (
	flagListed = 1 << iota
	flagSeen
)

// Append appends the payload to b.
func (s *ScopeState) Append(b []byte) []byte {
	var flags byte
	if s.Listed {
		flags |= flagListed
	}
	if s.Seen != 0 {
		flags |= flagSeen
	}
	b = binary.BigEndian.AppendUint64(b, s.Rev)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Seen))
	return append(append(b, flags), s.Note...)
}

// DecodeScopeState reads what Append wrote. Its slices point into b.
func DecodeScopeState(b []byte) (ScopeState, error) {
	if len(b) < scopeHeader {
		return ScopeState{}, fmt.Errorf("%w: scope of %d bytes", ErrMalformed, len(b))
	}
	return ScopeState{
		Rev:    binary.BigEndian.Uint64(b),
		Seen:   int64(binary.BigEndian.Uint64(b[8:])),
		Listed: b[16]&flagListed != 0,
		Note:   b[scopeHeader:],
	}, nil
}

// EventKey is the key of an event in the ledger: 4 bytes of creation time in seconds, big-endian, and 16 bytes of UID.
// The time comes first so that new entries lie beside each other: a batch of new events changes one or two pages, where
// random keys would change one page per event.
type EventKey [20]byte

// Taken is the version of an event that was taken.
type Taken struct {
	Version uint64
	Count   uint32
}

// LedgerEntry is the payload of a ledger entry.
type LedgerEntry struct {
	Taken

	Scope uint32
	// Arrival grows with each event that is taken for the first time, until it begins anew. An event that an older release took has none,
	// which is 0.
	Arrival uint32
}

// Append appends the payload to b.
func (e LedgerEntry) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, e.Version)
	b = binary.BigEndian.AppendUint32(b, e.Count)
	b = binary.BigEndian.AppendUint32(b, e.Scope)
	return binary.BigEndian.AppendUint32(b, e.Arrival)
}

// DecodeLedgerEntry reads what Append wrote.
func DecodeLedgerEntry(b []byte) (LedgerEntry, error) {
	if len(b) < 16 {
		return LedgerEntry{}, fmt.Errorf("%w: ledger entry of %d bytes", ErrMalformed, len(b))
	}
	e := LedgerEntry{
		Taken: Taken{
			Version: binary.BigEndian.Uint64(b),
			Count:   binary.BigEndian.Uint32(b[8:]),
		},
		Scope: binary.BigEndian.Uint32(b[12:]),
	}
	if len(b) >= 20 {
		e.Arrival = binary.BigEndian.Uint32(b[16:])
	}
	return e, nil
}
