package txn

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.etcd.io/bbolt"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
)

// Env is what the transactions of one spool share.
type Env struct {
	// Now is the wall clock.
	Now func() time.Time
	// MaxBytes bounds the file and maxBody a body, in bytes.
	MaxBytes int64
	MaxBody  int
	// Bulk is set while a new file is built: no bound, no revision of its own.
	Bulk bool
	// Touched is called after every few entries that a loop went through.
	Touched func()
	// Damaged hears of damage that was met.
	Damaged func(error)
}

// Txn is a transaction on entries. It is for one goroutine.
type Txn struct {
	Env      *Env
	Btx      *bbolt.Tx
	bucket   *bbolt.Bucket
	Writable bool

	// Inside is set while bbolt's code runs, so that its panics can be told from the caller's.
	Inside bool
	// Err is damage that was met by a method without an error result. It fails the transaction.
	Err error

	// Changes counts puts and deletes. It tells scans that their cursor is stale.
	Changes uint64
	// Puts counts puts, grown sums up the bytes that entries grew by.
	Puts  int
	Grown int64

	// scanned counts the entries that loops went through.
	scanned uint64

	Totals       format.Totals
	totalsLoaded bool
	TotalsDirty  bool
	// Before are the totals as the transaction found them.
	Before format.Totals
}

// New returns a transaction that nothing was read in yet.
func New(env *Env, btx *bbolt.Tx) *Txn {
	return &Txn{Env: env, Btx: btx, Writable: btx.Writable()}
}

// Open looks up the bucket, whose pages are filled to the given part when they are split. It comes before all else, and panics as
// bbolt does over a damaged file; see panicked.
func (tx *Txn) Open(fill float64) error {
	tx.Inside = true
	tx.bucket = tx.Btx.Bucket([]byte(format.BucketName))
	tx.Inside = false
	if tx.bucket == nil {
		tx.IsDamaged(errors.New("bucket is missing"))
		return tx.Err
	}
	tx.bucket.FillPercent = fill
	return nil
}

// WriteTotals writes the totals if they changed.
func (tx *Txn) WriteTotals() error {
	if tx.TotalsDirty {
		tx.TotalsDirty = false
		key := []byte{format.KindTotals}
		if _, err := tx.Put(key, format.Seal(key, tx.Totals.Append(nil))); err != nil {
			return err
		}
	}
	return tx.Err
}

// IsDamaged notes that an entry cannot be read. The transaction fails and the next one rescues the rest.
func (tx *Txn) IsDamaged(err error) {
	if err == nil {
		err = format.ErrMalformed
	}
	if tx.Err == nil {
		tx.Err = fmt.Errorf("%w: %w", failure.ErrDamaged, err)
		tx.Env.Damaged(tx.Err)
	}
}

// Panicked turns a panic of bbolt, or of anybody who reads a page that the disk cannot deliver, into an error. Any other
// panic goes on.
func (tx *Txn) Panicked(p any) error {
	// With SetPanicOnFault the runtime's error for a fault has the address.
	_, isFault := p.(interface{ Addr() uintptr })
	if !tx.Inside && !isFault {
		panic(p)
	}
	tx.Err = nil
	tx.IsDamaged(fmt.Errorf("%v", p))
	return tx.Err
}

// Abandon rolls back, and survives what a panic inside bbolt left.
func Abandon(btx *bbolt.Tx) {
	defer func() { _ = recover() }()
	_ = btx.Rollback()
}

// Get returns the value as it is stored, valid until the transaction ends, or nil.
func (tx *Txn) Get(key []byte) []byte {
	tx.Inside = true
	v := tx.bucket.Get(key)
	tx.Inside = false
	return v
}

// Payload returns the payload of a sealed value.
func (tx *Txn) Payload(key []byte) ([]byte, bool) {
	v := tx.Get(key)
	if v == nil {
		return nil, false
	}
	payload, err := format.Unseal(key, v)
	if err != nil {
		tx.IsDamaged(err)
		return nil, false
	}
	return payload, true
}

// elementLen is what bbolt stores for an entry beside its key and value.
const elementLen = boltfile.ElementLen

// Put stores value, which must not be changed afterwards, and says whether the key is new.
func (tx *Txn) Put(key, value []byte) (bool, error) {
	if !tx.Writable {
		return false, failure.ErrNotWritable
	}
	old := tx.Get(key)
	tx.Inside = true
	err := tx.bucket.Put(key, value)
	tx.Inside = false
	if err != nil {
		return false, fmt.Errorf("put: %w", err)
	}
	tx.Changes++
	tx.Puts++
	tx.Grown += int64(len(value) - len(old))
	if old == nil {
		tx.Grown += int64(len(key) + elementLen)
	}
	return old == nil, nil
}

