package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/txn"
)

// Record is one record of a queue.
type Record struct {
	// Key is its identity within the queue, 1 to 64 bytes.
	Key []byte
	// Due is when it wants attention, in milliseconds.
	Due time.Time
	// Untold is how many occurrences in it were not delivered. Evicting a record with 0 is not a loss.
	Untold uint32
	// Body is opaque, at most MaxBytes/64 bytes and 64 KiB, or what is there already; see [Queue.MaxBody]. A body that came from the spool lies in the file: it must not
	// be written to, and is gone when the transaction ends. Clone makes it the caller's.
	Body []byte
	// Seq is the place in line over all queues: first the records with nothing untold, in the order in which the last of it was
	// told, then the others in the order in which the oldest of what is untold arrived.
	Seq uint64
	// Added is when that was, by the wall clock of then, in milliseconds. It is what the first Put of the key says, or the time of
	// it. While nothing is untold it is when the last that was told arrived.
	Added time.Time
}

// Clone returns a record that outlives the transaction and may be changed.
func (r Record) Clone() Record {
	r.Key = bytes.Clone(r.Key)
	r.Body = bytes.Clone(r.Body)
	return r
}

// recordOf returns the record that is stored under a number.
func recordOf(r *format.Record, seq uint64) Record {
	return Record{
		Key:    r.Key,
		Due:    time.UnixMilli(r.Due),
		Untold: r.Untold,
		Body:   r.Body,
		Seq:    seq,
		Added:  time.UnixMilli(r.Added),
	}
}

// Queue is the queue of one receiver: a FIFO by Seq, an index by key, and an agenda by due time, with these guarantees:
//
//   - Reading a record does not remove it. Only Delete, Bury, eviction and expiry do.
//   - Put of a key that waits replaces the record. It keeps Seq and Added as long as its oldest untold occurrence is the same.
//   - Len, Bytes and Untold are kept, not counted.
//
// It is valid as long as its transaction.
type Queue struct {
	Tx    *txn.Txn
	set   *Set
	Name  string
	Stats format.QueueStats
	// exists: it is on disk, or will be with this transaction.
	Exists bool
	Dirty  bool
}

// Set are those of a transaction.
type Set struct {
	tx     *txn.Txn
	byName map[string]*Queue
}

// NewSet returns the queues as the transaction sees them.
func NewSet(tx *txn.Txn) *Set { return &Set{tx: tx, byName: make(map[string]*Queue)} }

// Queue returns the queue of the receiver, whose name has 1 to 64 bytes. One that does not exist is empty, and is created
// by the first Put or Lose.
func (s *Set) Queue(receiver string) *Queue {
	if q := s.byName[receiver]; q != nil {
		return q
	}
	q := &Queue{Tx: s.tx, set: s, Name: receiver}
	s.byName[receiver] = q
	if !q.valid() {
		return q
	}
	if payload, ok := s.tx.Payload(format.Named(format.KindQueue, receiver)); ok {
		stats, err := format.DecodeQueueStats(payload)
		if err != nil {
			s.tx.IsDamaged(err)
		}
		q.Stats, q.Exists = stats, true
	}
	return q
}

// Receivers returns the names of all queues, sorted by length and name.
func (s *Set) Receivers() []string {
	var names []string
	for key := range s.tx.Scan([]byte{format.KindQueue}) {
		name, _, err := format.SplitNamed(append(bytes.Clone(key), 0))
		if err != nil {
			s.tx.IsDamaged(err)
			break
		}
		names = append(names, string(name))
	}
	for name, q := range s.byName {
		if q.Exists && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return bytes.Compare(format.Named(format.KindQueue, a), format.Named(format.KindQueue, b))
	})
	return names
}

// WriteStats writes the statistics of the queues that changed.
func (s *Set) WriteStats() error {
	for _, q := range s.byName {
		if err := q.writeStats(); err != nil {
			return err
		}
	}
	return nil
}

