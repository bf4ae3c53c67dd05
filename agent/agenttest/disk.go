package agenttest

import (
	"os"
	"syscall"
	"testing"
)

// Disk is the disk of a spool, which can be full: then /dev/full is in the place of the file's descriptor.
type Disk struct {
	T     *testing.T
	file  *os.File
	saved int
}

// Open is for spool.Options.OpenFile.
func (d *Disk) Open(name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err == nil && flag&os.O_RDWR != 0 {
		d.file = f
	}
	return f, err
}

// Fill makes the disk full.
func (d *Disk) Fill() {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		d.T.Error(err)
		return
	}
	defer func() { _ = full.Close() }()
	if d.saved, err = syscall.Dup(int(d.file.Fd())); err != nil {
		d.T.Error(err)
		return
	}
	if err := syscall.Dup3(int(full.Fd()), int(d.file.Fd()), syscall.O_CLOEXEC); err != nil {
		d.T.Error(err)
	}
}

// Empty makes room on it again.
func (d *Disk) Empty() {
	if err := syscall.Dup3(d.saved, int(d.file.Fd()), syscall.O_CLOEXEC); err != nil {
		d.T.Error(err)
	}
	_ = syscall.Close(d.saved)
}
