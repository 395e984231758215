//go:build unix

package certs

import (
	"io/fs"
	"syscall"
)

// inode is another number when a file was replaced.
func inode(info fs.FileInfo) uint64 {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Ino)
	}
	return 0
}

// exposed reports whether group or others have any access.
func exposed(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }
