package certs

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// TestChapterSystemListCustomListEitherOrBoth: the lists that are enabled anchor chains,
// and nothing else does.
func TestChapterSystemListCustomListEitherOrBoth(t *testing.T) {
	system, custom := trustRoot("System"), trustRoot("Custom")
	bySystem := system.Leaf([]string{"a.example"}, trustValid(-1, 1))
	byCustom := custom.Leaf([]string{"b.example"}, trustValid(-1, 1))
	for _, tc := range []struct {
		why              string
		systemOn, custOn bool
	}{
		{"both on: either anchors", true, true},
		{"system only", true, false},
		{"custom only", false, true},
		{"both off: nothing verifies", false, false},
	} {
		store := openTrust(t, TrustOptions{System: trustSourceOf(system)})
		trustImport(t, store, trustPEM(custom.Cert))
		require.NoError(t, store.Enable(SystemCAs, tc.systemOn))
		require.NoError(t, store.Enable(CustomCAs, tc.custOn))
		require.Equal(t, tc.systemOn, store.Enabled(SystemCAs), tc.why)
		require.Equal(t, tc.custOn, store.Enabled(CustomCAs), tc.why)
		pool := store.Snapshot().Pool()
		require.NotNil(t, pool, tc.why)
		for _, each := range []struct {
			leaf *testpki.Leaf
			on   bool
		}{{bySystem, tc.systemOn}, {byCustom, tc.custOn}} {
			_, err := each.leaf.Cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: trustNoon})
			require.Equal(t, each.on, err == nil, tc.why)
			require.Equal(t, each.on, store.Anchored(each.leaf.Cert), tc.why)
			require.Equal(t, each.on, store.Anchored(each.leaf.Issuer.Cert), tc.why)
			if each.on {
				requireTrusted(t, store, each.leaf, tc.why)
			} else {
				requireUntrusted(t, store, each.leaf, tc.why)
			}
		}
		require.Equal(t, []*x509.Certificate{system.Cert}, trustListed(t, store, SystemCAs), "a disabled list can be viewed")
		require.Equal(t, []*x509.Certificate{custom.Cert}, trustListed(t, store, CustomCAs), "a disabled list can be viewed")
	}
	empty := openTrust(t, TrustOptions{})
	requireUntrusted(t, empty, bySystem, "both on and empty")
	require.True(t, empty.Enabled(SystemCAs) && empty.Enabled(CustomCAs))
}

// TestZeroTrustStore: what was not opened trusts nothing and changes nothing.
func TestZeroTrustStore(t *testing.T) {
	leaf := trustRoot("Root").Leaf([]string{"a.example"}, trustValid(-1, 1))
	for why, store := range map[string]*TrustStore{"zero": {}, "nil": nil} {
		_, err := store.VerifyChain(leaf.Chain(), trustServer)
		require.ErrorIs(t, err, ErrNotOpen, why)
		require.Zero(t, store.Generation(), why)
		require.False(t, store.Anchored(leaf.Cert), why)
		require.False(t, store.Enabled(SystemCAs) || store.Enabled(CustomCAs), why)
		require.True(t, store.Snapshot().Pool().Equal(x509.NewCertPool()), why)
		require.Zero(t, store.VersionInfo(SystemCAs), why)
		for call, f := range map[string]func() error{
			"Enable":       func() error { return store.Enable(CustomCAs, true) },
			"Import":       func() error { _, err := store.Import(strings.NewReader(""), CAImportOptions{}); return err },
			"Add":          func() error { _, err := store.Add(strings.NewReader(""), CAImportOptions{}); return err },
			"AddCerts":     func() error { _, err := store.AddCertificates(leaf.Cert); return err },
			"Delete":       func() error { return store.Delete([32]byte{}) },
			"Reload":       func() error { _, err := store.Reload(); return err },
			"Replace":      func() error { _, err := store.ReplaceSystem(noRoots{}, ReplaceOptions{}); return err },
			"Restore":      func() error { _, err := store.RestoreSystem(); return err },
			"Count":        func() error { _, err := store.Count(SystemCAs); return err },
			"Authorities":  func() error { _, err := store.Authorities(SystemCAs); return err },
			"Detail":       func() error { _, err := store.Detail([32]byte{}); return err },
			"PEM":          func() error { _, err := store.PEM([32]byte{}); return err },
			"Export":       func() error { return store.Export(io.Discard, SystemCAs) },
			"ZeroSnapshot": func() error { _, err := new(Snapshot).VerifyChain(leaf.Chain(), trustServer); return err },
		} {
			require.ErrorIs(t, f(), ErrNotOpen, "%s, %s", why, call)
		}
	}
	require.True(t, new(Snapshot).Pool().Equal(x509.NewCertPool()))
	require.Zero(t, new(Snapshot).Generation())
}

