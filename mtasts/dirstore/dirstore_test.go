//go:build unix

package dirstore

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/stretchr/testify/require"
)

// The children of the tests are this program with one of these set.
const (
	childDir   = "DIRSTORE_TEST_CHILD_DIR"
	childCount = "DIRSTORE_TEST_CHILD_COUNT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		count, _ := strconv.Atoi(os.Getenv(childCount))
		child(dir, count)
		return
	}
	os.Exit(m.Run())
}

// child adds to a counter in the entry of one domain, so often or for ever.
func child(dir string, count int) {
	s, err := Open(dir, Options{})
	for i := 0; err == nil && (count == 0 || i < count); i++ {
		err = add(s, "example.com")
		fmt.Println(i)
	}
	if err != nil {
		fmt.Println("child:", err)
		os.Exit(1)
	}
}

// add increments the counter with compare-and-swap.
func add(s *Store, domain string) error {
	for {
		n, version := 0, mtasts.Version(0)
		e, err := s.Get(context.Background(), domain)
		switch {
		case err == nil:
			n, version = counter(e), e.Version()
		case !errors.Is(err, mtasts.ErrNotFound):
			return err
		}
		_, err = s.Put(context.Background(), newEntry(domain, n+1), version)
		if !errors.Is(err, mtasts.ErrStoreConflict) {
			return err
		}
	}
}

// newEntry makes an entry with a policy and a number in it.
func newEntry(domain string, n int) *mtasts.Entry {
	body := "version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800\n" + strings.Repeat("# filler\n", n%500)
	header := fmt.Sprintf("mtasts-entry 1\ndomain %s\nversion 0\napplied-id 1\nfetched 2030-01-01T00:00:00Z\nexpires 2030-01-08T00:00:00Z\nseen-id n%d\nbody %d\n", domain, n, len(body))
	sum := sha256.Sum256([]byte(header + body))
	e := new(mtasts.Entry)
	if err := e.UnmarshalText(fmt.Appendf(nil, "%ssha256 %x\n\n%s", header, sum, body)); err != nil {
		panic(err)
	}
	return e
}

func counter(e *mtasts.Entry) int {
	text, _ := e.MarshalText()
	_, rest, _ := strings.Cut(string(text), "\nseen-id n")
	digits, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(digits)
	if err != nil {
		panic(err)
	}
	return n
}

func open(t *testing.T, dir string) (s *Store, reported *[]string) {
	t.Helper()
	reported = new([]string)
	s, err := Open(dir, Options{Report: func(path string, err error) {
		*reported = append(*reported, fmt.Sprintf("%s: %v", filepath.Base(path), errors.Is(err, mtasts.ErrCorrupt)))
	}})
	require.NoError(t, err)
	return s, reported
}

func text(t *testing.T, e *mtasts.Entry) string {
	t.Helper()
	b, err := e.MarshalText()
	require.NoError(t, err)
	return string(b)
}

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, reported := open(t, dir)
	ctx := t.Context()
	_, err := s.Get(ctx, "example.com")
	require.ErrorIs(t, err, mtasts.ErrNotFound)
	_, err = s.Put(ctx, newEntry("example.com", 1), 1)
	require.ErrorIs(t, err, mtasts.ErrStoreConflict, "nothing to replace")
	v, err := s.Put(ctx, newEntry("example.com", 1), 0)
	require.NoError(t, err)
	require.NotZero(t, v)
	_, err = s.Put(ctx, newEntry("example.com", 2), 0)
	require.ErrorIs(t, err, mtasts.ErrStoreConflict, "exists")
	w, err := s.Put(ctx, newEntry("example.com", 2), v)
	require.NoError(t, err)
	require.Equal(t, v+1, w)
	again, _ := open(t, dir)
	e, err := again.Get(ctx, "example.com")
	require.NoError(t, err)
	require.Equal(t, text(t, newEntry("example.com", 2).WithVersion(w)), text(t, e))
	require.ErrorIs(t, s.Delete(ctx, "example.com", v), mtasts.ErrStoreConflict)
	require.NoError(t, s.Delete(ctx, "example.com", w))
	require.NoError(t, s.Delete(ctx, "example.com", w), "nothing to do")
	_, err = s.Get(ctx, "example.com")
	require.ErrorIs(t, err, mtasts.ErrNotFound)
	require.Empty(t, *reported)
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, _ := open(t, dir)
	_, err := s.Put(t.Context(), newEntry("example.com", 1), 0)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, info.Mode().Perm(), path)
		return nil
	}))
}

