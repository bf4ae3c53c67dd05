package spool

import (
	"errors"
	"fmt"
	"os"

	"github.com/edge-eventer/edge-eventer/spool/failure"
	"github.com/edge-eventer/edge-eventer/spool/inspect"
	"github.com/edge-eventer/edge-eventer/spool/place"
)

// Look opens the spool for Views only and changes nothing: no file is made, rescued, compacted, given to another owner or written to. It
// fails with ErrDamaged where only a rescue would help, which Open makes, and with ErrLocked while another has the spool open. Of the
// options it takes Path and OpenFile.
func Look(o Options) (*Spool, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	lock, err := place.LockForLook(o.Path)
	if err != nil {
		return nil, err
	}
	s := newSpool(o, place.Owner{}, lock)
	s.looks = true
	if err = s.look(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// look opens a file that is sound.
func (s *Spool) look() error {
	file, err := s.options.OpenFile(s.options.Path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.options.Path, failure.Classify(err))
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open %s: %w", s.options.Path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open %s: not a regular file", s.options.Path)
	}
	found, err := inspect.Read(file, info.Size())
	if err != nil {
		return fmt.Errorf("read %s: %w", s.options.Path, err)
	}
	if found.Cause != nil {
		return fmt.Errorf("%w (%w): the agent rescues what can be read when it starts; a look changes nothing", ErrDamaged, found.Cause)
	}
	return s.openDB(s.options.MaxBytes)
}