// TestChapterSystemListCannotBeRemoved: it can be disabled only.
func TestChapterSystemListCannotBeRemoved(t *testing.T) {
	root := trustRoot("System")
	store := openTrust(t, TrustOptions{System: trustSourceOf(root)})
	require.ErrorIs(t, store.Delete(trustSum(root.Cert)), ErrSystemList)
	require.ErrorIs(t, store.Delete([32]byte{1}), ErrNotFound)
	n, err := store.Count(SystemCAs)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.ErrorIs(t, store.Enable(CAList(9), true), ErrNotFound)
	_, err = store.Count(CAList(9))
	require.ErrorIs(t, err, ErrNotFound)
}

// TestChapterDeleteCustomAuthority: the chain that it anchored fails at once, though it
// was verified before.
func TestChapterDeleteCustomAuthority(t *testing.T) {
	one, two := trustRoot("One"), trustRoot("Two")
	leaf := one.Leaf([]string{"a.example"}, trustValid(-1, 1))
	storage := &trustMemory{}
	store := openTrust(t, TrustOptions{Storage: storage})
	trustImport(t, store, trustPEM(one.Cert, two.Cert))
	requireTrusted(t, store, leaf, "before")
	generation := store.Generation()
	old := store.Snapshot()
	require.NoError(t, store.Delete(trustSum(one.Cert)))
	requireUntrusted(t, store, leaf, "after")
	require.NotEqual(t, generation, store.Generation())
	requireTrusted(t, old, leaf, "a snapshot does not change")
	require.Equal(t, generation, old.Generation())
	require.ErrorIs(t, store.Delete(trustSum(one.Cert)), ErrNotFound)

	require.NoError(t, store.Delete(trustSum(two.Cert)))
	again := openTrust(t, TrustOptions{Storage: storage})
	require.Empty(t, trustListed(t, again, CustomCAs), "an emptied list is stored as an empty list")
}

func TestImportReplacesAddJoins(t *testing.T) {
	a, b, c := trustRoot("A"), trustRoot("B"), trustRoot("C")
	store := openTrust(t, TrustOptions{})
	report := trustImport(t, store, trustPEM(a.Cert, b.Cert, a.Cert))
	require.Equal(t, []*x509.Certificate{a.Cert, b.Cert}, report.Added)
	require.Empty(t, report.Removed)
	require.Equal(t, 1, report.Duplicates)

	report = trustImport(t, store, trustPEM(c.Cert, b.Cert))
	require.Equal(t, []*x509.Certificate{c.Cert}, report.Added)
	require.Equal(t, []*x509.Certificate{a.Cert}, report.Removed)
	require.Equal(t, []*x509.Certificate{c.Cert, b.Cert}, trustListed(t, store, CustomCAs))

	report, err := store.Add(strings.NewReader(trustPEM(b.Cert, a.Cert)), CAImportOptions{})
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{a.Cert}, report.Added)
	require.Empty(t, report.Removed)
	require.Equal(t, 1, report.Duplicates)

	report, err = store.AddCertificates(c.Cert)
	require.NoError(t, err)
	require.Empty(t, report.Added)
	require.Equal(t, 1, report.Duplicates)
	require.Equal(t, []*x509.Certificate{c.Cert, b.Cert, a.Cert}, trustListed(t, store, CustomCAs))

	report, err = store.Import(bytes.NewReader(a.Cert.Raw), CAImportOptions{})
	require.NoError(t, err, "one certificate in DER")
	require.Len(t, report.Removed, 2)
}

// TestAddedCertificatesAreCopies: what a caller does to a certificate later, or
// pretends about it, has no effect.
func TestAddedCertificatesAreCopies(t *testing.T) {
	root, other := trustRoot("Root"), trustRoot("Other")
	leaf := root.Leaf([]string{"a.example"}, trustValid(-1, 1))
	mine, err := x509.ParseCertificate(bytes.Clone(root.Cert.Raw))
	require.NoError(t, err)
	forged := *root.Cert
	forged.PublicKey, forged.RawSubject = other.Cert.PublicKey, other.Cert.RawSubject
	store := openTrust(t, TrustOptions{})
	_, err = store.AddCertificates(mine, &forged)
	require.NoError(t, err)
	for i := range mine.Raw {
		mine.Raw[i] = 0
	}
	mine.PublicKey = other.Cert.PublicKey
	requireTrusted(t, store, leaf, "copied")
	require.False(t, store.Anchored(other.Cert), "the bytes count, not the fields")

	for why, certs := range map[string][]*x509.Certificate{
		"none":         nil,
		"nil":          {nil},
		"not from DER": {{}},
		"broken DER":   {{Raw: []byte{0x30, 0x00}}},
	} {
		_, err = store.AddCertificates(certs...)
		require.Error(t, err, why)
		require.True(t, errors.Is(err, ErrMalformed) || errors.Is(err, ErrNoCertificate), why)
	}
	n, err := store.Count(CustomCAs)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// TestBadImportKeepsTheFormerList: whatever is wrong with the input.
func TestBadImportKeepsTheFormerList(t *testing.T) {
	root, other := trustRoot("Root"), trustRoot("Other")
	leaf := root.Leaf([]string{"a.example"}, trustValid(-1, 1))
	key, err := x509.MarshalPKCS8PrivateKey(other.Key)
	require.NoError(t, err)
	keyBlock := pemText("PRIVATE KEY", key)
	good := trustPEM(other.Cert)
	broken := strings.Replace(good, "\n", "\n!!!!", 1)
	storage := &trustMemory{}
	store := openTrust(t, TrustOptions{Storage: storage})
	trustImport(t, store, trustPEM(root.Cert))
	stored, generation := bytes.Clone(storage.list), store.Generation()
	for _, tc := range []struct {
		why     string
		in      io.Reader
		lenient bool
		is      error
	}{
		{"empty", strings.NewReader(""), false, nil},
		{"empty, lenient", strings.NewReader(""), true, nil},
		{"no block", strings.NewReader("# nothing here\n"), true, nil},
		{"an exported empty list", strings.NewReader(trustExport(t, openTrust(t, TrustOptions{}), CustomCAs)), true, ErrNoCertificate},
		{"one bad block of two", strings.NewReader(good + broken), false, ErrMalformed},
		{"all blocks bad", strings.NewReader(broken), true, ErrNoCertificate},
		{"a private key", strings.NewReader(good + keyBlock), false, nil},
		{"a private key, lenient", strings.NewReader(good + keyBlock), true, nil},
		{"a private key in DER", bytes.NewReader(key), true, nil},
		{"an endless device", trustEndless{}, false, ErrTooLarge},
		{"a device that fails", iotest.ErrReader(io.ErrClosedPipe), false, io.ErrClosedPipe},
		{"more certificates than a list may have", strings.NewReader(strings.Repeat(good, MaxListCertificates+1)), true, ErrTooLarge},
	} {
		for _, add := range []bool{false, true} {
			if seeker, ok := tc.in.(io.Seeker); ok {
				_, err := seeker.Seek(0, io.SeekStart)
				require.NoError(t, err)
			}
			do := store.Import
			if add {
				do = store.Add
			}
			report, err := do(tc.in, CAImportOptions{Lenient: tc.lenient})
			require.Error(t, err, tc.why)
			require.Zero(t, report, tc.why)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is, tc.why)
			}
			for line := range strings.Lines(keyBlock) {
				if !strings.HasPrefix(line, "-----") {
					require.NotContains(t, err.Error(), strings.TrimSpace(line), tc.why)
				}
			}
			require.Equal(t, stored, storage.list, tc.why)
			require.Equal(t, generation, store.Generation(), tc.why)
			require.Equal(t, []*x509.Certificate{root.Cert}, trustListed(t, store, CustomCAs), tc.why)
			requireTrusted(t, store, leaf, tc.why)
		}
	}
}

