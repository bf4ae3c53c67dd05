package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"time"
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

// Queue is the queue of one receiver: a FIFO by Seq, an index by key, and an agenda by due time, with these guarantees:
//
//   - Reading a record does not remove it. Only Delete, Bury, DropQueue, eviction and expiry do.
//   - Put of a key that waits replaces the record. It keeps Seq and Added as long as its oldest untold occurrence is the same.
//   - Len, Bytes and Untold are kept, not counted.
//
// It is valid as long as its transaction.
type Queue struct {
	tx    *Tx
	name  string
	stats queueStats
	// exists: it is on disk, or will be with this transaction.
	exists bool
	dirty  bool
}

// Queue returns the queue of the receiver, whose name has 1 to 64 bytes. One that does not exist is empty, and is created
// by the first Put or Lose.
func (tx *Tx) Queue(receiver string) *Queue {
	if q := tx.queues[receiver]; q != nil {
		return q
	}
	q := &Queue{tx: tx, name: receiver}
	if tx.queues == nil {
		tx.queues = make(map[string]*Queue)
	}
	tx.queues[receiver] = q
	if !q.valid() {
		return q
	}
	if payload, ok := tx.payload(named(kindQueue, receiver)); ok {
		stats, err := decodeQueueStats(payload)
		if err != nil {
			tx.damaged(err)
		}
		q.stats, q.exists = stats, true
	}
	return q
}

// Receivers returns the names of all queues, sorted by length and name.
func (tx *Tx) Receivers() []string {
	var names []string
	for key := range tx.scan([]byte{kindQueue}) {
		name, _, err := splitNamed(append(bytes.Clone(key), 0))
		if err != nil {
			tx.damaged(err)
			break
		}
		names = append(names, string(name))
	}
	for name, q := range tx.queues {
		if q.exists && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return bytes.Compare(named(kindQueue, a), named(kindQueue, b)) })
	return names
}

// DropQueue removes the queue with its records, dead letters and losses. Nothing of it is counted as lost.
func (tx *Tx) DropQueue(receiver string) error {
	q := tx.Queue(receiver)
	if !q.valid() {
		return nil
	}
	for _, kind := range []byte{kindUntold, kindTotal, kindDue, kindKey, kindRecord, kindDead, kindQueue} {
		for key := range tx.scan(named(kind, receiver)) {
			if _, err := tx.delete(bytes.Clone(key)); err != nil {
				return err
			}
		}
	}
	delete(tx.queues, receiver)
	return tx.err
}

// valid says whether the name can be on disk.
func (q *Queue) valid() bool {
	return q.name != "" && len(q.name) <= maxNameLen
}

func (q *Queue) create() error {
	if !q.valid() {
		return fmt.Errorf("%w: receiver name %q", ErrTooLarge, q.name)
	}
	if !q.tx.writable {
		return ErrNotWritable
	}
	if !q.exists {
		q.exists, q.dirty = true, true
	}
	return nil
}

func (q *Queue) writeStats() error {
	if !q.dirty {
		return nil
	}
	q.dirty = false
	return q.tx.putChanged(named(kindQueue, q.name), q.stats.append(nil))
}

// seqOf returns the sequence number of the record with the key.
func (q *Queue) seqOf(key []byte) (uint64, bool) {
	if !q.exists || len(key) < 1 || len(key) > maxKeyLen {
		return 0, false
	}
	v := q.tx.get(named(kindKey, q.name, key...))
	if v == nil {
		return 0, false
	}
	if len(v) != 8 {
		q.tx.damaged(fmt.Errorf("%w: sequence number of %d bytes", errMalformed, len(v)))
		return 0, false
	}
	return binary.BigEndian.Uint64(v), true
}

// at returns the record with the sequence number, which an index says is there.
func (q *Queue) at(seq uint64) (stored, bool) {
	payload, ok := q.tx.payload(seqKey(kindRecord, q.name, seq))
	if !ok {
		q.tx.damaged(fmt.Errorf("%w: record %d of %s is missing", errMalformed, seq, q.name))
		return stored{}, false
	}
	r, err := decodeStored(payload)
	if err != nil {
		q.tx.damaged(err)
		return stored{}, false
	}
	return r, true
}

