//go:build unix

package certs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// accidentStore is a store in a directory, and where that is.
func accidentStore(t *testing.T, o StoreOptions) (*Store, *Directory, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store")
	d := openDirectory(t, path, DirectoryOptions{})
	o.Storage = d
	return openStore(t, o), d, path
}

// An operator restores an entry by hand. Nothing that is called before the next
// poll takes its folder for empty and the key in it for a leftover.
func TestRestoredEntryIsNotOverwritten(t *testing.T) {
	s, _, path := accidentStore(t, StoreOptions{})
	created(t, s, "a.example")
	created(t, s, "b.example")
	restored := filepath.Join(path, "entries", "restored.example")
	require.NoError(t, os.CopyFS(restored, os.DirFS(filepath.Join(path, "entries", "a.example"))))
	key, err := os.ReadFile(filepath.Join(restored, "current.pem"))
	require.NoError(t, err)
	_, err = s.CreateSelfSigned("restored.example", Form{CommonName: "restored.example", Days: 1})
	require.ErrorIs(t, err, ErrExists)
	_, err = s.ImportPEM("Restored.example", storePair(t, testpki.SelfSigned([]string{"x.example"})), ImportOptions{})
	require.ErrorIs(t, err, ErrExists)
	require.ErrorIs(t, s.Rename("b.example", "restored.example"), ErrExists)
	now, err := os.ReadFile(filepath.Join(restored, "current.pem"))
	require.NoError(t, err)
	require.Equal(t, key, now)
	require.NoError(t, s.Rename("b.example", "c.example"), "the refused one left it where it was")
}

// A file between the folders of the entries is somebody else's, whatever its name.
func TestFileBesideTheEntries(t *testing.T) {
	s, d, path := accidentStore(t, StoreOptions{})
	created(t, s, "a.example")
	require.NoError(t, os.WriteFile(filepath.Join(path, "entries", "notes.txt"), []byte("to do"), 0o600))
	s = openStore(t, StoreOptions{Storage: d})
	list, err := s.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	synctest.Test(t, func(t *testing.T) {
		events := &storeEvents{}
		s := openStore(t, StoreOptions{Storage: d, Events: events.add, ExpiryDays: []int{}})
		watched(t, s)(5)
		require.Empty(t, events.take())
	})
}

// The roles are gone, as when somebody has cleared up: what they said stays in
// service, and nobody's certificate is taken away.
func TestVanishedRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &storeEvents{}
		s, _, path := accidentStore(t, StoreOptions{Events: events.add, ExpiryDays: []int{}})
		created(t, s, "a.example")
		_, err := s.Assign("https", "a.example")
		require.NoError(t, err)
		polls := watched(t, s)
		events.take()
		roles, err := os.ReadFile(filepath.Join(path, "roles.json"))
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(path, "roles.json")))
		polls(6)
		require.NoError(t, s.Source("https").Ready())
		require.Equal(t, []EventKind{EventReloadFailed}, events.kinds())
		require.NoError(t, os.WriteFile(filepath.Join(path, "roles.json"), roles, 0o600))
		polls(3)
		require.NoError(t, s.Source("https").Ready())
		require.NoError(t, s.Unassign("https"))
		require.NoError(t, os.Remove(filepath.Join(path, "roles.json")))
		events.take()
		polls(6)
		require.Equal(t, []EventKind{EventReloaded}, events.kinds(), "without any role nothing is lost")
	})
}

// The settings or the custom list are gone. A list that was disabled stays so, and
// a root that the operator has limited or removed is not trusted again.
func TestVanishedTrust(t *testing.T) {
	system := trustSourceOf(testpki.NewRoot("System"))
	custom := testpki.NewRoot("Custom")
	open := func(t *testing.T) (*TrustStore, string) {
		path := filepath.Join(t.TempDir(), "store")
		trust, err := NewTrustStore(TrustOptions{System: system, Storage: Lists(openDirectory(t, path, DirectoryOptions{}))})
		require.NoError(t, err)
		_, err = trust.AddCertificates(custom.Cert)
		require.NoError(t, err)
		require.NoError(t, trust.Enable(SystemCAs, false))
		return trust, path
	}
	trust, path := open(t)
	require.NoError(t, os.Remove(filepath.Join(path, "ca", "settings.json")))
	_, err := trust.Reload()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.False(t, trust.Enabled(SystemCAs))
	require.NoError(t, trust.Enable(CustomCAs, false), "which stores them again")
	require.False(t, trust.Enabled(SystemCAs))
	_, err = trust.Reload()
	require.NoError(t, err)

	trust, path = open(t)
	require.NoError(t, os.Remove(filepath.Join(path, "ca", "custom.txt")))
	_, err = trust.Reload()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.True(t, trust.Anchored(custom.Cert))
	_, err = trust.AddCertificates(testpki.NewRoot("Another").Cert)
	require.NoError(t, err)
	count, err := trust.Count(CustomCAs)
	require.NoError(t, err)
	require.Equal(t, 2, count, "it joins those in service")
}