// TestLenientImport takes what is good and names the lines of the rest.
func TestLenientImport(t *testing.T) {
	a, b := trustRoot("A"), trustRoot("B")
	text := trustPEM(a.Cert) + strings.Replace(trustPEM(b.Cert), "\n", "\n!!!!", 1) + trustPEM(b.Cert)
	store := openTrust(t, TrustOptions{})
	report, err := store.Import(strings.NewReader(text), CAImportOptions{Lenient: true})
	require.NoError(t, err)
	require.Len(t, report.Added, 2)
	bad := 0
	for _, f := range report.Findings {
		if f.Code == FindingBadBlock {
			bad++
			require.Contains(t, f.Detail, "line ")
		}
	}
	require.Equal(t, 1, bad)
	_, err = store.Import(strings.NewReader(text), CAImportOptions{})
	var parse *ParseError
	require.ErrorAs(t, err, &parse)
	require.Positive(t, parse.Line)
}

// TestChapterCAImportReportsNames: kept all the same.
func TestChapterCAImportReportsNames(t *testing.T) {
	title := trustRoot("ISRG Root of Tests")
	named := trustRoot("ca.example.com")
	peer := testpki.SelfSigned([]string{"mx.inside.example"}, trustValid(-10, 10))
	expired := trustRoot("old.example.com", trustValid(-20, -10))
	store := openTrust(t, TrustOptions{})
	report := trustImport(t, store, trustPEM(title.Cert, named.Cert, peer.Cert, expired.Cert))
	require.Len(t, report.Added, 4)
	require.Contains(t, trustCodes(report.Findings, title.Cert), FindingFQDN)
	require.NotContains(t, trustCodes(report.Findings, named.Cert), FindingFQDN)
	require.NotContains(t, trustCodes(report.Findings, named.Cert), FindingNotCA)
	require.Contains(t, trustCodes(report.Findings, peer.Cert), FindingNotCA)
	require.Contains(t, trustCodes(report.Findings, expired.Cert), FindingExpired)

	path, err := store.VerifyChain([]*x509.Certificate{peer.Cert}, trustServer)
	require.NoError(t, err, "a self-signed peer behind the firewall")
	require.Equal(t, []*x509.Certificate{peer.Cert}, path)
	other := testpki.SelfSigned([]string{"mx.inside.example"}, trustValid(-10, 10))
	_, err = store.VerifyChain([]*x509.Certificate{other.Cert}, trustServer)
	require.Error(t, err, "the same name with another key")
	rogue := (&testpki.Authority{Cert: peer.Cert, Key: peer.Key}).Leaf([]string{"b.example"}, trustValid(-1, 1))
	_, err = store.VerifyChain([]*x509.Certificate{rogue.Cert}, trustServer)
	require.Error(t, err, "a certificate that is no authority vouches for itself alone")
}

// TestGenerationChangesWithTheTrust and not without.
func TestGenerationChangesWithTheTrust(t *testing.T) {
	system, custom := trustRoot("System"), trustRoot("Custom")
	store := openTrust(t, TrustOptions{System: trustSourceOf(system)})
	require.Equal(t, uint64(1), store.Generation())
	changes := func(want bool, why string, f func() error) {
		t.Helper()
		before := store.Generation()
		require.NoError(t, f(), why)
		require.Equal(t, want, store.Generation() != before, why)
	}
	importing := func(text string) func() error {
		return func() error { _, err := store.Import(strings.NewReader(text), CAImportOptions{}); return err }
	}
	changes(false, "an empty list disabled", func() error { return store.Enable(CustomCAs, false) })
	changes(false, "into a disabled list", importing(trustPEM(custom.Cert)))
	changes(true, "enabled", func() error { return store.Enable(CustomCAs, true) })
	changes(false, "enabled again", func() error { return store.Enable(CustomCAs, true) })
	changes(false, "the same list", importing(trustPEM(custom.Cert)))
	changes(true, "a date of distrust", importing(distrustLine(custom.Cert, trustDays(-5))+trustPEM(custom.Cert)))
	changes(true, "without it", importing(trustPEM(custom.Cert)))
	changes(false, "the same system list", func() error {
		_, err := store.ReplaceSystem(trustSourceOf(system), ReplaceOptions{})
		return err
	})
	changes(false, "the original again", func() error { _, err := store.RestoreSystem(); return err })
	changes(true, "deleted", func() error { return store.Delete(trustSum(custom.Cert)) })
	changes(true, "system off", func() error { return store.Enable(SystemCAs, false) })
}