// PutChanged stores the payload sealed unless it is what is stored already.
func (tx *Txn) PutChanged(key, payload []byte) error {
	if !tx.Writable {
		return failure.ErrNotWritable
	}
	value := format.Seal(key, payload)
	if bytes.Equal(tx.Get(key), value) {
		return nil
	}
	_, err := tx.Put(key, value)
	return err
}

// Delete removes the entry and says whether there was one.
func (tx *Txn) Delete(key []byte) (bool, error) {
	if !tx.Writable {
		return false, failure.ErrNotWritable
	}
	old := tx.Get(key)
	if old == nil {
		return false, nil
	}
	tx.Inside = true
	err := tx.bucket.Delete(key)
	tx.Inside = false
	if err != nil {
		return false, fmt.Errorf("delete: %w", err)
	}
	tx.Changes++
	tx.Grown -= int64(len(key) + len(old) + elementLen)
	return true, nil
}

// touchEvery is after how many entries of a loop Options.Touched is called. A record that lies alone brings 16 pages into the process.
const touchEvery = 32

// Scan yields the entries under prefix in the order of their keys. The loop may change the spool: after a change the scan
// looks up the first key behind the last one it gave, because bbolt's cursor may skip or repeat entries then.
func (tx *Txn) Scan(prefix []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		tx.Inside = true
		c := tx.bucket.Cursor()
		k, v := c.Seek(prefix)
		tx.Inside = false
		for k != nil && bytes.HasPrefix(k, prefix) {
			if tx.scanned++; tx.scanned%touchEvery == 0 {
				tx.Env.Touched()
			}
			changes := tx.Changes
			if !yield(k, v) {
				return
			}
			tx.Inside = true
			if tx.Changes == changes {
				k, v = c.Next()
			} else {
				c = tx.bucket.Cursor()
				k, v = c.Seek(append(bytes.Clone(k), 0))
			}
			tx.Inside = false
		}
	}
}

// First returns the first key under prefix, or nil.
func (tx *Txn) First(prefix []byte) []byte {
	for key := range tx.Scan(prefix) {
		return key
	}
	return nil
}

// Last returns the last key under prefix, or nil.
func (tx *Txn) Last(prefix []byte) []byte {
	tx.Inside = true
	defer func() { tx.Inside = false }()
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

// SetTotals replaces the totals, which are written at the end in any case.
func (tx *Txn) SetTotals(t format.Totals) {
	tx.Totals, tx.totalsLoaded, tx.TotalsDirty = t, true, true
}

// BumpRevision counts a transaction that changed something.
func (tx *Txn) BumpRevision() {
	tx.LoadTotals().Rev++
	tx.TotalsDirty = true
}

// CountLedger notes that the ledger has n entries more, or fewer.
func (tx *Txn) CountLedger(n int) {
	totals := tx.LoadTotals()
	totals.LedgerLen = uint64(max(0, int64(totals.LedgerLen)+int64(n)))
	tx.TotalsDirty = true
}

// Back returns the key under prefix behind which n-1 others follow, or nil if there are fewer than n.
func (tx *Txn) Back(prefix []byte, n int) []byte {
	tx.Inside = true
	defer func() { tx.Inside = false }()
	c := tx.bucket.Cursor()
	k, _ := c.Seek(boltfile.After(prefix))
	if k == nil {
		k, _ = c.Last()
	} else {
		k, _ = c.Prev()
	}
	for n--; n > 0 && bytes.HasPrefix(k, prefix); n-- {
		k, _ = c.Prev()
	}
	if !bytes.HasPrefix(k, prefix) {
		return nil
	}
	return k
}

// LoadTotals returns the counts of the whole spool. Who changes them calls totalsChanged.
func (tx *Txn) LoadTotals() *format.Totals {
	if tx.totalsLoaded {
		return &tx.Totals
	}
	tx.totalsLoaded = true
	if payload, ok := tx.Payload([]byte{format.KindTotals}); ok {
		t, err := format.DecodeTotals(payload)
		if err != nil {
			tx.IsDamaged(err)
		}
		tx.Totals, tx.Before = t, t
	}
	return &tx.Totals
}