// The folder of an entry cannot be cleared up after it was taken out of service: the
// entry is gone, and says so.
func TestRemoveThatDoesNotEnd(t *testing.T) {
	s, d, path := accidentStore(t, StoreOptions{})
	created(t, s, "a.example")
	created(t, s, "b.example")
	require.NoError(t, os.WriteFile(filepath.Join(path, "entries", "b.example", "README"), nil, 0o600))
	broken := errors.New("broken disk")
	for _, name := range []string{"a.example", "b.example"} {
		removes := 0
		d.step = func(operation, at string) error {
			if operation != "remove" {
				return nil
			}
			if removes++; removes == 1 && name == "b.example" {
				return nil // of current.pem
			}
			return broken
		}
		require.ErrorIs(t, s.Remove(name, false), broken)
		d.step = nil
		_, err := s.Detail(name)
		require.ErrorIs(t, err, ErrNotFound, "%s: no key is served that the storage does not have", name)
		created(t, s, name)
	}
}

// Somebody takes the lock away, for a stale one, and another process opens the store:
// the first one writes no more.
func TestLockTakenAway(t *testing.T) {
	s, _, path := accidentStore(t, StoreOptions{})
	created(t, s, "a.example")
	require.NoError(t, os.Remove(filepath.Join(path, "lock")))
	other := openStore(t, StoreOptions{Storage: openDirectory(t, path, DirectoryOptions{})})
	require.ErrorIs(t, s.Rename("a.example", "b.example"), ErrLocked)
	_, err := s.CreateSelfSigned("b.example", Form{CommonName: "b.example", Days: 1})
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, other.Rename("a.example", "b.example"))
}

