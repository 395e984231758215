//go:build linux || darwin || freebsd

package spool

import (
	"os"
	"syscall"
)

// free returns the octets that are free for unprivileged users on the file system
// of an open file.
func free(f *os.File) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return uint64(max(0, st.Bavail)) * uint64(st.Bsize), nil
}