// valid says whether the name can be on disk.
func (q *Queue) valid() bool {
	return q.Name != "" && len(q.Name) <= format.MaxNameLen
}

// Create makes sure that the queue is on disk with this transaction.
func (q *Queue) Create() error {
	if !q.valid() {
		return fmt.Errorf("%w: receiver name %q", failure.ErrTooLarge, q.Name)
	}
	if !q.Tx.Writable {
		return failure.ErrNotWritable
	}
	if !q.Exists {
		q.Exists, q.Dirty = true, true
	}
	return nil
}

func (q *Queue) writeStats() error {
	if !q.Dirty {
		return nil
	}
	q.Dirty = false
	return q.Tx.PutChanged(format.Named(format.KindQueue, q.Name), q.Stats.Append(nil))
}

// SeqOf returns the sequence number of the record with the key.
func (q *Queue) SeqOf(key []byte) (uint64, bool) {
	if !q.Exists || len(key) < 1 || len(key) > format.MaxKeyLen {
		return 0, false
	}
	v := q.Tx.Get(format.Named(format.KindKey, q.Name, key...))
	if v == nil {
		return 0, false
	}
	if len(v) != 8 {
		q.Tx.IsDamaged(fmt.Errorf("%w: sequence number of %d bytes", format.ErrMalformed, len(v)))
		return 0, false
	}
	return binary.BigEndian.Uint64(v), true
}

// At returns the record with the sequence number, which an index says is there.
func (q *Queue) At(seq uint64) (format.Record, bool) {
	payload, ok := q.Tx.Payload(format.SeqKey(format.KindRecord, q.Name, seq))
	if !ok {
		q.Tx.IsDamaged(fmt.Errorf("%w: record %d of %s is missing", format.ErrMalformed, seq, q.Name))
		return format.Record{}, false
	}
	r, err := format.DecodeRecord(payload)
	if err != nil {
		q.Tx.IsDamaged(err)
		return format.Record{}, false
	}
	return r, true
}

// Get returns the record with the key.
func (q *Queue) Get(key []byte) (Record, bool) {
	seq, ok := q.SeqOf(key)
	if !ok {
		return Record{}, false
	}
	r, ok := q.At(seq)
	if !ok {
		return Record{}, false
	}
	return recordOf(&r, seq), true
}

// Put replaces the record of the same key, or appends it. A record that is replaced keeps its place in line, its Seq and Added, while
// its oldest untold occurrence stays the same. Where some of them were told, or the first after all were told is new, the record goes
// to the end of the line, among those that wait or among those with nothing untold. Put ignores r.Seq. It copies what it stores.
func (q *Queue) Put(r Record) error {
	if len(r.Key) < 1 || len(r.Key) > format.MaxKeyLen {
		return fmt.Errorf("%w: key of %d bytes", failure.ErrTooLarge, len(r.Key))
	}
	seq, ok := q.SeqOf(r.Key)
	var old format.Record
	if ok {
		if old, ok = q.At(seq); !ok {
			return q.Tx.Err
		}
	}
	// A body that is there already stays allowed when MaxBytes becomes smaller.
	if most := max(q.Tx.Env.MaxBody, len(old.Body)); len(r.Body) > most {
		return fmt.Errorf("%w: body of %d bytes, at most %d", failure.ErrTooLarge, len(r.Body), most)
	}
	if err := q.Create(); err != nil {
		return err
	}
	s := format.Record{Due: format.Millis(r.Due), Untold: r.Untold, Key: r.Key, Body: r.Body, Rev: q.Tx.LoadTotals().Rev + 1}
	if !ok {
		s.Added = format.Millis(r.Added)
		if r.Added.IsZero() {
			s.Added = format.Millis(q.Tx.Env.Now())
		}
		return q.Store(q.nextSeq(s.Untold), &s)
	}
	if s.Untold < old.Untold || s.Untold > 0 && old.Untold == 0 {
		if err := q.Remove(seq, &old); err != nil {
			return err
		}
		s.Added = old.Added
		if s.Untold > 0 {
			s.Added = format.Millis(q.Tx.Env.Now())
		}
		return q.Store(q.nextSeq(s.Untold), &s)
	}
	s.Added = old.Added
	if old.Due == s.Due && old.Untold == s.Untold && bytes.Equal(old.Body, s.Body) {
		return nil
	}
	if old.Due != s.Due {
		if _, err := q.Tx.Delete(format.DueKey(q.Name, old.Due, seq)); err != nil {
			return err
		}
	}
	q.count(&old, -1)
	return q.Store(seq, &s)
}

