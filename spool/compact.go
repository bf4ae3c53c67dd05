package spool

import (
	"errors"
	"fmt"

	"github.com/edge-eventer/edge-eventer/spool/boltfile"
	"github.com/edge-eventer/edge-eventer/spool/format"
	"github.com/edge-eventer/edge-eventer/spool/rebuild"
)

// compactEvery is how many times what is in use has to be written by commits before a compaction is thought of again: it reads the
// whole file and writes what that holds once, so that compactions add at most half to what is written.
const compactEvery = 2

// worthCompacting is how many bytes a compaction must free: three sixteenths of MaxBytes. The full ledger of a dense file takes
// 38 % of MaxBytes, so that records always have a sixth of it, while the pages of records alone, three quarters full, are left
// as they are.
func (s *Spool) worthCompacting() int64 { return s.options.MaxBytes / 16 * 3 }

// compactIfSparse compacts the open file where records would be evicted soon although entries could lie closer. bbolt joins
// pages only below a quarter, so that a ledger from whose pages events went in no order takes twice the room it
// needs. The caller holds writer.
func (s *Spool) compactIfSparse() {
	if s.db == nil || s.untilCompaction > 0 {
		return
	}
	used := s.usedBytes.Load()
	if used <= s.retention.HighWater(s.reserve())-s.options.MaxBytes/16 || s.dense > 0 && used-s.dense < s.worthCompacting() {
		return
	}
	s.untilCompaction = compactEvery * used
	dense, err := s.denseBytes()
	if err != nil {
		s.broken.CompareAndSwap(nil, &breakage{err: fmt.Errorf("%w: %w", ErrDamaged, err)})
		return
	}
	s.dense = dense
	if used-dense >= s.worthCompacting() {
		// Without room for a second file everything stays as it is, and the oldest are evicted.
		if s.compactOpen() == nil {
			s.dense = s.usedBytes.Load()
		}
	}
}

// denseBytes is what would be in use after a compaction, to a few pages: each leaf filled as the builder fills it.
func (s *Spool) denseBytes() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("size of the spool: %w", err)
	}
	metas, why := boltfile.ReadMetas(s.file)
	if len(metas) == 0 {
		return 0, why
	}
	pages := boltfile.New(s.file, format.BucketName, info.Size(), metas[0].PageSize, metas[0].Pages)
	return pages.Dense(metas[0], rebuild.BuilderFillPercent), pages.Cause()
}

// compactOpen compacts the open file. If it fails the old file stays, and is open again or will be by the next call.
func (s *Spool) compactOpen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.closeDB()
	if err == nil {
		err = s.compact()
	}
	if openErr := s.openDB(s.options.MaxBytes); openErr != nil {
		s.broken.CompareAndSwap(nil, &breakage{})
		err = errors.Join(err, openErr)
	}
	if err == nil {
		s.compactions.Add(1)
	}
	return err
}