// Get returns the record with the key.
func (q *Queue) Get(key []byte) (Record, bool) {
	seq, ok := q.seqOf(key)
	if !ok {
		return Record{}, false
	}
	r, ok := q.at(seq)
	if !ok {
		return Record{}, false
	}
	return r.record(seq), true
}

// Put replaces the record of the same key, or appends it. A record that is replaced keeps its place in line, its Seq and Added, while
// its oldest untold occurrence stays the same. Where some of them were told, or the first after all were told is new, the record goes
// to the end of the line, among those that wait or among those with nothing untold. Put ignores r.Seq. It copies what it stores.
func (q *Queue) Put(r Record) error {
	if len(r.Key) < 1 || len(r.Key) > maxKeyLen {
		return fmt.Errorf("%w: key of %d bytes", ErrTooLarge, len(r.Key))
	}
	seq, ok := q.seqOf(r.Key)
	var old stored
	if ok {
		if old, ok = q.at(seq); !ok {
			return q.tx.err
		}
	}
	// A body that is there already stays allowed when MaxBytes becomes smaller.
	if most := max(q.tx.spool.options.maxBody(), len(old.body)); len(r.Body) > most {
		return fmt.Errorf("%w: body of %d bytes, at most %d", ErrTooLarge, len(r.Body), most)
	}
	if err := q.create(); err != nil {
		return err
	}
	s := stored{due: millis(r.Due), untold: r.Untold, key: r.Key, body: r.Body, rev: q.tx.loadTotals().rev + 1}
	if !ok {
		s.added = millis(r.Added)
		if r.Added.IsZero() {
			s.added = millis(q.tx.spool.options.Now())
		}
		return q.store(q.nextSeq(s.untold), &s)
	}
	if s.untold < old.untold || s.untold > 0 && old.untold == 0 {
		if err := q.remove(seq, &old); err != nil {
			return err
		}
		s.added = old.added
		if s.untold > 0 {
			s.added = millis(q.tx.spool.options.Now())
		}
		return q.store(q.nextSeq(s.untold), &s)
	}
	s.added = old.added
	if old.due == s.due && old.untold == s.untold && bytes.Equal(old.body, s.body) {
		return nil
	}
	if old.due != s.due {
		if _, err := q.tx.delete(dueKey(q.name, old.due, seq)); err != nil {
			return err
		}
	}
	q.count(&old, -1)
	return q.store(seq, &s)
}

// LeastBody is the length of a body that every spool has room for in each of its queues.
const LeastBody = 2 << 10

// MaxBody returns how long a body may be so that a transaction that puts one into each queue has room, whatever lies there: a put may
// copy four bodies beside its own. Put takes longer ones.
func (q *Queue) MaxBody() int {
	o := &q.tx.spool.options
	share := o.MaxBytes / 16 / int64(max(1, len(q.tx.Receivers())))
	return int(max(LeastBody, min(int64(o.maxBody()), share)))
}

// nextSeq gives out the next number, in the lane of a record with so many untold occurrences.
func (q *Queue) nextSeq(untold uint32) uint64 {
	totals := q.tx.loadTotals()
	// The last number is kept with the bit: no record's may be greater.
	totals.nextSeq = (totals.nextSeq + 1) | waitingLane
	q.tx.totalsDirty = true
	return orderOf(totals.nextSeq) | laneOf(untold)
}

// store writes the record and its index entries.
func (q *Queue) store(seq uint64, s *stored) error {
	key := seqKey(kindRecord, q.name, seq)
	value := s.append(make([]byte, sealLen, sealLen+recordHeader+len(s.key)+len(s.body)))
	resealInPlace(key, value)
	if _, err := q.tx.put(key, value); err != nil {
		return err
	}
	due := dueKey(q.name, s.due, seq)
	if q.tx.get(due) == nil {
		if _, err := q.tx.put(due, []byte{}); err != nil {
			return err
		}
	}
	index := named(kindKey, q.name, s.key...)
	if q.tx.get(index) == nil {
		if _, err := q.tx.put(index, binary.BigEndian.AppendUint64(nil, seq)); err != nil {
			return err
		}
	}
	q.count(s, 1)
	return nil
}

