//go:build unix

package spool

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// faults are what a disk answers.
var faults = []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EDQUOT}

// failAt makes the nth change fail, and all after it if lasting. It counts them.
func failAt(n int, lasting bool, fault error, count *int) func(op, name string) error {
	*count = 0
	return func(op, name string) error {
		*count++
		if *count == n || lasting && *count > n {
			return &os.PathError{Op: op, Path: name, Err: fault}
		}
		return nil
	}
}

// TestFaults makes every change of every operation fail, for once and for good: the
// error is told with its cause, nothing half-written stays, and the next call works.
func TestFaults(t *testing.T) {
	for _, lasting := range []bool{false, true} {
		for _, fault := range faults {
			t.Run(fmt.Sprint(fault, " lasting ", lasting), func(t *testing.T) {
				s, dir := newSpool(t)
				seen := 0
				for n := 1; ; n++ {
					s.disk.before = failAt(n, lasting, fault, &seen)
					_, err := add(s, sampleBody, &Envelope{Recipients: to("a@example.com")})
					s.disk.before = nil
					if seen < n {
						require.NoError(t, err)
						break
					}
					require.ErrorIs(t, err, fault, "change %d", n)
					ids, problems := all(s)
					require.Empty(t, problems, "change %d", n)
					if lasting && len(ids) == 1 {
						// The sync of the directory failed, and so did every try to take
						// the message back: it is there, and was not acknowledged.
						require.NoError(t, s.Remove(ids[0]))
					} else {
						require.Empty(t, ids, "change %d", n)
					}
					if !lasting {
						require.Empty(t, files(t, dir), "change %d", n)
						continue
					}
					require.NoError(t, s.Close())
					s = openSpool(t, dir, Options{})
					require.Empty(t, files(t, dir), "change %d, after a restart", n)
				}
				require.Greater(t, seen, 6)
				ids, _ := all(s)
				require.Len(t, ids, 1)
				id := ids[0]
				attempts := 0
				for n := 1; ; n++ {
					m, err := s.Get(id)
					require.NoError(t, err)
					s.disk.before = failAt(n, lasting, fault, &seen)
					count := func(e *Envelope) error { e.Recipients[0].Attempts = attempts + 1; return nil }
					err = m.Update(count)
					s.disk.before = nil
					if seen >= n {
						require.ErrorIs(t, err, fault, "change %d", n)
						require.Equal(t, attempts, m.Envelope().Recipients[0].Attempts)
						on, err := s.read(id)
						require.NoError(t, err)
						require.Contains(t, []int{attempts, attempts + 1}, on.Recipients[0].Attempts, "the old or the new one")
						require.NoError(t, m.Update(count), "the same call again")
					}
					attempts++
					m.Close()
					e, body, err := content(s, id)
					require.NoError(t, err)
					require.Equal(t, attempts, e.Recipients[0].Attempts)
					require.Equal(t, sampleBody, body)
					require.Len(t, files(t, dir), 2, "change %d", n)
					if seen < n {
						break
					}
				}
				for n := 1; n <= 3; n++ {
					m, err := s.Get(id)
					require.NoError(t, err)
					s.disk.before = failAt(n, lasting, fault, &seen)
					require.ErrorIs(t, m.Remove(), fault, "change %d", n)
					s.disk.before = nil
					require.NoError(t, m.Remove(), "the same call again")
					m.Close()
					require.Empty(t, files(t, dir))
					id = mustAdd(t, s)
				}
			})
		}
	}
}

// TestFaultWhileMovingAside: what cannot be moved stays, in one place or the other,
// and the error says both.
func TestFaultWhileMovingAside(t *testing.T) {
	for n := 1; ; n++ {
		s, dir := newSpool(t)
		id := mustAdd(t, s)
		require.NoError(t, os.Truncate(filepath.Join(dir, envelopeName(id)), 100))
		seen := 0
		s.disk.before = failAt(n, true, syscall.ENOSPC, &seen)
		_, err := s.Get(id)
		s.disk.before = nil
		damage := (*CorruptError)(nil)
		require.ErrorAs(t, err, &damage)
		require.Len(t, files(t, dir), 2, "change %d: nothing is deleted", n)
		if seen < n {
			require.NotEmpty(t, damage.Aside)
			break
		}
		require.Empty(t, damage.Aside)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "checksum")
		require.NoError(t, s.Close())
		s = openSpool(t, dir, Options{})
		_, _ = all(s)
		require.Len(t, files(t, dir), 2, "change %d: nor by a restart", n)
		require.Empty(t, files(t, filepath.Join(dir, queueDir)))
	}
}

func init() {
	// limit: the kernel itself refuses files above 64 KiB.
	childJobs["limit"] = func(dir, _ string) error {
		signal.Ignore(syscall.SIGXFSZ)
		s, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		low := old
		low.Cur = 64 << 10
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low); err != nil {
			return err
		}
		body := strings.Repeat("0123456789abcdef", 8<<10)
		_, err = add(s, body, &Envelope{Recipients: to("a@example.com")})
		fmt.Println(err)
		// An envelope beyond the limit, of a body below it.
		many := make([]string, MaxRecipients)
		for i := range many {
			many[i] = fmt.Sprintf("%d@%s.example", i, strings.Repeat("x", 50))
		}
		_, err = add(s, "small", &Envelope{Recipients: to(many...)})
		fmt.Println(err)
		ids, problems := all(s)
		fmt.Println(len(ids), len(problems))
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		_, err = add(s, body, &Envelope{Recipients: to(many...)})
		return err
	}
}

// TestFileSizeLimit: a write that the kernel cuts short and refuses.
func TestFileSizeLimit(t *testing.T) {
	dir := t.TempDir()
	cmd := child("limit", dir, "")
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	lines := strings.Split(string(out), "\n")
	require.Contains(t, lines[0], syscall.EFBIG.Error())
	require.Contains(t, lines[1], syscall.EFBIG.Error())
	require.Equal(t, "0 0", lines[2])
	require.Len(t, files(t, dir), 2, "only the one that was possible")
}