// A daemon goes to another folder after it has opened the store.
func TestRelativeDirectory(t *testing.T) {
	s, _, path := accidentStore(t, StoreOptions{})
	created(t, s, "a.example")
	t.Chdir(filepath.Dir(path))
	reader := openDirectory(t, filepath.Base(path), DirectoryOptions{ReadOnly: true})
	pair, err := os.ReadFile(filepath.Join(path, "entries", "a.example", "current.pem"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("pair.pem", pair, 0o600))
	_, err = s.Follow("followed", "pair.pem", "")
	require.NoError(t, err)
	t.Chdir("/")
	require.NoError(t, reader.Refresh())
	_, err = s.Follow("followed", filepath.Join(filepath.Dir(path), "pair.pem"), "")
	require.NoError(t, err, "the same file")
	_, err = s.Follow("empty", "", "")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Whoever may write the folder of a key may put another key there.
func TestFolderPermissions(t *testing.T) {
	for _, folder := range []string{".", "entries", "entries/a.example"} {
		s, d, path := accidentStore(t, StoreOptions{})
		created(t, s, "a.example")
		require.NoError(t, os.Chmod(filepath.Join(path, folder), 0o755))
		openStore(t, StoreOptions{Storage: d, StrictPermissions: true})
		require.NoError(t, os.Chmod(filepath.Join(path, folder), 0o770))
		_, err := OpenStore(StoreOptions{Storage: d, StrictPermissions: true})
		require.ErrorIs(t, err, ErrExposed, folder)
		require.Contains(t, codes(detail(t, openStore(t, StoreOptions{Storage: d}), "a.example").All), FindingKeyPermissions, folder)
	}
}

// What follows the number of a layout is no part of it that this release knows.
func TestVersionWithMore(t *testing.T) {
	for _, text := range []string{"smtpsec-certs 1x\n", "smtpsec-certs 1 2\n", "smtpsec-certs 1.5\n", "smtpsec-certs -1\n", "smtpsec-certs\n", ""} {
		_, _, path := accidentStore(t, StoreOptions{})
		require.NoError(t, os.WriteFile(filepath.Join(path, "VERSION"), []byte(text), 0o600))
		_, err := OpenDirectory(path, DirectoryOptions{ReadOnly: true})
		require.ErrorIs(t, err, ErrMalformed, "%q", text)
	}
}

// The roles are edited by hand. A change in the program starts from what was edited.
func TestEditedRoles(t *testing.T) {
	for _, change := range []func(*Store) error{
		func(s *Store) error { _, err := s.Assign("ldap", "a.example"); return err },
		func(s *Store) error { return s.Unassign("ldap") },
		func(s *Store) error { return s.Rename("b.example", "c.example") },
		func(s *Store) error { return s.Remove("b.example", true) },
	} {
		s, d, _ := accidentStore(t, StoreOptions{})
		for _, name := range []string{"a.example", "b.example"} {
			created(t, s, name)
		}
		_, err := s.Assign("ldap", "b.example")
		require.NoError(t, err)
		require.NoError(t, d.WriteFile("roles.json", []byte(`{"version": 1, "roles": {"https": ["a.example"], "ldap": ["b.example"]}}`)))
		require.NoError(t, change(s))
		require.NoError(t, s.Source("https").Ready())
		again := openStore(t, StoreOptions{Storage: d})
		require.NoError(t, again.Source("https").Ready())

		require.NoError(t, d.WriteFile("roles.json", []byte(`{"version": 1, "roles": {"https": ["a.example"], `)))
		_, err = s.Assign("ldap", "a.example")
		require.ErrorIs(t, err, ErrMalformed, "half an edit is nothing to build on")
	}
}

// The ways in which other programs put files into place: a secret of Kubernetes, where
// links of links switch certificate and key at once, and an editor, which moves the
// former file away before it writes.
func TestFollowHoweverFilesArePut(t *testing.T) {
	root := testpki.NewRoot("Root")
	one, two := root.Leaf([]string{"mx.example.com"}), root.Leaf([]string{"mx.example.com"})
	split := func(leaf *testpki.Leaf) (certs, key []byte) {
		pair := storePair(t, leaf)
		at := bytes.Index(pair, []byte("-----BEGIN CERT"))
		return pair[at:], pair[:at]
	}
	put := func(t *testing.T, path string, data []byte) { require.NoError(t, os.WriteFile(path, data, 0o600)) }
	link := func(t *testing.T, to, path string) {
		require.NoError(t, os.Symlink(to, path+".new"))
		require.NoError(t, os.Rename(path+".new", path))
	}
	for why, way := range map[string]struct {
		begin  func(t *testing.T, dir string)
		change func(t *testing.T, dir string, pause func())
	}{
		"secret": {
			begin: func(t *testing.T, dir string) {
				for name, leaf := range map[string]*testpki.Leaf{"..1": one, "..2": two} {
					certs, key := split(leaf)
					require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
					put(t, filepath.Join(dir, name, "tls.crt"), certs)
					put(t, filepath.Join(dir, name, "tls.key"), key)
				}
				link(t, "..1", filepath.Join(dir, "..data"))
				link(t, "..data/tls.crt", filepath.Join(dir, "tls.crt"))
				link(t, "..data/tls.key", filepath.Join(dir, "tls.key"))
			},
			change: func(t *testing.T, dir string, pause func()) {
				link(t, "..2", filepath.Join(dir, "..data"))
				require.NoError(t, os.RemoveAll(filepath.Join(dir, "..1")))
			},
		},
		"editor": {
			begin: func(t *testing.T, dir string) {
				certs, key := split(one)
				put(t, filepath.Join(dir, "tls.crt"), certs)
				put(t, filepath.Join(dir, "tls.key"), key)
			},
			change: func(t *testing.T, dir string, pause func()) {
				certs, key := split(two)
				for name, data := range map[string][]byte{"tls.crt": certs, "tls.key": key} {
					path := filepath.Join(dir, name)
					require.NoError(t, os.Rename(path, path+"~"))
					pause()
					put(t, path, data[:len(data)/2])
					pause()
					put(t, path, data)
					require.NoError(t, os.Remove(path+"~"))
				}
			},
		},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				way.begin(t, dir)
				events := &storeEvents{}
				s := openStore(t, StoreOptions{Events: events.add, ExpiryDays: []int{}})
				_, err := s.Follow("mx", filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
				require.NoError(t, err)
				polls := watched(t, s)
				events.take()
				way.change(t, dir, func() {
					polls(1)
					require.Equal(t, one.Cert, detail(t, s, "mx").Chain[0], "the former one stays")
				})
				polls(2)
				require.Equal(t, two.Cert, detail(t, s, "mx").Chain[0])
				require.Equal(t, []EventKind{EventReloaded}, events.kinds())
			})
		})
	}
}