func TestBadNamesMakeNoFile(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	for _, name := range []string{"", ".", "..", "../x", "a/b", ".hidden", "A.example", "a_b", "a\x00b", "a b"} {
		_, err := s.Get(t.Context(), name)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, mtasts.ErrNotFound, name)
		require.Error(t, s.Delete(t.Context(), name, 0), name)
	}
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
}

func TestAll(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	long := strings.Repeat("a.", 100) + "example"
	want := []string{"a.corrupt", "b.example", "c.example", long}
	for _, d := range want {
		_, err := s.Put(t.Context(), newEntry(d, 1), 0)
		require.NoError(t, err)
	}
	e, err := s.Get(t.Context(), long)
	require.NoError(t, err)
	require.Equal(t, long, e.Domain())
	path, err := s.path(long)
	require.NoError(t, err)
	require.Len(t, filepath.Base(path), 64)

	damaged, err := s.path("d.example")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(damaged), 0o700))
	require.NoError(t, os.WriteFile(damaged, []byte("rubbish"), 0o600))
	var got []string
	failed := 0
	for e, err := range s.All(t.Context()) {
		if err != nil {
			require.ErrorIs(t, err, mtasts.ErrCorrupt)
			failed++
			continue
		}
		got = append(got, e.Domain())
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(t, want, got)
	require.Equal(t, 1, failed)
	for range s.All(t.Context()) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.All(ctx) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

// TestTruncation: a file that lacks its end is put aside and read as absent,
// wherever it was cut, and can be written anew.
func TestTruncation(t *testing.T) {
	dir := t.TempDir()
	s, reported := open(t, dir)
	whole := text(t, newEntry("example.com", 1).WithVersion(1))
	path, err := s.path("example.com")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	for n := range len(whole) {
		require.NoError(t, os.WriteFile(path, []byte(whole[:n]), 0o600))
		_, err := s.Get(t.Context(), "example.com")
		require.ErrorIs(t, err, mtasts.ErrCorrupt, "cut at %d", n)
		_, err = s.Get(t.Context(), "example.com")
		require.ErrorIs(t, err, mtasts.ErrNotFound, "cut at %d: put aside", n)
	}
	require.Len(t, *reported, len(whole))
	require.Equal(t, ".corrupt-example.com: true", (*reported)[0])
	require.NoError(t, os.WriteFile(path, []byte("rubbish"), 0o600))
	_, err = s.Put(t.Context(), newEntry("example.com", 1), 0)
	require.NoError(t, err, "what is put aside is no version")
}

func TestEntryOfAnotherDomain(t *testing.T) {
	s, _ := open(t, t.TempDir())
	_, err := s.Put(t.Context(), newEntry("a.example", 1), 0)
	require.NoError(t, err)
	from, _ := s.path("a.example")
	to, _ := s.path("b.example")
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o700))
	require.NoError(t, os.Rename(from, to))
	_, err = s.Get(t.Context(), "b.example")
	require.ErrorIs(t, err, mtasts.ErrCorrupt)
}

func TestHugeFile(t *testing.T) {
	s, _ := open(t, t.TempDir())
	path, _ := s.path("a.example")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, make([]byte, maxFile+1), 0o600))
	_, err := s.Get(t.Context(), "a.example")
	require.ErrorIs(t, err, mtasts.ErrCorrupt)
}

