//go:build !unix

package certs

import "io/fs"

// inode is 0 where files have no such number.
func inode(fs.FileInfo) uint64 { return 0 }

// exposed is unknown where the mode does not tell who has access.
func exposed(fs.FileInfo) bool { return false }