// TestStoredListAndSettings survive; faults of the storage change nothing.
func TestStoredListAndSettings(t *testing.T) {
	root, other := trustRoot("Root"), trustRoot("Other")
	storage := &trustMemory{}
	clock := newTrustClock(trustNoon)
	store := openTrust(t, TrustOptions{System: trustSourceOf(other), Storage: storage, Now: clock.now})
	trustImport(t, store, distrustLine(root.Cert, trustDays(-5))+trustPEM(root.Cert))
	require.NoError(t, store.Enable(SystemCAs, false))

	clock.set(trustDays(3))
	again := openTrust(t, TrustOptions{System: trustSourceOf(other), Storage: storage, Now: clock.now})
	require.False(t, again.Enabled(SystemCAs))
	require.True(t, again.Enabled(CustomCAs))
	require.Equal(t, store.VersionInfo(CustomCAs), again.VersionInfo(CustomCAs), "the date is that of the change")
	a, err := again.Detail(trustSum(root.Cert))
	require.NoError(t, err)
	require.Equal(t, trustDays(-5), a.DistrustAfter)

	storage.fault = errors.New("disk full")
	list, settings, generation := bytes.Clone(storage.list), bytes.Clone(storage.settings), again.Generation()
	_, err = again.Import(strings.NewReader(trustPEM(other.Cert)), CAImportOptions{})
	require.ErrorIs(t, err, storage.fault)
	_, err = again.AddCertificates(other.Cert)
	require.ErrorIs(t, err, storage.fault)
	require.ErrorIs(t, again.Delete(trustSum(root.Cert)), storage.fault)
	require.ErrorIs(t, again.Enable(SystemCAs, true), storage.fault)
	require.False(t, again.Enabled(SystemCAs))
	require.Equal(t, generation, again.Generation())
	require.Equal(t, [][]byte{list, settings}, [][]byte{storage.list, storage.settings})

	// Somebody else writes.
	storage.fault = nil
	require.NoError(t, store.Enable(SystemCAs, true))
	trustImport(t, store, trustPEM(other.Cert))
	report, err := again.Reload()
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{other.Cert}, report.Added)
	require.Equal(t, []*x509.Certificate{root.Cert}, report.Removed)
	require.True(t, again.Enabled(SystemCAs))

	// Changes start from what is stored: an edit by hand is not written over.
	edited := append([]byte(trustPEM(root.Cert)), storage.list...)
	storage.list, storage.settings = edited, []byte(`{"version":1,"system":false,"custom":true}`)
	report, err = again.Add(strings.NewReader(trustPEM(other.Cert)), CAImportOptions{})
	require.NoError(t, err)
	require.Equal(t, ListReport{Duplicates: 1, Findings: report.Findings}, report)
	require.Equal(t, []*x509.Certificate{root.Cert, other.Cert}, trustListed(t, again, CustomCAs))
	require.NoError(t, again.Enable(CustomCAs, true))
	require.False(t, again.Enabled(SystemCAs), "a list that was disabled by hand stays so")
	require.NoError(t, store.Delete(trustSum(root.Cert)), "which this store has not seen yet")

	storage.list = []byte("garbage")
	_, err = again.AddCertificates(root.Cert)
	require.ErrorIs(t, err, ErrMalformed)
	require.ErrorIs(t, again.Delete(trustSum(root.Cert)), ErrMalformed)
	require.Equal(t, "garbage", string(storage.list))
	_, err = again.Reload()
	require.Error(t, err)
	require.Equal(t, []*x509.Certificate{root.Cert, other.Cert}, trustListed(t, again, CustomCAs))
	report, err = openTrust(t, TrustOptions{}).Reload()
	require.NoError(t, err, "nothing is stored, nothing has changed")
	require.Zero(t, report)
}