// TestOtherRelease: an entry of a later release is left alone and read as absent.
func TestOtherRelease(t *testing.T) {
	s, reported := open(t, t.TempDir())
	path, _ := s.path("a.example")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	const later = "mtasts-entry 2\nanything else\n"
	require.NoError(t, os.WriteFile(path, []byte(later), 0o600))
	_, err := s.Get(t.Context(), "a.example")
	require.ErrorIs(t, err, mtasts.ErrNotFound)
	require.ErrorIs(t, err, mtasts.ErrSchema)
	_, err = s.Put(t.Context(), newEntry("a.example", 1), 0)
	require.ErrorIs(t, err, mtasts.ErrSchema)
	require.NotErrorIs(t, err, mtasts.ErrStoreConflict)
	for e, err := range s.All(t.Context()) {
		t.Error(e, err)
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, later, string(got))
	require.Empty(t, *reported)
}

func TestOpenRemovesLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd[name]*")
	s, _ := open(t, dir)
	_, err := s.Put(t.Context(), newEntry("a.example", 1), 0)
	require.NoError(t, err)
	path, _ := s.path("a.example")
	left := filepath.Join(filepath.Dir(path), tempPrefix+"123")
	require.NoError(t, os.WriteFile(left, []byte("half"), 0o600))
	s, _ = open(t, dir)
	_, err = os.Stat(left)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.Get(t.Context(), "a.example")
	require.NoError(t, err)
}

func TestLockEndsWithContext(t *testing.T) {
	s, _ := open(t, t.TempDir())
	path, _ := s.path("a.example")
	dir := filepath.Dir(path)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Put(ctx, newEntry("a.example", 1), 0)
	require.ErrorIs(t, err, context.Canceled)
}

func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Open(file, Options{})
	require.Error(t, err)
	s := &Store{dir: file, report: func(string, error) {}}
	_, err = s.Put(t.Context(), newEntry("a.example", 1), 0)
	require.Error(t, err)
	_, err = s.Get(t.Context(), "a.example")
	require.Error(t, err)
	require.NotErrorIs(t, err, mtasts.ErrNotFound, "not being able to look is no absence")
}

func TestParallelWritersLoseNothing(t *testing.T) {
	s, _ := open(t, t.TempDir())
	const writers, each = 8, 10
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				if err := add(s, "example.com"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	e, err := s.Get(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, writers*each, counter(e))
}

func startChild(t *testing.T, dir string, count int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childCount+"="+strconv.Itoa(count))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

func TestTwoProcessesLoseNothing(t *testing.T) {
	dir := t.TempDir()
	const each = 40
	var running []*exec.Cmd
	for range 2 {
		cmd, lines := startChild(t, dir, each)
		go func() {
			for lines.Scan() {
			}
		}()
		running = append(running, cmd)
	}
	for _, cmd := range running {
		require.NoError(t, cmd.Wait())
	}
	s, _ := open(t, dir)
	e, err := s.Get(t.Context(), "example.com")
	require.NoError(t, err)
	require.Equal(t, 2*each, counter(e))
}

// TestKill kills a writing process again and again: the file is the old or the new
// entry every time, and its version never goes back.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 9))
	var last mtasts.Version
	for round := range killRounds {
		cmd, lines := startChild(t, dir, 0)
		for range 1 + random.IntN(3) {
			require.True(t, lines.Scan(), "round %d", round)
			require.NotContains(t, lines.Text(), "child:")
		}
		for range random.IntN(3000) {
			runtime.Gosched()
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed
		s, reported := open(t, dir)
		e, err := s.Get(t.Context(), "example.com")
		require.NoError(t, err, "round %d", round)
		require.Empty(t, *reported, "round %d", round)
		require.Greater(t, e.Version(), last, "round %d", round)
		require.Equal(t, text(t, newEntry("example.com", counter(e)).WithVersion(e.Version())), text(t, e))
		last = e.Version()
	}
}
