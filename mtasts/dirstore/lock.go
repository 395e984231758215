//go:build unix

package dirstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPause is how long a writer waits before it tries again for the lock of a
// subdirectory. Locks are held for the time of one write.
const lockPause = 2 * time.Millisecond

// locked runs f under the lock of a subdirectory, which it makes if need be. The
// lock keeps out other processes and other goroutines alike, since each has a
// file description of its own.
func (s *Store) locked(ctx context.Context, dir string, f func() error) error {
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		if err := syncDir(s.dir); err != nil {
			return fmt.Errorf("dirstore: %w", err)
		}
	case !errors.Is(err, os.ErrExist):
		return fmt.Errorf("dirstore: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("dirstore: %w", err)
	}
	defer lock.Close() // which releases the lock
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("dirstore: lock %s: %w", dir, err)
		}
		timer := time.NewTimer(lockPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("dirstore: lock %s: %w", dir, ctx.Err())
		}
	}
}
