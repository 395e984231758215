//go:build unix && !linux && !darwin && !freebsd

package spool

import (
	"errors"
	"os"
)

// free returns errors.ErrUnsupported: package syscall cannot ask here.
func free(*os.File) (uint64, error) { return 0, errors.ErrUnsupported }