// TestBrokenStorageDoesNotOpen: it is not taken for an empty one.
func TestBrokenStorageDoesNotOpen(t *testing.T) {
	for why, storage := range map[string]*trustMemory{
		"cannot be read":         {readFault: errors.New("input/output error")},
		"list cut to nothing":    {list: []byte{}},
		"list is garbage":        {list: []byte("garbage")},
		"settings cut":           {settings: []byte{}},
		"settings are garbage":   {settings: []byte("{")},
		"settings of the future": {settings: []byte(`{"version":2,"system":true,"custom":true}`)},
		"settings with more":     {settings: []byte(`{"version":1,"system":true,"custom":true,"host":true}`)},
		"settings twice":         {settings: []byte(`{"version":1} {"version":1}`)},
		"settings endless":       {settings: bytes.Repeat([]byte(" "), maxSettings+1)},
	} {
		store, err := NewTrustStore(TrustOptions{Storage: storage})
		require.Error(t, err, why)
		require.Nil(t, store, why)
	}
	_, err := NewTrustStore(TrustOptions{System: trustSource{err: io.ErrUnexpectedEOF}})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	for why, list := range map[string]RootList{
		"nil":        {Roots: []Root{{}}},
		"no DER":     {Roots: []Root{{Certificate: &x509.Certificate{}}}},
		"broken DER": {Roots: []Root{{Certificate: &x509.Certificate{Raw: []byte{0x30}}}}},
		"wild date":  {Roots: []Root{{Certificate: trustRoot("R").Cert, DistrustAfter: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}},
		"early date": {Roots: []Root{{Certificate: trustRoot("R").Cert, DistrustAfter: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)}}},
		"endless":    {Roots: make([]Root, MaxListCertificates+1)},
	} {
		_, err := NewTrustStore(TrustOptions{System: trustSource{list: list}})
		require.Error(t, err, why)
	}
}

// TestWhatIsAddedCanBeReadBack: a list with a certificate that Import refuses would
// keep the store from opening again.
func TestWhatIsAddedCanBeReadBack(t *testing.T) {
	storage := &trustMemory{}
	store := openTrust(t, TrustOptions{Storage: storage})
	trustImport(t, store, trustPEM(trustRoot("Root").Cert))
	for why, cert := range map[string]*x509.Certificate{
		"a curve that is not read": testpki.SelfSigned([]string{"a.example"}, testpki.Key(testpki.NewECDSA(elliptic.P224()))).Cert,
		"RSA beyond MaxRSABits":    withPublicKey(t, trustRoot("Root"), &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), MaxRSABits), E: 65537}),
	} {
		_, err := store.AddCertificates(cert)
		var unsupported *UnsupportedError
		require.ErrorAs(t, err, &unsupported, why)
		_, err = NewTrustStore(TrustOptions{System: trustSource{list: RootList{Roots: []Root{{Certificate: cert}}}}})
		require.ErrorAs(t, err, &unsupported, why)
	}
	require.Equal(t, trustListed(t, store, CustomCAs), trustListed(t, openTrust(t, TrustOptions{Storage: storage}), CustomCAs))
}

// TestRootWithNameConstraints: they bind what is below the root, whichever list has it.
func TestRootWithNameConstraints(t *testing.T) {
	root := trustRoot("Narrow", testpki.Template(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"inside.example"} }))
	store := openTrust(t, TrustOptions{System: trustSourceOf(root)})
	inside, outside := root.Leaf([]string{"mx.inside.example"}, trustValid(-1, 1)), root.Leaf([]string{"mx.outside.example"}, trustValid(-1, 1))
	for range 2 {
		requireTrusted(t, store, inside, "inside")
		requireUntrusted(t, store, outside, "outside")
		trustImport(t, store, trustPEM(root.Cert))
	}
}
