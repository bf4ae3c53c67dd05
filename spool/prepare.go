package spool

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/inspect"
	"github.com/edge-eventer/edge-eventer/spool/place"
	"github.com/edge-eventer/edge-eventer/spool/rebuild"
)

// builderOptions are those of the files that replace the spool's.
func (s *Spool) builderOptions() rebuild.Options {
	o := &s.options
	return rebuild.Options{Path: o.Path, Fsync: o.fsync, Now: o.Now, MaxBody: o.maxBody(), Open: func(path string) (*bbolt.DB, *os.File, error) {
		db, file, err := s.openBolt(path, o.MaxBytes)
		if err == nil {
			db.MaxSize, db.AllocSize = 0, int(o.growth())
		}
		return db, file, err
	}}
}

// prepare makes sure that the file at Path is there and sound. It returns what was rescued if it was not.
func (s *Spool) prepare() (*Rescue, error) {
	path := s.options.Path
	file, err := s.options.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, s.create()
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, failure.Classify(err))
	}
	defer func() { _ = file.Close() }()
	// What a crash left unfinished only takes room.
	if err := os.Remove(place.NewPath(path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove unfinished file: %w", failure.Classify(err))
	}
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	readAhead(file, info.Size())
	found, err := inspect.Read(file, info.Size())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if found.Cause != nil {
		return s.rescue(found)
	}
	return nil, s.fit(found, info.Size())
}

// create puts an empty file in place, or a complete new one whose rename a crash prevented.
func (s *Spool) create() error {
	if !s.isComplete(place.NewPath(s.options.Path)) {
		b, err := rebuild.New(s.builderOptions())
		if err != nil {
			return err
		}
		if err := b.Finish(); err != nil {
			return err
		}
	}
	return s.place.Replace()
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
	found, err := inspect.Read(file, info.Size())
	return err == nil && found.Cause == nil
}

// fit makes a sound file fit MaxBytes, and gives back what a drained backlog left where that is three quarters of a file
// of more than 1 MiB.
func (s *Spool) fit(found *inspect.Report, size int64) error {
	used := found.Pages.Used()
	// Fewer pages than 64 leave no room to copy on write.
	tooLarge := size > s.options.MaxBytes || found.Pages.PageSize()*minPages > s.options.MaxBytes
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
	if err := s.openDB(size); err != nil {
		return err
	}
	s.shrinking = true
	defer func() { s.shrinking = false }()
	for {
		evicted := 0
		err := s.update(func(tx *Tx) error {
			tx.evicted = &evicted
			// Without a change there is nothing to commit.
			tx.txn.Changes++
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

// rescue saves what can be read into a new file and sets the damaged one aside.
func (s *Spool) rescue(found *inspect.Report) (*Rescue, error) {
	b, err := rebuild.New(s.builderOptions())
	if err != nil {
		return nil, err
	}
	result, err := rebuild.Save(b, found)
	if err != nil {
		return nil, err
	}
	if result.SetAside, err = s.place.SetAside(s.options.Now()); err != nil {
		return nil, err
	}
	if err := s.place.Replace(); err != nil {
		return nil, err
	}
	s.place.RemoveOldAsides()
	return result, nil
}

// compact copies all entries into a new file and puts it in place.
func (s *Spool) compact() error {
	file, err := s.options.OpenFile(s.options.Path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("compact: %w", failure.Classify(err))
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	metas, why := boltfile.ReadMetas(file)
	if len(metas) == 0 {
		return fmt.Errorf("compact: %w", why)
	}
	b, err := rebuild.New(s.builderOptions())
	if err != nil {
		return err
	}
	var failed error
	pages := boltfile.New(file, format.BucketName, info.Size(), metas[0].PageSize, metas[0].Pages)
	pages.Walk(metas[0], func(key, value []byte) error {
		if failed == nil && key[0] != format.KindFormat {
			failed = b.Copy(key, value)
		}
		return nil
	})
	if err := errors.Join(failed, pages.Cause()); err != nil {
		return b.Fail(err)
	}
	if err := b.Finish(); err != nil {
		return err
	}
	return s.place.Replace()
}
