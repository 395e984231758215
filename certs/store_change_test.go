package certs

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func TestRollback(t *testing.T) {
	root := testpki.NewRoot("Root")
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		imported := root.Leaf([]string{"mx.example.com"})
		_, err := s.ImportPEM("mx", storePair(t, imported), ImportOptions{})
		require.NoError(t, err)
		_, err = s.Rollback("mx")
		require.ErrorIs(t, err, ErrNotFound)
		request, err := s.CSR("mx")
		require.NoError(t, err)
		signed := signRequest(t, root, request)
		_, err = s.Install("mx", storedPEM(signed), InstallOptions{})
		require.NoError(t, err)
		require.Equal(t, OriginCASigned, detail(t, s, "mx").Origin)
		for range 2 {
			r, err := s.Rollback("mx")
			require.NoError(t, err)
			require.Equal(t, Digests{Certificate: true}, r.Changed)
			d := detail(t, s, "mx")
			require.Equal(t, imported.Cert, d.Chain[0])
			require.Equal(t, OriginImported, d.Origin, "notes are about a certificate, not about the entry")
			require.Equal(t, signed, d.Previous[0])
			_, err = s.Rollback("mx")
			require.NoError(t, err, "and forward again")
			require.Equal(t, signed, detail(t, s, "mx").Chain[0])
			s = openStore(t, StoreOptions{Storage: storage})
		}
		names, err := storage.ReadDir("entries/mx")
		require.NoError(t, err)
		require.NotContains(t, names, swapFile)
	})
}

func TestRenameAndRemove(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "a.example")
		created(t, s, "b.example")
		_, err := s.Assign("https", "a.example", "b.example")
		require.NoError(t, err)
		require.ErrorIs(t, s.Rename("a.example", "B.example"), ErrExists)
		require.ErrorIs(t, s.Rename("absent", "x"), ErrNotFound)
		var field *FieldError
		require.ErrorAs(t, s.Rename("a.example", ""), &field)
		require.NoError(t, s.Rename("a.example", "../Odd name"))
		require.NoError(t, s.Rename("b.example", "B.Example"))
		for range 2 {
			roles, err := s.Roles()
			require.NoError(t, err)
			require.Equal(t, "../Odd name", roles["https"][0])
			require.Equal(t, "../Odd name", detail(t, s, "../odd NAME").Name)
			require.Equal(t, "B.Example", detail(t, s, "b.example").Name)
			require.NoError(t, s.Source("https").Ready())
			_, err = s.Detail("a.example")
			require.ErrorIs(t, err, ErrNotFound)
			s = openStore(t, StoreOptions{Storage: storage})
		}
		require.ErrorIs(t, s.Remove("b.example", false), ErrInUse)
		require.NoError(t, s.Remove("b.example", true))
		require.ErrorIs(t, s.Remove("b.example", true), ErrNotFound)
		require.NoError(t, s.Source("https").Ready())
		require.NoError(t, s.Remove("../odd name", true))
		require.ErrorIs(t, s.Source("https").Ready(), ErrRoleUnassigned)
		names, err := storage.ReadDir("entries")
		require.NoError(t, err)
		require.Empty(t, names)
		created(t, s, "a.example")
		require.NoError(t, storage.WriteFile("entries/a.example/notes.txt", []byte("mine")))
		require.NoError(t, s.Remove("a.example", false))
		names, err = storage.ReadDir("entries/a.example")
		require.NoError(t, err)
		require.Equal(t, []string{"notes.txt"}, names, "files of somebody else stay")
		created(t, s, "a.example")
	})
}

// What is left of an entry does not become part of a new one of its name.
func TestLeftoversOfAnEntryAreNotTaken(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		former := storePair(t, testpki.SelfSigned([]string{"old.example"}))
		for _, file := range []string{nextFile, previousFile, swapFile} {
			require.NoError(t, storage.WriteFile(inEntry("a.example", file), former))
		}
		s := openStore(t, StoreOptions{Storage: storage})
		list, err := s.List()
		require.NoError(t, err)
		require.Empty(t, list, "no current.pem, no entry")
		created(t, s, "a.example")
		d := detail(t, s, "a.example")
		require.False(t, d.HasNext)
		require.Empty(t, d.Previous)
	})
}

