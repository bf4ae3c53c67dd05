package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"go.etcd.io/bbolt"
)

// builder writes a new file beside the spool's, for what replaces it in one rename. It syncs only at the end, and writes
// the format version after everything else: a file with it is complete.
type builder struct {
	spool *Spool
	tx    *Tx
}

// batchPuts and batchBytes bound a transaction of the builder, which fills pages fuller than others do: nothing comes between.
const (
	batchPuts          = 512
	batchBytes         = 512 << 10
	builderFillPercent = 0.97
)

func newPath(path string) string { return path + ".new" }

func newBuilder(o Options) (*builder, error) {
	o.Path = newPath(o.Path)
	if err := os.Remove(o.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove unfinished file: %w", classify(err))
	}
	b := &builder{spool: &Spool{options: o, bulk: true, commit: (*bbolt.Tx).Commit}}
	if err := b.spool.openDB(o.Path, o.MaxBytes); err != nil {
		return nil, errors.Join(err, b.remove())
	}
	b.spool.db.NoSync = true
	err := b.spool.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte(bucketName))
		return err
	})
	if err != nil {
		return nil, b.fail(err)
	}
	return b, nil
}

// fail gives up and returns err classified.
func (b *builder) fail(err error) error {
	if b.tx != nil {
		abandon(b.tx.btx)
		b.tx = nil
	}
	return errors.Join(fmt.Errorf("write new file: %w", classify(err)), b.spool.closeDB(), b.remove())
}

func (b *builder) remove() error {
	if err := os.Remove(b.spool.options.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// next returns the transaction to write to: a new one when the last is large.
func (b *builder) next() (*Tx, error) {
	if b.tx != nil && b.tx.puts < batchPuts && b.tx.grown < batchBytes {
		return b.tx, nil
	}
	var last totals
	if b.tx != nil {
		last = b.tx.totals
		if err := b.flush(); err != nil {
			return nil, err
		}
	}
	btx, err := b.spool.db.Begin(true)
	if err != nil {
		return nil, err
	}
	b.tx = &Tx{spool: b.spool, btx: btx, writable: true, bucket: btx.Bucket([]byte(bucketName))}
	b.tx.bucket.FillPercent = builderFillPercent
	b.tx.totals, b.tx.totalsLoaded, b.tx.totalsDirty = last, true, true
	return b.tx, nil
}

func (b *builder) flush() error {
	tx := b.tx
	b.tx = nil
	if err := tx.seal(0); err != nil {
		abandon(tx.btx)
		return err
	}
	return tx.btx.Commit()
}

// finish makes the file complete and durable and closes it.
func (b *builder) finish() error {
	tx, err := b.next()
	if err != nil {
		return b.fail(err)
	}
	tx.totalsDirty = true
	if err := b.flush(); err != nil {
		return b.fail(err)
	}
	if err := b.spool.options.fsync(b.spool.file); err != nil {
		return b.fail(err)
	}
	b.spool.db.NoSync = false
	err = b.spool.db.Update(func(tx *bbolt.Tx) error {
		key := []byte{kindFormat}
		return tx.Bucket([]byte(bucketName)).Put(key, seal(key, binary.BigEndian.AppendUint32(nil, formatVersion)))
	})
	if err != nil {
		return b.fail(err)
	}
	if err := b.spool.closeDB(); err != nil {
		return b.fail(err)
	}
	return nil
}

// prepare makes sure that the file at Path is there and sound. It returns what was rescued if it was not.
func (s *Spool) prepare() (*Rescue, error) {
	path := s.options.Path
	file, err := s.options.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, s.create()
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, classify(err))
	}
	defer func() { _ = file.Close() }()
	// What a crash left unfinished only takes room.
	if err := os.Remove(newPath(path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove unfinished file: %w", classify(err))
	}
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	found, err := inspect(file, info.Size())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if found.cause != nil {
		return s.rescue(found)
	}
	return nil, s.fit(found, info.Size())
}

// create puts an empty file in place, or a complete new one whose rename a crash prevented.
func (s *Spool) create() error {
	if !s.isComplete(newPath(s.options.Path)) {
		b, err := newBuilder(s.options)
		if err != nil {
			return err
		}
		if err := b.finish(); err != nil {
			return err
		}
	}
	return s.replace()
}

func (s *Spool) isComplete(path string) bool {
	file, err := s.options.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return false
	}
	found, err := inspect(file, info.Size())
	return err == nil && found.cause == nil
}

// replace puts the new file in the place of the old, whose owner and mode it gets.
func (s *Spool) replace() error {
	file, err := os.OpenFile(newPath(s.options.Path), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err == nil {
		err = errors.Join(s.owner.give(file), file.Close())
	}
	if err != nil {
		return fmt.Errorf("put new file in place: %w", classify(err))
	}
	if err := os.Rename(newPath(s.options.Path), s.options.Path); err != nil {
		return fmt.Errorf("put new file in place: %w", classify(err))
	}
	return classify(s.syncDir(s.options.Path))
}

// fit makes a sound file fit MaxBytes, and gives back what a drained backlog left where that is three quarters of a file
// of more than 1 MiB.
func (s *Spool) fit(found *inspection, size int64) error {
	used := found.pages.Used()
	// Fewer pages than 64 leave no room to copy on write.
	tooLarge := size > s.options.MaxBytes || found.pages.PageSize()*minPages > s.options.MaxBytes
	if !tooLarge && (size <= 1<<20 || used > size/4) {
		return nil
	}
	if tooLarge {
		if err := s.shrink(size); err != nil {
			return err
		}
	}
	err := s.compact()
	if errors.Is(err, ErrNoSpace) {
		// The old file is still there, and bbolt writes to its free pages.
		return nil
	}
	return err
}

// shrink evicts from a file that is too large as it lies.
func (s *Spool) shrink(size int64) error {
	if err := s.openDB(s.options.Path, size); err != nil {
		return err
	}
	s.shrinking = true
	defer func() { s.shrinking = false }()
	for {
		evicted := 0
		err := s.update(func(tx *Tx) error {
			tx.evicted = &evicted
			// Without a change there is nothing to commit.
			tx.changes++
			return nil
		})
		if err != nil {
			return errors.Join(fmt.Errorf("shrink: %w", err), s.closeDB())
		}
		if evicted == 0 {
			return s.closeDB()
		}
	}
}
