package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
)

// formatVersion is what this package writes. DESIGN.md describes it.
const formatVersion = 1

// bucketName names the one bucket of the file. All entries lie in one tree, told apart by the first byte of their keys:
// each bucket of its own would add at least one page to most commits.
const bucketName = "spool"

// Kinds of entries: the first byte of the key. Small entries that most transactions change lie beside each other, so
// that they share a page.
const (
	kindFormat   byte = 0x01 // -> version
	kindTotals   byte = 0x02 // -> totals
	kindPosition byte = 0x03 // namespace -> resourceVersion; 0, namespace -> namespaceState
	kindCounter  byte = 0x04 // name -> count
	kindValue    byte = 0x05 // name -> value
	kindQueue    byte = 0x06 // receiver -> queueStats
	kindUntold   byte = 0x07 // receiver, cause -> loss
	kindTotal    byte = 0x08 // receiver, cause -> loss
	kindDue      byte = 0x10 // receiver, due, seq -> nothing
	kindKey      byte = 0x20 // receiver, key -> seq
	kindRecord   byte = 0x30 // receiver, seq -> record
	kindDead     byte = 0x40 // receiver, seq -> dead letter
	kindLedger   byte = 0x50 // creation time, UID -> Taken, namespace
)

// Limits of names and values in bytes.
const (
	maxNameLen     = 64
	maxKeyLen      = 64
	maxBodyLen     = 64 << 10
	maxValueLen    = 4 << 10
	maxReasonLen   = 256
	maxAnswerLen   = 1 << 10
	maxPositionLen = 64
	maxNames       = 256
	maxDead        = 100
)

// errMalformed says that an entry is not what this package writes.
var errMalformed = boltfile.ErrMalformed

// sealLen is the length of the checksum before a sealed value.
const sealLen = 4

// seal puts the checksum of key and payload before the payload. The key is in the sum so that a value under a key that
// lost a bit is noticed too.
func seal(key, payload []byte) []byte {
	v := make([]byte, sealLen, sealLen+len(payload))
	v = append(v, payload...)
	resealInPlace(key, v)
	return v
}

// resealInPlace sets the checksum of v, whose payload begins at sealLen.
func resealInPlace(key, v []byte) {
	binary.BigEndian.PutUint32(v, checksum(key, v[sealLen:]))
}

// checksum is CRC-32C, for which arm64 and amd64 have instructions.
func checksum(key, payload []byte) uint32 {
	// MakeTable makes this one once.
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, payload)
}

// unseal returns the payload of a sealed value.
func unseal(key, v []byte) ([]byte, error) {
	if len(v) < sealLen {
		return nil, fmt.Errorf("%w: value of %d bytes under key %x", errMalformed, len(v), key)
	}
	if binary.BigEndian.Uint32(v) != checksum(key, v[sealLen:]) {
		return nil, fmt.Errorf("%w: checksum of the value under key %x", errMalformed, key)
	}
	return v[sealLen:], nil
}

// named returns the key of an entry of a receiver: kind, length of the name, name, rest.
func named(kind byte, name string, rest ...byte) []byte {
	key := make([]byte, 0, 2+len(name)+max(len(rest), 16))
	key = append(key, kind, byte(len(name)))
	key = append(key, name...)
	return append(key, rest...)
}

func plain(kind byte, name string) []byte {
	return append([]byte{kind}, name...)
}

func seqKey(kind byte, name string, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(named(kind, name), seq)
}

// laneKey returns the prefix of the numbers of a lane. An order stays below 1<<48.
func laneKey(kind byte, name string, lane uint64) []byte {
	key := seqKey(kind, name, lane)
	return key[:len(key)-6]
}

func dueKey(name string, due int64, seq uint64) []byte {
	key := binary.BigEndian.AppendUint64(named(kindDue, name), uint64(due))
	return binary.BigEndian.AppendUint64(key, seq)
}

// splitNamed takes the key of an entry of a receiver apart.
func splitNamed(key []byte) (name, rest []byte, err error) {
	if len(key) < 3 || key[1] == 0 || key[1] > maxNameLen || len(key) < 2+int(key[1]) {
		return nil, nil, fmt.Errorf("%w: key %x", errMalformed, key)
	}
	n := 2 + int(key[1])
	return key[2:n], key[n:], nil
}

