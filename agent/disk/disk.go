// Package disk judges why the spool cannot be opened or written. It promises words that say what an operator can do.
package disk

import (
	"errors"
	"syscall"

	"github.com/edge-eventer/edge-eventer/spool"
)

// Fault says that the disk or its permissions keep the spool from writing, which passes, and which no restart of the agent changes.
func Fault(err error) bool {
	return errors.Is(err, spool.ErrReadOnly) || errors.Is(err, spool.ErrPermission) || full(err)
}

// full says that the file system has no room; the spool's own bound is another matter.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Advice says what an operator can do.
func Advice(err error) string {
	switch {
	case errors.Is(err, spool.ErrNoSpace) && !full(err):
		return "the spool has no room for the next events and makes some: the watch waits"
	case errors.Is(err, spool.ErrNoSpace):
		return "the disk of the spool is full: no event is taken until there is room, the watch waits"
	case errors.Is(err, spool.ErrPermission):
		return "the spool cannot be opened or written, permission is denied: no event is taken, the watch waits; the file, its lock file and its " +
			"directory must belong to the agent's user"
	case errors.Is(err, spool.ErrReadOnly):
		return "the spool cannot be written, its file system is read-only: no event is taken, the watch waits"
	}
	return "the spool refuses events, the watch waits"
}
