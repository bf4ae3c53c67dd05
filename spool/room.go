package spool

import (
	"errors"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/edge-eventer/edge-eventer/spool/retention"
)

// reserve is the room that only makeRoom may use: a sixteenth of MaxBytes, and at least sixteen pages, because an eviction
// changes half a dozen.
func (s *Spool) reserve() int64 {
	return max(s.options.MaxBytes/16, 16*int64(s.db.Info().PageSize))
}

// makeRoom evicts after a transaction that did not fit, in transactions of their own, which may use the reserve. It frees up
// to an eighth of MaxBytes, so that a transaction of any size below MaxBytes fits after a few attempts.
//
// A leaf of large bodies is written to as many pages in a row. Where free pages are too scattered even for an eviction, the
// file is compacted, which puts all that is free in one piece.
func (s *Spool) makeRoom() {
	compacted := false
	for range 8 {
		err := s.update(func(tx *Tx) error {
			tx.evicting = retention.MaxExpire
			// Without a change there is nothing to commit.
			tx.txn.Changes++
			return nil
		})
		switch {
		case err == nil:
			if free := s.options.MaxBytes - s.usedBytes.Load(); free > s.options.MaxBytes/8+s.reserve() {
				return
			}
		case errors.Is(err, berrors.ErrMaxSizeReached) && !compacted:
			compacted = true
			if s.compactOpen() != nil {
				return
			}
		default:
			return
		}
	}
}