// millis returns t in milliseconds of the epoch, 0 for what lies before it: keys are ordered as unsigned numbers.
func millis(t time.Time) int64 {
	return max(0, t.UnixMilli())
}

// totals are the counts of the whole spool.
type totals struct {
	nextSeq uint64
	// rev counts the transactions that changed something. Rescue tells the newer of two copies of a record by it.
	rev       uint64
	ledgerLen uint64
	// forgotten is the creation time, in seconds, of the newest entry that the ledger had no room for. A file of an older release
	// has no such number, which is 0: nothing is forgotten.
	forgotten uint32
	// age is what the spool's own clock showed, uptime what the machine's did, in milliseconds, and boot names the boot of that
	// uptime. A file of an older release has none of them.
	age, uptime int64
	boot        [16]byte
}

// A sequence number is made of a lane and an order. The order is that of arrival over all queues; the lane comes first, so that the
// records with nothing untold, for which nobody waits, have the smaller numbers and are found without a search. Records of files of
// older releases all lie in that lane. The bit is the highest with which a number is exact in JSON.
const waitingLane = 1 << 52

// orderOf returns the sequence number without its lane.
func orderOf(seq uint64) uint64 { return seq &^ waitingLane }

// laneOf returns the bit of the lane in which a record with so many untold occurrences belongs.
func laneOf(untold uint32) uint64 {
	if untold > 0 {
		return waitingLane
	}
	return 0
}

func (t totals) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, t.nextSeq)
	b = binary.BigEndian.AppendUint64(b, t.rev)
	b = binary.BigEndian.AppendUint64(b, t.ledgerLen)
	b = binary.BigEndian.AppendUint32(b, t.forgotten)
	b = binary.BigEndian.AppendUint64(b, uint64(t.age))
	b = binary.BigEndian.AppendUint64(b, uint64(t.uptime))
	return append(b, t.boot[:]...)
}

func decodeTotals(b []byte) (totals, error) {
	if len(b) < 24 {
		return totals{}, fmt.Errorf("%w: totals of %d bytes", errMalformed, len(b))
	}
	t := totals{
		nextSeq:   binary.BigEndian.Uint64(b),
		rev:       binary.BigEndian.Uint64(b[8:]),
		ledgerLen: binary.BigEndian.Uint64(b[16:]),
	}
	if len(b) >= 28 {
		t.forgotten = binary.BigEndian.Uint32(b[24:])
	}
	if len(b) >= 60 {
		t.age, t.uptime = int64(binary.BigEndian.Uint64(b[28:])), int64(binary.BigEndian.Uint64(b[36:]))
		copy(t.boot[:], b[44:])
	}
	return t, nil
}

// queueStats are the counts of one queue.
type queueStats struct {
	records uint64
	bytes   uint64
	untold  uint64
	dead    uint64
}

func (s queueStats) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, s.records)
	b = binary.BigEndian.AppendUint64(b, s.bytes)
	b = binary.BigEndian.AppendUint64(b, s.untold)
	return binary.BigEndian.AppendUint64(b, s.dead)
}

func decodeQueueStats(b []byte) (queueStats, error) {
	if len(b) < 32 {
		return queueStats{}, fmt.Errorf("%w: queue statistics of %d bytes", errMalformed, len(b))
	}
	return queueStats{
		records: binary.BigEndian.Uint64(b),
		bytes:   binary.BigEndian.Uint64(b[8:]),
		untold:  binary.BigEndian.Uint64(b[16:]),
		dead:    binary.BigEndian.Uint64(b[24:]),
	}, nil
}

// stored is a record as it lies on disk. Its slices point into the decoded value.
type stored struct {
	due, added int64
	rev        uint64
	untold     uint32
	key, body  []byte
}

// recordHeader is: flags (0, for a later encoding of bodies), due, added, rev, untold, length of the key.
const recordHeader = 1 + 8 + 8 + 8 + 4 + 1

