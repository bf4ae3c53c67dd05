package config

import (
	"io/fs"
	"syscall"
)

// inode returns the number of the file, which changes when a file is replaced by another of the same size and time.
func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