// LeastBody is the length of a body that every spool has room for in each of its queues.
const LeastBody = 2 << 10

// MaxBody returns how long a body may be so that a transaction that puts one into each queue has room, whatever lies there: a put may
// copy four bodies beside its own. Put takes longer ones.
func (q *Queue) MaxBody() int {
	env := q.Tx.Env
	share := env.MaxBytes / 16 / int64(max(1, len(q.set.Receivers())))
	return int(max(LeastBody, min(int64(env.MaxBody), share)))
}

// nextSeq gives out the next number, in the lane of a record with so many untold occurrences.
func (q *Queue) nextSeq(untold uint32) uint64 {
	totals := q.Tx.LoadTotals()
	// The last number is kept with the bit: no record's may be greater.
	totals.NextSeq = (totals.NextSeq + 1) | format.PendingLane
	q.Tx.TotalsDirty = true
	return format.OrderOf(totals.NextSeq) | format.LaneOf(untold)
}

// Store writes the record and its index entries.
func (q *Queue) Store(seq uint64, s *format.Record) error {
	key := format.SeqKey(format.KindRecord, q.Name, seq)
	value := s.Append(make([]byte, format.SealLen, format.SealLen+format.RecordHeader+len(s.Key)+len(s.Body)))
	format.ResealInPlace(key, value)
	if _, err := q.Tx.Put(key, value); err != nil {
		return err
	}
	due := format.DueKey(q.Name, s.Due, seq)
	if q.Tx.Get(due) == nil {
		if _, err := q.Tx.Put(due, []byte{}); err != nil {
			return err
		}
	}
	index := format.Named(format.KindKey, q.Name, s.Key...)
	if q.Tx.Get(index) == nil {
		if _, err := q.Tx.Put(index, binary.BigEndian.AppendUint64(nil, seq)); err != nil {
			return err
		}
	}
	q.count(s, 1)
	return nil
}

// count adds the record to the statistics, or takes it off.
func (q *Queue) count(s *format.Record, sign int) {
	q.Dirty = true
	n := uint64(sign)
	q.Stats.Records += n
	q.Stats.Bytes += n * s.Size()
	q.Stats.Untold += n * uint64(s.Untold)
}

// ChangeLane moves a record into the lane in which it belongs, and keeps its order.
func (q *Queue) ChangeLane(seq uint64, r *format.Record) error {
	if err := q.Remove(seq, r); err != nil {
		return err
	}
	totals := q.Tx.LoadTotals()
	totals.NextSeq |= format.PendingLane
	q.Tx.TotalsDirty = true
	moved := format.Record{Due: r.Due, Added: r.Added, Rev: totals.Rev + 1, Untold: r.Untold, Key: bytes.Clone(r.Key), Body: bytes.Clone(r.Body)}
	return q.Store(format.OrderOf(seq)|format.LaneOf(r.Untold), &moved)
}

// Delete removes the record with the key, if there is one.
func (q *Queue) Delete(key []byte) error {
	if !q.Tx.Writable {
		return failure.ErrNotWritable
	}
	seq, ok := q.SeqOf(key)
	if !ok {
		return q.Tx.Err
	}
	r, ok := q.At(seq)
	if !ok {
		return q.Tx.Err
	}
	return q.Remove(seq, &r)
}