func (r *stored) append(b []byte) []byte {
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(r.due))
	b = binary.BigEndian.AppendUint64(b, uint64(r.added))
	b = binary.BigEndian.AppendUint64(b, r.rev)
	b = binary.BigEndian.AppendUint32(b, r.untold)
	b = append(b, byte(len(r.key)))
	b = append(b, r.key...)
	return append(b, r.body...)
}

func decodeStored(b []byte) (stored, error) {
	if len(b) < recordHeader {
		return stored{}, fmt.Errorf("%w: record of %d bytes", errMalformed, len(b))
	}
	keyLen := int(b[recordHeader-1])
	if b[0] != 0 || keyLen < 1 || keyLen > maxKeyLen || len(b) < recordHeader+keyLen {
		return stored{}, fmt.Errorf("%w: record header %x", errMalformed, b[:recordHeader])
	}
	r := stored{
		due:    int64(binary.BigEndian.Uint64(b[1:])),
		added:  int64(binary.BigEndian.Uint64(b[9:])),
		rev:    binary.BigEndian.Uint64(b[17:]),
		untold: binary.BigEndian.Uint32(b[25:]),
		key:    b[recordHeader : recordHeader+keyLen : recordHeader+keyLen],
		body:   b[recordHeader+keyLen : len(b) : len(b)],
	}
	if r.due < 0 || r.added < 0 || len(r.body) > maxBodyLen {
		return stored{}, fmt.Errorf("%w: record header %x with a body of %d bytes", errMalformed, b[:recordHeader], len(r.body))
	}
	return r, nil
}

// size is what a record counts in Queue.Bytes.
func (r *stored) size() uint64 {
	return uint64(len(r.key) + len(r.body))
}

func (r *stored) record(seq uint64) Record {
	return Record{
		Key:    r.key,
		Due:    time.UnixMilli(r.due),
		Untold: r.untold,
		Body:   r.body,
		Seq:    seq,
		Added:  time.UnixMilli(r.added),
	}
}

// storedDead is a dead letter as it lies on disk.
type storedDead struct {
	at             int64
	reason, answer []byte
	record         stored
}

func (d *storedDead) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(d.at))
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.reason)))
	b = append(b, d.reason...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.answer)))
	b = append(b, d.answer...)
	return d.record.append(b)
}

func decodeDead(b []byte) (storedDead, error) {
	var d storedDead
	malformed := func() (storedDead, error) {
		return storedDead{}, fmt.Errorf("%w: dead letter", errMalformed)
	}
	if len(b) < 8 {
		return malformed()
	}
	d.at, b = int64(binary.BigEndian.Uint64(b)), b[8:]
	for _, field := range []*[]byte{&d.reason, &d.answer} {
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
	d.record, err = decodeStored(b)
	return d, err
}

func (l Loss) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, l.Records)
	b = binary.BigEndian.AppendUint64(b, l.Events)
	b = binary.BigEndian.AppendUint64(b, l.Times)
	return binary.BigEndian.AppendUint64(b, uint64(millis(l.Since)))
}

func decodeLoss(cause string, b []byte) (Loss, error) {
	if len(b) < 32 {
		return Loss{}, fmt.Errorf("%w: loss of %d bytes", errMalformed, len(b))
	}
	return Loss{
		Cause:   cause,
		Records: binary.BigEndian.Uint64(b),
		Events:  binary.BigEndian.Uint64(b[8:]),
		Times:   binary.BigEndian.Uint64(b[16:]),
		Since:   time.UnixMilli(int64(binary.BigEndian.Uint64(b[24:]))),
	}, nil
}

// entry is the payload of a ledger entry.
type entry struct {
	Taken

	namespace uint32
}

func (e entry) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, e.ResourceVersion)
	b = binary.BigEndian.AppendUint32(b, e.Count)
	return binary.BigEndian.AppendUint32(b, e.namespace)
}

func decodeEntry(b []byte) (entry, error) {
	if len(b) < 16 {
		return entry{}, fmt.Errorf("%w: ledger entry of %d bytes", errMalformed, len(b))
	}
	return entry{
		Taken: Taken{
			ResourceVersion: binary.BigEndian.Uint64(b),
			Count:           binary.BigEndian.Uint32(b[8:]),
		},
		namespace: binary.BigEndian.Uint32(b[12:]),
	}, nil
}
