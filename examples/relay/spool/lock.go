//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked: another process is the runner of the spool. The text of the error
// names its process id.
var ErrLocked = errors.New("spool: another process runs this spool")

// flock takes the lock of an open file, with LOCK_NB at once or not at all. It keeps
// out goroutines and processes alike, and ends with the descriptor, so also with
// SIGKILL.
func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// lockRunner takes the lock of the runner and writes the process id into its file,
// for the one who is refused to read.
func lockRunner(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		err = ErrLocked
		if pid, bad := strconv.Atoi(strings.TrimSpace(string(holder))); bad == nil {
			err = fmt.Errorf("%w: process %d", ErrLocked, pid)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	// On a full disk there is no process id, and the lock holds all the same.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
