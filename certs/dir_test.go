//go:build unix

package certs

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// TestStorage is what both backings promise.
func TestStorage(t *testing.T) {
	overBackings(t, func(t *testing.T, s Storage) {
		absent := func(err error) { t.Helper(); require.ErrorIs(t, err, fs.ErrNotExist) }
		_, err := s.ReadFile("a/b")
		absent(err)
		_, err = s.Stat("a/b")
		absent(err)
		absent(s.Link("a/b", "a/c"))
		absent(s.Rename("a/b", "a/c"))
		absent(s.Remove("a/b"))
		absent(s.RemoveFolder("a"))
		names, err := s.ReadDir("a")
		require.NoError(t, err)
		require.Empty(t, names)

		data := []byte("one")
		require.NoError(t, s.WriteFile("a/x/f", data))
		data[0] = 'X'
		got, err := s.ReadFile("a/x/f")
		require.NoError(t, err)
		require.Equal(t, "one", string(got))
		got[0] = 'Y'
		got, err = s.ReadFile("a/x/f")
		require.NoError(t, err)
		require.Equal(t, "one", string(got))
		first, err := s.Stat("a/x/f")
		require.NoError(t, err)
		require.Equal(t, int64(3), first.Size)
		require.False(t, first.Exposed)
		require.NoError(t, s.WriteFile("a/x/f", []byte("two")))
		second, err := s.Stat("a/x/f")
		require.NoError(t, err)
		require.NotEqual(t, first, second)

		require.NoError(t, s.Link("a/x/f", "a/x/g"))
		require.NoError(t, s.Link("a/x/f", "a/x/g"), "once more")
		require.NoError(t, s.WriteFile("a/x/f", []byte("three")))
		got, err = s.ReadFile("a/x/g")
		require.NoError(t, err)
		require.Equal(t, "two", string(got), "a file that is replaced changes under no other name")
		require.NoError(t, s.Rename("a/x/g", "a/x/f"))
		names, err = s.ReadDir("a/x")
		require.NoError(t, err)
		require.Equal(t, []string{"f"}, names)
		require.NoError(t, s.WriteFile("a/y/h", nil))
		require.Error(t, s.Rename("a/x", "a/y"), "a folder with files is not replaced")
		require.NoError(t, s.Rename("a/x", "a/z"))
		names, err = s.ReadDir("a")
		require.NoError(t, err)
		require.Equal(t, []string{"y", "z"}, names)
		got, err = s.ReadFile("a/z/f")
		require.NoError(t, err)
		require.Equal(t, "two", string(got))
		require.NoError(t, s.Remove("a/z/f"))
		require.NoError(t, s.RemoveFolder("a/y"))
		_, err = s.ReadFile("a/y/h")
		absent(err)
	})
}

// Paths that lead out of the directory, by themselves or by a symbolic link, lead
// nowhere.
func TestDirectoryIsConfined(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	require.NoError(t, os.Mkdir(outside, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "current.pem"), storePair(t, testpki.SelfSigned([]string{"evil.example"})), 0o600))
	d := openDirectory(t, filepath.Join(base, "store"), DirectoryOptions{})
	for _, path := range []string{"../outside/current.pem", "/etc/passwd", filepath.Join(outside, "current.pem"), "entries/../../outside/current.pem"} {
		_, err := d.ReadFile(path)
		require.Error(t, err, path)
		require.Error(t, d.WriteFile(path, []byte("x")), path)
		require.Error(t, d.Remove(path), path)
	}
	require.NoError(t, d.WriteFile("entries/good/x", nil))
	require.NoError(t, os.Symlink(outside, filepath.Join(base, "store", "entries", "evil.example")))
	_, err := OpenStore(StoreOptions{Storage: d})
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrNotExist)
	require.FileExists(t, filepath.Join(outside, "current.pem"))
}

