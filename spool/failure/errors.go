package failure

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

// Errors that Open, Update and View return wrapped, for errors.Is.
var (
	// ErrLocked is returned by Open when another process, or another Spool of this one, has the file open.
	ErrLocked = errors.New("spool is open elsewhere")

	// ErrVersion is returned by Open when the file has a format that only a newer version can read. The file is left as
	// it is.
	ErrVersion = errors.New("spool has a newer format")

	// ErrNoSpace is returned when the disk or the quota is full, and when one transaction is larger than the room that
	// MaxBytes leaves. In the latter case old records were evicted, so that the same transaction fits when tried again.
	ErrNoSpace = errors.New("no space for the spool")

	// ErrReadOnly is returned when the file system is read-only.
	ErrReadOnly = errors.New("spool is read-only")

	// ErrPermission is returned when the process may not read or write the file, its lock file or their directory.
	ErrPermission = errors.New("no permission for the spool")

	// ErrDamaged is returned when a page of the open file turns out to be unreadable. The next Update or View rescues
	// what can be read and goes on with a new file.
	ErrDamaged = errors.New("spool is damaged")

	// ErrClosed is returned by Update and View after Close.
	ErrClosed = errors.New("spool is closed")
)

// Errors that the methods of Tx and Queue return wrapped.
var (
	// ErrTooLarge is returned when a key, a body, a name or a value is outside its documented limits.
	ErrTooLarge = errors.New("outside the spool's limits")

	// ErrNotFound is returned when no record or dead letter has the key.
	ErrNotFound = errors.New("not in the spool")

	// ErrWaiting is returned by Revive when a record of the same key waits in the queue.
	ErrWaiting = errors.New("a record of the same key waits")

	// ErrNotWritable is returned by a change inside View.
	ErrNotWritable = errors.New("transaction of View cannot change the spool")
)

// Classify wraps err with the sentinel that tells the caller what to do.
func Classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoSpace), errors.Is(err, ErrReadOnly), errors.Is(err, ErrPermission), errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return ErrClosed
	case errors.Is(err, berrors.ErrMaxSizeReached), isErrno(err, syscall.ENOSPC), isErrno(err, syscall.EDQUOT), isErrno(err, syscall.EFBIG):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case isErrno(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case isErrno(err, syscall.EACCES), isErrno(err, syscall.EPERM):
		return fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return err
}

// isErrno also compares the text, because bbolt 1.5.0 formats the errors of truncate and sync with %s when it grows its
// file (db.go, grow), which drops the chain.
func isErrno(err error, errno syscall.Errno) bool {
	return errors.Is(err, errno) || strings.HasSuffix(err.Error(), ": "+errno.Error())
}
