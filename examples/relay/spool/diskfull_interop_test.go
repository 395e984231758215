//go:build interop && linux

package spool

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func init() {
	// full: in a mount namespace of its own, on a file system of one MiB.
	childJobs["full"] = func(dir, _ string) error {
		if err := syscall.Mount("spool", dir, "tmpfs", 0, "size=1m"); err != nil {
			return err
		}
		s, err := Open(dir, Options{Report: func(err error) { fmt.Println("found:", err) }})
		if err != nil {
			return err
		}
		defer s.Close()
		body := strings.Repeat("0123456789abcdef", 2<<10)
		for ; err == nil; _, err = add(s, body, &Envelope{Recipients: to("a@example.com")}) {
		}
		fmt.Println("create:", errors.Is(err, syscall.ENOSPC))
		for ; err == nil || errors.Is(err, syscall.ENOSPC) && len(body) > 1; _, err = add(s, body, &Envelope{Recipients: to("a@example.com")}) {
			if err != nil {
				body = body[:len(body)/2]
			}
		}
		ids, problems := all(s)
		fmt.Println("listed:", len(ids) > 10, len(problems))

		err = s.Hold(ids[0])
		fmt.Println("update:", errors.Is(err, syscall.ENOSPC))
		e, _, err := content(s, ids[0])
		fmt.Println("unchanged:", e.Recipients[0].State, err)
		if err := s.Remove(ids[1]); err != nil {
			return fmt.Errorf("remove from a full disk: %w", err)
		}
		if err := s.Hold(ids[0]); err != nil {
			return fmt.Errorf("the same call again: %w", err)
		}

		if err := syscall.Mount("spool", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err == nil {
			return errors.New("remounted beside the open lock file")
		}
		s.Close()
		if err := syscall.Mount("spool", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			return err
		}
		_, err = Open(dir, Options{})
		fmt.Println("unwritable:", errors.Is(err, syscall.EROFS))
		s, err = Attach(dir)
		if err != nil {
			return err
		}
		again, problems := all(s)
		fmt.Println("attached:", len(again) == len(ids)-1, len(problems))
		fmt.Println("hold:", errors.Is(s.Hold(again[0]), syscall.EROFS))
		return s.Close()
	}
}

// TestFullDisk fills a real file system to its last block, and makes it read-only.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("mounting a small file system needs root")
		}
		t.Skip("mounting a small file system needs root")
	}
	cmd := child("full", t.TempDir(), "")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "create: true\nlisted: true 0\nupdate: true\nunchanged: queued <nil>\nunwritable: true\nattached: true 0\nhold: true\n", string(out))
}
