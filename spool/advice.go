package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

// headBytes is where the pages lie that most commits write: the meta pages are the first two.
const headBytes = 256 << 10

// readAhead has the kernel read the file in one go, in units of one page: a check follows the tree, whose pages lie in any order, and a card
// takes many times as long for one page after the other.
func readAhead(file *os.File, size int64) {
	_ = unix.Fadvise(int(file.Fd()), 0, size, unix.FADV_WILLNEED)
}

// readByPages has the kernel keep the file in units of one page, and forget the beginning of it, which may lie in larger ones: bbolt writes the
// first four pages in one piece, and a check reads the file ahead. Linux 6.16 and later count all of a unit as written when one
// page of it is. That nothing came of the advice costs bytes and is no error.
func readByPages(file *os.File) {
	_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_RANDOM)
	_ = unix.Fadvise(int(file.Fd()), 0, headBytes, unix.FADV_DONTNEED)
}
