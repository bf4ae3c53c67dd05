package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"go.etcd.io/bbolt"
)

// Look opens the spool for Views only and changes nothing: no file is made, rescued, compacted, given to another owner or written to. It
// fails with ErrDamaged where only a rescue would help, which Open makes, and with ErrLocked while another has the spool open. Of the
// options it takes Path and OpenFile.
func Look(o Options) (*Spool, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	lock, err := lockForLook(o.Path)
	if err != nil {
		return nil, err
	}
	s := &Spool{options: o, lock: lock, looks: true, commit: (*bbolt.Tx).Commit, rescueSignal: make(chan struct{}, 1)}
	if err = s.look(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// look opens a file that is sound.
func (s *Spool) look() error {
	file, err := s.options.OpenFile(s.options.Path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.options.Path, classify(err))
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open %s: %w", s.options.Path, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open %s: not a regular file", s.options.Path)
	}
	found, err := inspect(file, info.Size())
	if err != nil {
		return fmt.Errorf("read %s: %w", s.options.Path, err)
	}
	if found.cause != nil {
		return fmt.Errorf("%w (%w): the agent rescues what can be read when it starts; a look changes nothing", ErrDamaged, found.cause)
	}
	return s.openDB(s.options.Path, s.options.MaxBytes)
}

// lockForLook shares the lock with other looks. It returns a file to be closed, that of the spool itself where there is no lock file.
func lockForLook(path string) (*os.File, error) {
	lock, err := os.Open(path + ".lock")
	if errors.Is(err, fs.ErrNotExist) {
		lock, err = os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, classify(err))
		}
		return lock, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open lock file of the spool: %w", classify(err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s.lock is locked", ErrLocked, path)
		}
		return nil, fmt.Errorf("lock %s.lock: %w", path, classify(err))
	}
	return lock, nil
}

// followLinks returns where path leads, also where nothing is there yet: what replaces the file must not replace a link to it. It
// refuses root a link of another user to what is not that user's: a command of root's must not replace any file that the agent names.
func followLinks(path string) (string, error) {
	var users []int
	for range 40 {
		target, err := os.Readlink(path)
		if err != nil {
			// It is no link, or not there; whatever else it is the opening says.
			owner := ownerOf(path).uid
			for _, uid := range users {
				if os.Geteuid() == 0 && uid != 0 && uid != owner {
					return "", fmt.Errorf("%w: user %d made a link to %s, which is user %d's", ErrPermission, uid, path, owner)
				}
			}
			return path, nil
		}
		if info, err := os.Lstat(path); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				users = append(users, int(stat.Uid))
			}
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: %w", path, syscall.ELOOP)
}

// owner is whose the spool is. A command of root's must not take it away from the agent.
type owner struct {
	uid, gid int
	mode     fs.FileMode
}

// ownerOf returns whose the file is, or whose its directory is where there is none, and with which mode a new file begins.
func ownerOf(path string) owner {
	o := owner{os.Geteuid(), os.Getegid(), 0o600}
	for _, p := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(p)
		if err != nil {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			o.uid, o.gid = int(stat.Uid), int(stat.Gid)
		}
		if p == path {
			o.mode = info.Mode().Perm()
		}
		break
	}
	return o
}

// give makes the open file the owner's. Who may not give files away keeps it, which is whose process it is.
func (o owner) give(file *os.File) error {
	if os.Geteuid() == 0 {
		if err := file.Chown(o.uid, o.gid); err != nil {
			return fmt.Errorf("keep the owner of the spool: %w", err)
		}
	}
	if err := file.Chmod(o.mode); err != nil {
		return fmt.Errorf("keep the mode of the spool: %w", err)
	}
	return nil
}