func TestMetaIsAdvisory(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "A.example")
		for _, broken := range []string{"", "{", `{"version":2}`, `{"version":1}{}`, "null", strings.Repeat(" ", maxMeta+1)} {
			require.NoError(t, storage.WriteFile("entries/a.example/meta.json", []byte(broken)))
			s := openStore(t, StoreOptions{Storage: storage})
			d := detail(t, s, "a.example")
			require.Contains(t, codes(d.All), FindingMetaUnreadable, broken)
			require.Equal(t, "a.example", d.Name)
		}
		require.NoError(t, storage.Remove("entries/a.example/meta.json"))
		s = openStore(t, StoreOptions{Storage: storage})
		require.Contains(t, codes(detail(t, s, "a.example").All), FindingMetaUnreadable)
		_, err := s.Assign("https", "a.example")
		require.NoError(t, err)
		require.NoError(t, s.Source("https").Ready())
		require.NoError(t, s.Accept("a.example"), "what writes the notes mends them")
		require.NotContains(t, codes(detail(t, s, "a.example").All), FindingMetaUnreadable)
		// Notes that claim another name do not count.
		require.NoError(t, storage.WriteFile("entries/a.example/meta.json", []byte(`{"version":1,"name":"b.example"}`)))
		require.Equal(t, "a.example", detail(t, openStore(t, StoreOptions{Storage: storage}), "a.example").Name)
	})
}

func TestOpenStoreRefusesWhatIsBroken(t *testing.T) {
	good := storePair(t, testpki.SelfSigned([]string{"a.example"}))
	other := storePair(t, testpki.SelfSigned([]string{"a.example"}))
	key, certificate := good[:bytes.Index(good, []byte("-----BEGIN CERT"))], good[bytes.Index(good, []byte("-----BEGIN CERT")):]
	otherKey := other[:bytes.Index(other, []byte("-----BEGIN CERT"))]
	for _, tc := range []struct {
		why, path string
		content   []byte
		want      error
	}{
		{"cut off", "entries/a/current.pem", good[:len(good)-40], ErrMalformed},
		{"empty", "entries/a/current.pem", nil, ErrMalformed},
		{"no key", "entries/a/current.pem", certificate, ErrNoKey},
		{"no certificate", "entries/a/current.pem", key, ErrNoCertificate},
		{"key of another", "entries/a/current.pem", append(bytes.Clone(otherKey), certificate...), ErrKeyMismatch},
		{"two keys", "entries/a/current.pem", append(bytes.Clone(otherKey), good...), ErrManyKeys},
		{"next key of another", "entries/good/next.pem", append(bytes.Clone(otherKey), certificate...), ErrKeyMismatch},
		{"roles", "roles.json", []byte("{"), ErrMalformed},
		{"roles of a later release", "roles.json", []byte(`{"version":2,"roles":{}}`), ErrMalformed},
		{"role without entries", "roles.json", []byte(`{"version":1,"roles":{"https":[]}}`), ErrMalformed},
		{"role with a bad name", "roles.json", []byte(`{"version":1,"roles":{"https":[""]}}`), ErrMalformed},
		{"roles with more behind", "roles.json", []byte(`{"version":1,"roles":{}} x`), ErrMalformed},
		{"roles too large", "roles.json", bytes.Repeat([]byte(" "), maxRoles+1), ErrTooLarge},
	} {
		overBackings(t, func(t *testing.T, storage Storage) {
			require.NoError(t, storage.WriteFile("entries/good/current.pem", good))
			require.NoError(t, storage.WriteFile(tc.path, tc.content))
			_, err := OpenStore(StoreOptions{Storage: storage})
			require.ErrorIs(t, err, tc.want, tc.why)
			require.ErrorContains(t, err, tc.path, tc.why)
		})
	}
}