// Remove removes a record and its index entries.
func (q *Queue) Remove(seq uint64, r *format.Record) error {
	keys := [][]byte{
		format.DueKey(q.Name, r.Due, seq),
		format.Named(format.KindKey, q.Name, r.Key...),
		format.SeqKey(format.KindRecord, q.Name, seq),
	}
	q.count(r, -1)
	for _, key := range keys {
		existed, err := q.Tx.Delete(key)
		if err != nil {
			return err
		}
		if !existed {
			q.Tx.IsDamaged(fmt.Errorf("%w: index entry %x is missing", format.ErrMalformed, key))
			return q.Tx.Err
		}
	}
	return nil
}

// Due yields the records that are due, ordered by Due and Seq. The loop may change the queue: it goes on behind the last
// record, and meets a record again that it puts to a later time which is still due.
func (q *Queue) Due(now time.Time) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		if !q.Exists {
			return
		}
		limit := format.Millis(now)
		for key := range q.Tx.Scan(format.Named(format.KindDue, q.Name)) {
			due, seq, ok := q.splitDue(key)
			if !ok || due > limit {
				return
			}
			r, ok := q.At(seq)
			if !ok || !yield(recordOf(&r, seq)) {
				return
			}
		}
	}
}

func (q *Queue) splitDue(key []byte) (due int64, seq uint64, ok bool) {
	_, rest, err := format.SplitNamed(key)
	if err != nil || len(rest) != 16 {
		q.Tx.IsDamaged(fmt.Errorf("%w: key %x", format.ErrMalformed, key))
		return 0, 0, false
	}
	return int64(binary.BigEndian.Uint64(rest)), binary.BigEndian.Uint64(rest[8:]), true
}

// All yields all records by Seq: those with nothing untold first, then what waits, the oldest first. The loop may change the queue,
// and meets a record again that a change moved to the end of the line.
func (q *Queue) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		if !q.Exists {
			return
		}
		for key := range q.Tx.Scan(format.Named(format.KindRecord, q.Name)) {
			seq := SeqOfKey(key)
			r, ok := q.At(seq)
			if !ok || !yield(recordOf(&r, seq)) {
				return
			}
		}
	}
}

// SeqOfKey returns the sequence number that a key of a record or dead letter ends in.
func SeqOfKey(key []byte) uint64 {
	return binary.BigEndian.Uint64(key[max(0, len(key)-8):])
}

// LastDue returns the latest due time. One far in the future means that the clock was put back.
func (q *Queue) LastDue() (time.Time, bool) {
	if !q.Exists {
		return time.Time{}, false
	}
	return q.dueOf(q.Tx.Last(format.Named(format.KindDue, q.Name)))
}

func (q *Queue) dueOf(key []byte) (time.Time, bool) {
	if key == nil {
		return time.Time{}, false
	}
	due, _, ok := q.splitDue(key)
	return time.UnixMilli(due), ok
}

// Oldest returns the record whose oldest untold occurrence arrived first; where nothing is untold, the first that was told.
func (q *Queue) Oldest() (Record, bool) {
	var first Record
	found := false
	for r := range q.All() {
		if r.Untold > 0 {
			// A file of an older release has no lanes.
			return r, true
		}
		first, found = r, true
		break
	}
	for key := range q.Tx.Scan(format.LaneKey(format.KindRecord, q.Name, format.PendingLane)) {
		r, ok := q.At(SeqOfKey(key))
		if !ok {
			break
		}
		return recordOf(&r, SeqOfKey(key)), true
	}
	return first, found
}

// Len returns the number of records.
func (q *Queue) Len() int { return int(q.Stats.Records) }

// Bytes returns the sum of the lengths of keys and bodies.
func (q *Queue) Bytes() int64 { return int64(q.Stats.Bytes) }

// Untold returns the sum of the records' Untold.
func (q *Queue) Untold() uint64 { return q.Stats.Untold }
