package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/edge-eventer/edge-eventer/spool/failure"
)

// Place is where a spool lies, and whose it is.
type Place struct {
	// Path is the file, no link.
	Path  string
	Owner Owner
	// Fsync makes a file or a directory durable.
	Fsync func(*os.File) error
}

// The name of a damaged file ends in a running number and the time of the clock, in the layout setAsideTime. keepAside of them stay.
const (
	damagedSuffix = ".damaged-"
	SetAsideTime  = "20060102T150405Z"
	keepAside     = 2
)

// NewPath is where a file is written that replaces the one at path.
func NewPath(path string) string { return path + ".new" }

// Lock takes the lock that makes the spool ours. It is a file of its own because rescue and compaction replace the
// spool's file while they hold it.
func Lock(path string, owner Owner) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		// Exclusively, so that no link of another user's is followed.
		lock, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, os.ErrExist):
			lock, err = os.OpenFile(path, os.O_RDWR, 0)
		case err == nil:
			if err = owner.give(lock); err != nil {
				_ = lock.Close()
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open lock file of the spool: %w", failure.Classify(err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked", failure.ErrLocked, path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, failure.Classify(err))
	}
	return lock, nil
}

// LockForLook shares the lock with other looks. It returns a file to be closed, that of the spool itself where there is no lock file.
func LockForLook(path string) (*os.File, error) {
	lock, err := os.Open(path + ".lock")
	if errors.Is(err, fs.ErrNotExist) {
		lock, err = os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, failure.Classify(err))
		}
		return lock, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open lock file of the spool: %w", failure.Classify(err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s.lock is locked", failure.ErrLocked, path)
		}
		return nil, fmt.Errorf("lock %s.lock: %w", path, failure.Classify(err))
	}
	return lock, nil
}

// Follow returns where path leads, also where nothing is there yet: what replaces the file must not replace a link to it. It
// refuses root a link of another user to what is not that user's: a command of root's must not replace any file that the agent names.
func Follow(path string) (string, error) {
	var users []int
	for range 40 {
		target, err := os.Readlink(path)
		if err != nil {
			// It is no link, or not there; whatever else it is the opening says.
			owner := OwnerOf(path).uid
			for _, uid := range users {
				if os.Geteuid() == 0 && uid != 0 && uid != owner {
					return "", fmt.Errorf("%w: user %d made a link to %s, which is user %d's", failure.ErrPermission, uid, path, owner)
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

// Owner is whose the spool is. A command of root's must not take it away from the agent.
type Owner struct {
	uid, gid int
	mode     fs.FileMode
}

// OwnerOf returns whose the file is, or whose its directory is where there is none, and with which mode a new file begins.
func OwnerOf(path string) Owner {
	o := Owner{os.Geteuid(), os.Getegid(), 0o600}
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
func (o Owner) give(file *os.File) error {
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

// Replace puts the new file in the place of the old, whose owner and mode it gets.
func (p *Place) Replace() error {
	file, err := os.OpenFile(NewPath(p.Path), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err == nil {
		err = errors.Join(p.Owner.give(file), file.Close())
	}
	if err != nil {
		return fmt.Errorf("put new file in place: %w", failure.Classify(err))
	}
	if err := os.Rename(NewPath(p.Path), p.Path); err != nil {
		return fmt.Errorf("put new file in place: %w", failure.Classify(err))
	}
	return failure.Classify(p.syncDir())
}

// syncDir makes renames in the directory of the file durable.
func (p *Place) syncDir() error {
	dir, err := os.Open(filepath.Dir(p.Path))
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	err = p.Fsync(dir)
	if errors.Is(err, syscall.EINVAL) {
		// A file system without an fsync for directories.
		err = nil
	}
	if err = errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// SetAside renames the damaged file.
func (p *Place) SetAside(now time.Time) (string, error) {
	last := 0
	for _, aside := range p.asides() {
		last = max(last, aside.number)
	}
	name := fmt.Sprintf("%s%s%06d-%s", p.Path, damagedSuffix, last+1, now.UTC().Format(SetAsideTime))
	if err := os.Rename(p.Path, name); err != nil {
		return "", fmt.Errorf("set damaged file aside: %w", failure.Classify(err))
	}
	return name, nil
}

// aside is a damaged file that was set aside. Those of older releases have the number 0.
type aside struct {
	name   string
	number int
}

// asides returns the damaged files, the oldest first. The order is that of their numbers, for a clock may begin in 1970.
func (p *Place) asides() []aside {
	dir, prefix := filepath.Dir(p.Path), filepath.Base(p.Path)+damagedSuffix
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var asides []aside
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), prefix); ok && e.Type().IsRegular() {
			digits, _, _ := strings.Cut(rest, "-")
			number, err := strconv.Atoi(digits)
			if err != nil {
				number = 0
			}
			asides = append(asides, aside{filepath.Join(dir, e.Name()), number})
		}
	}
	slices.SortStableFunc(asides, func(a, b aside) int { return a.number - b.number })
	return asides
}

// RemoveOldAsides keeps the two newest. What cannot be removed stays.
func (p *Place) RemoveOldAsides() {
	asides := p.asides()
	for _, a := range asides[:max(0, len(asides)-keepAside)] {
		_ = os.Remove(a.name)
	}
}
