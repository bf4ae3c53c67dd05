package spool

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
)

// fillPercent is how full bbolt makes a page before it splits it. Records and ledger entries mostly come at the end of
// their range, where a page that is split in halves would stay half empty.
const fillPercent = 0.9

// Tx is a transaction. It is valid until the function it was given to returns, and only in its goroutine.
type Tx struct {
	spool    *Spool
	btx      *bbolt.Tx
	bucket   *bbolt.Bucket
	writable bool

	// inside is set while bbolt's code runs, so that its panics can be told from the caller's.
	inside bool
	// err is damage that was met by a method without an error result. It fails the transaction.
	err error

	// changes counts puts and deletes. It tells scans that their cursor is stale.
	changes uint64
	// puts counts puts, grown sums up the bytes that entries grew by.
	puts  int
	grown int64

	// scanned counts the entries that loops went through.
	scanned uint64

	// evicting, if not 0, is how much makeRoom wants to evict at most.
	evicting int
	// evicted, if not nil, counts what was evicted.
	evicted *int

	queues       map[string]*Queue
	totals       totals
	totalsLoaded bool
	totalsDirty  bool
	// before are the totals as the transaction found them.
	before totals
}

// run opens the bucket and calls fn.
func (tx *Tx) run(fn func(*Tx) error) error {
	tx.inside = true
	tx.bucket = tx.btx.Bucket([]byte(bucketName))
	tx.inside = false
	if tx.bucket == nil {
		tx.damaged(errors.New("bucket is missing"))
		return tx.err
	}
	tx.bucket.FillPercent = fillPercent
	err := fn(tx)
	if tx.err != nil {
		return tx.err
	}
	return err
}

// seal writes what goes with every change, and makes room.
func (tx *Tx) seal(used int64) error {
	if !tx.spool.bulk {
		if err := tx.trim(used); err != nil {
			return err
		}
		t := tx.loadTotals()
		t.rev++
		if tx.spool.clock.began > 0 {
			tx.spool.clock.stamp(t, tx.spool.options.Monotonic())
		}
		tx.totalsDirty = true
	}
	for _, q := range tx.queues {
		if err := q.writeStats(); err != nil {
			return err
		}
	}
	if tx.totalsDirty {
		key := []byte{kindTotals}
		if _, err := tx.put(key, seal(key, tx.totals.append(nil))); err != nil {
			return err
		}
	}
	return tx.err
}

// damaged notes that an entry cannot be read. The transaction fails and the next one rescues the rest.
func (tx *Tx) damaged(err error) {
	if err == nil {
		err = errMalformed
	}
	if tx.err == nil {
		tx.err = fmt.Errorf("%w: %w", ErrDamaged, err)
		tx.spool.broken.CompareAndSwap(nil, &breakage{err: tx.err})
	}
}

// panicked turns a panic of bbolt, or of anybody who reads a page that the disk cannot deliver, into an error. Any other
// panic goes on.
func (tx *Tx) panicked(p any) error {
	// With SetPanicOnFault the runtime's error for a fault has the address.
	_, isFault := p.(interface{ Addr() uintptr })
	if !tx.inside && !isFault {
		panic(p)
	}
	tx.err = nil
	tx.damaged(fmt.Errorf("%v", p))
	return tx.err
}

// get returns the value as it is stored, valid until the transaction ends, or nil.
func (tx *Tx) get(key []byte) []byte {
	tx.inside = true
	v := tx.bucket.Get(key)
	tx.inside = false
	return v
}

// payload returns the payload of a sealed value.
func (tx *Tx) payload(key []byte) ([]byte, bool) {
	v := tx.get(key)
	if v == nil {
		return nil, false
	}
	payload, err := unseal(key, v)
	if err != nil {
		tx.damaged(err)
		return nil, false
	}
	return payload, true
}

// elementLen is what bbolt stores for an entry beside its key and value.
const elementLen = 16

// put stores value, which must not be changed afterwards, and says whether the key is new.
func (tx *Tx) put(key, value []byte) (bool, error) {
	if !tx.writable {
		return false, ErrNotWritable
	}
	old := tx.get(key)
	tx.inside = true
	err := tx.bucket.Put(key, value)
	tx.inside = false
	if err != nil {
		return false, fmt.Errorf("put: %w", err)
	}
	tx.changes++
	tx.puts++
	tx.grown += int64(len(value) - len(old))
	if old == nil {
		tx.grown += int64(len(key) + elementLen)
	}
	return old == nil, nil
}

// putChanged stores the payload sealed unless it is what is stored already.
func (tx *Tx) putChanged(key, payload []byte) error {
	if !tx.writable {
		return ErrNotWritable
	}
	value := seal(key, payload)
	if bytes.Equal(tx.get(key), value) {
		return nil
	}
	_, err := tx.put(key, value)
	return err
}

// delete removes the entry and says whether there was one.
func (tx *Tx) delete(key []byte) (bool, error) {
	if !tx.writable {
		return false, ErrNotWritable
	}
	old := tx.get(key)
	if old == nil {
		return false, nil
	}
	tx.inside = true
	err := tx.bucket.Delete(key)
	tx.inside = false
	if err != nil {
		return false, fmt.Errorf("delete: %w", err)
	}
	tx.changes++
	tx.grown -= int64(len(key) + len(old) + elementLen)
	return true, nil
}

// touchEvery is after how many entries of a loop Options.Touched is called. A record that lies alone brings 16 pages into the process.
const touchEvery = 32

// scan yields the entries under prefix in the order of their keys. The loop may change the spool: after a change the scan
// looks up the first key behind the last one it gave, because bbolt's cursor may skip or repeat entries then.
func (tx *Tx) scan(prefix []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		tx.inside = true
		c := tx.bucket.Cursor()
		k, v := c.Seek(prefix)
		tx.inside = false
		for k != nil && bytes.HasPrefix(k, prefix) {
			if tx.scanned++; tx.scanned%touchEvery == 0 {
				tx.spool.touched(false)
			}
			changes := tx.changes
			if !yield(k, v) {
				return
			}
			tx.inside = true
			if tx.changes == changes {
				k, v = c.Next()
			} else {
				c = tx.bucket.Cursor()
				k, v = c.Seek(append(bytes.Clone(k), 0))
			}
			tx.inside = false
		}
	}
}

// first returns the first key under prefix, or nil.
func (tx *Tx) first(prefix []byte) []byte {
	for key := range tx.scan(prefix) {
		return key
	}
	return nil
}

// last returns the last key under prefix, or nil.
func (tx *Tx) last(prefix []byte) []byte {
	tx.inside = true
	defer func() { tx.inside = false }()
	c := tx.bucket.Cursor()
	k, _ := c.Seek(boltfile.After(prefix))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	if !bytes.HasPrefix(k, prefix) {
		return nil
	}
	return k
}

func (tx *Tx) loadTotals() *totals {
	if tx.totalsLoaded {
		return &tx.totals
	}
	tx.totalsLoaded = true
	if payload, ok := tx.payload([]byte{kindTotals}); ok {
		t, err := decodeTotals(payload)
		if err != nil {
			tx.damaged(err)
		}
		tx.totals, tx.before = t, t
	}
	return &tx.totals
}

// Generation counts the rescues since the process began. Where it differs between two transactions, positions and whatever else was
// read in the first may be gone, and what was put may be lost.
func (tx *Tx) Generation() uint64 { return tx.spool.generation.Load() }
