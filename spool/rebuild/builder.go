package rebuild

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"

	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/place"
	"github.com/edge-eventer/edge-eventer/spool/queue"
	"github.com/edge-eventer/edge-eventer/spool/txn"
)

// Builder writes a new file beside the spool's, for what replaces it in one rename. It syncs only at the end, and writes
// the format version after everything else: a file with it is complete.
type Builder struct {
	options Options
	db      *bbolt.DB
	file    *os.File
	env     txn.Env
	tx      *copyTx
	// version is that of what was put.
	version uint32
}

// batchPuts and batchBytes bound a transaction of the builder, which fills pages fuller than others do: nothing comes between.
const (
	batchPuts          = 512
	batchBytes         = 512 << 10
	BuilderFillPercent = 0.97
)

// Options say how a new file is made.
type Options struct {
	// Path is the file that the new one will replace.
	Path string
	// Open opens a file with bbolt, without a bound.
	Open func(path string) (*bbolt.DB, *os.File, error)
	// Fsync makes the file durable.
	Fsync func(*os.File) error
	// Now is the wall clock. maxBody bounds a body, in bytes.
	Now     func() time.Time
	MaxBody int
}

// copyTx is a transaction of the new file.
type copyTx struct {
	*txn.Txn
	*queue.Set
}

// New begins a file beside the one that it will replace.
func New(o Options) (*Builder, error) {
	b := &Builder{options: o, version: format.LeastVersion, env: txn.Env{Now: o.Now, MaxBody: o.MaxBody, Bulk: true, Touched: func() {}, Damaged: func(error) {}}}
	if err := b.remove(); err != nil {
		return nil, fmt.Errorf("remove unfinished file: %w", failure.Classify(err))
	}
	var err error
	if b.db, b.file, err = o.Open(place.NewPath(o.Path)); err != nil {
		return nil, errors.Join(err, b.remove())
	}
	b.db.NoSync = true
	err = b.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte(format.BucketName))
		return err
	})
	if err != nil {
		return nil, b.Fail(err)
	}
	return b, nil
}

// Fail gives up and returns err classified.
func (b *Builder) Fail(err error) error {
	if b.tx != nil {
		txn.Abandon(b.tx.Btx)
		b.tx = nil
	}
	return errors.Join(fmt.Errorf("write new file: %w", failure.Classify(err)), b.db.Close(), b.remove())
}

func (b *Builder) remove() error {
	if err := os.Remove(place.NewPath(b.options.Path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// next returns the transaction to write to: a new one when the last is large.
func (b *Builder) next() (*copyTx, error) {
	if b.tx != nil && b.tx.Puts < batchPuts && b.tx.Grown < batchBytes {
		return b.tx, nil
	}
	var last format.Totals
	if b.tx != nil {
		last = b.tx.Totals
		if err := b.flush(); err != nil {
			return nil, err
		}
	}
	btx, err := b.db.Begin(true)
	if err != nil {
		return nil, err
	}
	t := txn.New(&b.env, btx)
	if err := t.Open(BuilderFillPercent); err != nil {
		txn.Abandon(btx)
		return nil, err
	}
	t.SetTotals(last)
	b.tx = &copyTx{t, queue.NewSet(t)}
	return b.tx, nil
}

func (b *Builder) flush() error {
	tx := b.tx
	b.tx = nil
	if err := errors.Join(tx.WriteStats(), tx.WriteTotals()); err != nil {
		txn.Abandon(tx.Btx)
		return err
	}
	return tx.Btx.Commit()
}

// Finish makes the file complete and durable and closes it.
func (b *Builder) Finish() error {
	if _, err := b.next(); err != nil {
		return b.Fail(err)
	}
	if err := b.flush(); err != nil {
		return b.Fail(err)
	}
	if err := b.options.Fsync(b.file); err != nil {
		return b.Fail(err)
	}
	b.db.NoSync = false
	err := b.db.Update(func(tx *bbolt.Tx) error {
		key := []byte{format.KindFormat}
		return tx.Bucket([]byte(format.BucketName)).Put(key, format.Seal(key, binary.BigEndian.AppendUint32(nil, b.version)))
	})
	if err != nil {
		return b.Fail(err)
	}
	if err := b.db.Close(); err != nil {
		return b.Fail(err)
	}
	return nil
}

// Copy puts an entry as it is.
func (b *Builder) Copy(key, value []byte) error {
	tx, err := b.next()
	if err != nil {
		return err
	}
	if key[0] == format.KindTotals {
		payload, err := format.Unseal(key, value)
		if err != nil {
			return err
		}
		t, err := format.DecodeTotals(payload)
		if err == nil {
			tx.SetTotals(t)
		}
		return err
	}
	if key[0] == format.KindRun {
		b.version = format.FormatVersion
	}
	_, err = tx.Put(key, append([]byte{}, value...))
	return err
}