// count adds the record to the statistics, or takes it off.
func (q *Queue) count(s *stored, sign int) {
	q.dirty = true
	n := uint64(sign)
	q.stats.records += n
	q.stats.bytes += n * s.size()
	q.stats.untold += n * uint64(s.untold)
}

// Delete removes the record with the key, if there is one.
func (q *Queue) Delete(key []byte) error {
	if !q.tx.writable {
		return ErrNotWritable
	}
	seq, ok := q.seqOf(key)
	if !ok {
		return q.tx.err
	}
	r, ok := q.at(seq)
	if !ok {
		return q.tx.err
	}
	return q.remove(seq, &r)
}

// remove removes a record and its index entries.
func (q *Queue) remove(seq uint64, r *stored) error {
	keys := [][]byte{
		dueKey(q.name, r.due, seq),
		named(kindKey, q.name, r.key...),
		seqKey(kindRecord, q.name, seq),
	}
	q.count(r, -1)
	for _, key := range keys {
		existed, err := q.tx.delete(key)
		if err != nil {
			return err
		}
		if !existed {
			q.tx.damaged(fmt.Errorf("%w: index entry %x is missing", errMalformed, key))
			return q.tx.err
		}
	}
	return nil
}

// Due yields the records that are due, ordered by Due and Seq. The loop may change the queue: it goes on behind the last
// record, and meets a record again that it puts to a later time which is still due.
func (q *Queue) Due(now time.Time) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		if !q.exists {
			return
		}
		limit := millis(now)
		for key := range q.tx.scan(named(kindDue, q.name)) {
			due, seq, ok := q.splitDue(key)
			if !ok || due > limit {
				return
			}
			r, ok := q.at(seq)
			if !ok || !yield(r.record(seq)) {
				return
			}
		}
	}
}

func (q *Queue) splitDue(key []byte) (due int64, seq uint64, ok bool) {
	_, rest, err := splitNamed(key)
	if err != nil || len(rest) != 16 {
		q.tx.damaged(fmt.Errorf("%w: key %x", errMalformed, key))
		return 0, 0, false
	}
	return int64(binary.BigEndian.Uint64(rest)), binary.BigEndian.Uint64(rest[8:]), true
}

// All yields all records by Seq: those with nothing untold first, then what waits, the oldest first. The loop may change the queue,
// and meets a record again that a change moved to the end of the line.
func (q *Queue) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		if !q.exists {
			return
		}
		for key := range q.tx.scan(named(kindRecord, q.name)) {
			seq := seqOfKey(key)
			r, ok := q.at(seq)
			if !ok || !yield(r.record(seq)) {
				return
			}
		}
	}
}

// seqOfKey returns the sequence number that a key of a record or dead letter ends in.
func seqOfKey(key []byte) uint64 {
	return binary.BigEndian.Uint64(key[max(0, len(key)-8):])
}

// NextDue returns the earliest due time.
func (q *Queue) NextDue() (time.Time, bool) {
	if !q.exists {
		return time.Time{}, false
	}
	return q.dueOf(q.tx.first(named(kindDue, q.name)))
}

// LastDue returns the latest due time. One far in the future means that the clock was put back.
func (q *Queue) LastDue() (time.Time, bool) {
	if !q.exists {
		return time.Time{}, false
	}
	return q.dueOf(q.tx.last(named(kindDue, q.name)))
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
	for key := range q.tx.scan(laneKey(kindRecord, q.name, waitingLane)) {
		r, ok := q.at(seqOfKey(key))
		if !ok {
			break
		}
		return r.record(seqOfKey(key)), true
	}
	return first, found
}

// Len returns the number of records.
func (q *Queue) Len() int { return int(q.stats.records) }

// Bytes returns the sum of the lengths of keys and bodies.
func (q *Queue) Bytes() int64 { return int64(q.stats.bytes) }

// Untold returns the sum of the records' Untold.
func (q *Queue) Untold() uint64 { return q.stats.untold }