// Folders that no name leads to, and files in unusual places, are left alone.
func TestForeignFilesAreLeftAlone(t *testing.T) {
	overBackings(t, func(t *testing.T, storage Storage) {
		foreign := []string{"entries/UPPER/current.pem", "entries/%zz/current.pem", "entries/a.example/current.pem.bak", "notes/readme"}
		for _, path := range foreign {
			require.NoError(t, storage.WriteFile(path, []byte("mine")))
		}
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "a.example")
		for _, path := range foreign {
			data, err := storage.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, "mine", string(data))
		}
	})
}

// The zero values and nil pointers refuse everything.
func TestZeroStoreFailsClosed(t *testing.T) {
	for _, s := range []*Store{{}, nil} {
		var errs []error
		add := func(_ any, err error) { errs = append(errs, err) }
		add(s.CreateSelfSigned("x", Form{CommonName: "x.example", Days: 1}))
		add(s.CSR("x"))
		add(s.Install("x", nil, InstallOptions{}))
		add(s.AddIntermediates("x", nil))
		add(s.Rollback("x"))
		add(s.ImportPEM("x", nil, ImportOptions{}))
		add(s.ImportPKCS12("x", nil, ImportOptions{}))
		add(s.ExportPKCS12("x", ExportOptions{}))
		add(s.List())
		add(s.Detail("x"))
		add(s.Signer("x"))
		add(s.CertificatePEM("x"))
		add(s.Covers("x"))
		add(s.Assign("x", "x"))
		add(s.Roles())
		add(s.Demonstration())
		add(s.PrepareNext("x", NextOptions{}))
		add(s.InstallNext("x", nil, InstallOptions{}))
		add(s.Promote("x", true))
		add(s.PublicKeyInfos("x"))
		add(s.Follow("x", "y", "z"))
		add(s.CheckExpiry())
		errs = append(errs, s.Rename("x", "y"), s.Remove("x", true), s.Accept("x"), s.SetLevel("x", LevelMachine), s.Unassign("x"),
			s.ConfirmPublished("x", time.Hour), s.Abandon("x"), s.Retire("x", true), s.Watch(t.Context(), 0), s.Source("x").Ready())
		add(s.Source("x").GetCertificate(nil))
		add(s.Source("x").GetClientCertificate(nil))
		for i, err := range errs {
			require.ErrorIs(t, err, ErrNotOpen, "%d", i)
		}
		require.False(t, s.Source("x").Demonstration())
	}
	var source *Source
	_, err := source.GetCertificate(nil)
	require.ErrorIs(t, err, ErrNotOpen)
}

// Create, request, sign, install, export, import into the other backing: the same octets.
func TestRoundTripThroughBothBackings(t *testing.T) {
	intermediate := testpki.NewRoot("Root").Intermediate("Intermediate")
	overBackings(t, func(t *testing.T, storage Storage) {
		s := openStore(t, StoreOptions{Storage: storage})
		created(t, s, "mx.example.com")
		request, err := s.CSR("mx.example.com")
		require.NoError(t, err)
		_, err = s.Install("mx.example.com", storedPEM(intermediate.Cert, signRequest(t, intermediate, request)), InstallOptions{})
		require.NoError(t, err)
		pass := []byte("x")
		file, err := s.ExportPKCS12("mx.example.com", ExportOptions{Passphrase: pass, Confirm: pass})
		require.NoError(t, err)
		want, err := storage.ReadFile("entries/mx.example.com/current.pem")
		require.NoError(t, err)
		overBackings(t, func(t *testing.T, other Storage) {
			to := openStore(t, StoreOptions{Storage: other})
			_, err := to.ImportPKCS12("", file, ImportOptions{Passphrase: pass})
			require.NoError(t, err)
			got, err := other.ReadFile("entries/mx.example.com/current.pem")
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	})
}