func TestDirectoryModes(t *testing.T) {
	for _, umask := range []int{0, 0o277} {
		dir := filepath.Join(t.TempDir(), "store")
		former := syscall.Umask(umask)
		d, err := OpenDirectory(dir, DirectoryOptions{})
		if err == nil {
			t.Cleanup(func() { d.Close() })
			var s *Store
			if s, err = OpenStore(StoreOptions{Storage: d}); err == nil {
				_, err = s.CreateSelfSigned("a.example", Form{CommonName: "a.example", Days: 1})
			}
			if err == nil {
				_, err = s.Assign("https", "a.example")
			}
		}
		syscall.Umask(former)
		require.NoError(t, err)
		require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := e.Info()
			require.NoError(t, err)
			want := fs.FileMode(0o600)
			if e.IsDir() {
				want = 0o700
			}
			if e.Name() != lockFile {
				require.Equal(t, want, info.Mode().Perm(), path)
			}
			return nil
		}))
	}
}

func TestKeyPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := openDirectory(t, dir, DirectoryOptions{})
	s := openStore(t, StoreOptions{Storage: d})
	created(t, s, "a.example")
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620} {
		require.NoError(t, os.Chmod(filepath.Join(dir, "entries/a.example/current.pem"), mode))
		s := openStore(t, StoreOptions{Storage: d})
		require.Contains(t, codes(detail(t, s, "a.example").All), FindingKeyPermissions)
		_, err := OpenStore(StoreOptions{Storage: d, StrictPermissions: true})
		require.ErrorIs(t, err, ErrExposed)
		require.ErrorContains(t, err, "entries/a.example/current.pem")
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "entries/a.example/current.pem"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(dir, "entries/a.example/meta.json"), 0o644))
	openStore(t, StoreOptions{Storage: d, StrictPermissions: true}) // the notes are no secret
}

func TestDirectoryVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := openDirectory(t, dir, DirectoryOptions{})
	require.NoError(t, d.Close())
	text, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	require.NoError(t, err)
	require.Equal(t, "smtpsec-certs 1\n", string(text))
	for _, readOnly := range []bool{false, true} {
		o := DirectoryOptions{ReadOnly: readOnly}
		for _, broken := range []string{"", "other 1\n", "smtpsec-certs\n", "smtpsec-certs 0\n", "smtpsec-certs -1"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "VERSION"), []byte(broken), 0o600))
			_, err := OpenDirectory(dir, o)
			require.ErrorIs(t, err, ErrMalformed, broken)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "VERSION"), []byte("smtpsec-certs 2\n"), 0o600))
		_, err := OpenDirectory(dir, o)
		var unsupported *UnsupportedError
		require.ErrorAs(t, err, &unsupported)
	}
	// A directory of somebody else does not become a store by a slip of the finger.
	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "passwd"), nil, 0o600))
	_, err = OpenDirectory(other, DirectoryOptions{})
	require.ErrorIs(t, err, ErrMalformed)
	_, err = OpenDirectory(t.TempDir(), DirectoryOptions{ReadOnly: true})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = OpenDirectory(filepath.Join(other, "passwd"), DirectoryOptions{})
	require.Error(t, err)
	openDirectory(t, t.TempDir(), DirectoryOptions{}) // an empty one does
}

func TestDirectoryRemovesLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := openDirectory(t, dir, DirectoryOptions{})
	created(t, openStore(t, StoreOptions{Storage: d}), "a.example")
	require.NoError(t, d.Close())
	for _, path := range []string{".tmp-1", "entries/.tmp-2", "entries/a.example/.tmp-3", "ca/.tmp-4"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), nil, 0o600))
	}
	removed := filepath.Join(dir, "entries/.tmp-removed")
	require.NoError(t, os.Mkdir(removed, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(removed, "current.pem"), nil, 0o600))
	reader := openDirectory(t, dir, DirectoryOptions{ReadOnly: true})
	require.Len(t, crashLeftovers(t, dir), 5, "a reader removes nothing")
	names, err := reader.ReadDir("entries")
	require.NoError(t, err)
	require.Equal(t, []string{"a.example"}, names, "and shows nothing of it")
	openDirectory(t, dir, DirectoryOptions{})
	require.Empty(t, crashLeftovers(t, dir))
}

func TestDirectoryLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := openDirectory(t, dir, DirectoryOptions{})
	s := openStore(t, StoreOptions{Storage: d})
	created(t, s, "a.example")
	_, err := OpenDirectory(dir, DirectoryOptions{})
	require.ErrorIs(t, err, ErrLocked)
	reader := openDirectory(t, dir, DirectoryOptions{ReadOnly: true})
	r := openStore(t, StoreOptions{Storage: reader})
	_, err = r.CreateSelfSigned("b.example", Form{CommonName: "b.example", Days: 1})
	require.ErrorIs(t, err, fs.ErrPermission)
	_, err = r.CSR("a.example")
	require.NoError(t, err, "a request is given, though not kept")
	require.ErrorIs(t, r.Remove("a.example", true), fs.ErrPermission)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close(), "twice")
	openDirectory(t, dir, DirectoryOptions{})
	_, err = s.CreateSelfSigned("c.example", Form{CommonName: "c.example", Days: 1})
	require.ErrorIs(t, err, ErrNotOpen)
	detail(t, s, "a.example") // what was loaded is still there
}

func TestZeroDirectory(t *testing.T) {
	for _, d := range []*Directory{{}, nil} {
		_, err := d.ReadFile("x")
		require.ErrorIs(t, err, ErrNotOpen)
		require.ErrorIs(t, d.WriteFile("x", nil), ErrNotOpen)
		_, err = d.ReadDir("x")
		require.ErrorIs(t, err, ErrNotOpen)
	}
}

// Only regular files are read, and none that never ends.
func TestDirectoryReadsRegularFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := openDirectory(t, dir, DirectoryOptions{})
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	_, err := d.ReadFile("pipe")
	require.ErrorContains(t, err, "regular")
	_, err = d.ReadFile(".")
	require.ErrorContains(t, err, "regular")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "huge"), make([]byte, MaxListInput+1), 0o600))
	_, err = d.ReadFile("huge")
	require.ErrorIs(t, err, ErrTooLarge)
}

// One store, many goroutines: writers are serialised and lose nothing; readers see
// whole states.
func TestConcurrentWriters(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		names := []string{"a.example", "b.example", "c.example", "d.example"}
		var all sync.WaitGroup
		for _, name := range names {
			all.Go(func() {
				if _, err := s.CreateSelfSigned(name, Form{CommonName: name, Days: 1}); err != nil {
					t.Error(err)
				}
				if _, err := s.Assign("role "+name, name); err != nil {
					t.Error(err)
				}
				if _, err := s.List(); err != nil {
					t.Error(err)
				}
				if _, err := s.CSR(name); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		again := openStore(t, StoreOptions{Storage: storage})
		for _, name := range names {
			require.NoError(t, again.Source("role "+name).Ready())
			require.Equal(t, detail(t, s, name).SHA256, detail(t, again, name).SHA256)
		}
	})
}

// A symbolic link that switches a whole store is followed by a reader, once it
// leads to a store.
func TestWatchSwitchedDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := t.TempDir()
		var sums [][32]byte
		for _, name := range []string{"1", "2"} {
			d := openDirectory(t, filepath.Join(base, name), DirectoryOptions{})
			s := openStore(t, StoreOptions{Storage: d})
			created(t, s, "a.example")
			_, err := s.Assign("https", "a.example")
			require.NoError(t, err)
			sums = append(sums, detail(t, s, "a.example").SHA256)
		}
		link := filepath.Join(base, "live")
		to := func(name string) {
			require.NoError(t, os.Symlink(name, link+".new"))
			require.NoError(t, os.Rename(link+".new", link))
		}
		to("1")
		events := &storeEvents{}
		s := openStore(t, StoreOptions{Storage: openDirectory(t, link, DirectoryOptions{ReadOnly: true}), Events: events.add, ExpiryDays: []int{}})
		polls := watched(t, s)
		to("2")
		polls(2)
		require.Equal(t, sums[1], detail(t, s, "a.example").SHA256)
		require.Contains(t, events.kinds(), EventReloaded)
		require.NoError(t, os.Mkdir(filepath.Join(base, "empty"), 0o700))
		to("empty")
		polls(5)
		require.Equal(t, []EventKind{EventReloadFailed}, events.kinds())
		require.NoError(t, s.Source("https").Ready())
		to("1")
		polls(2)
		require.Equal(t, sums[0], detail(t, s, "a.example").SHA256)
	})
}
