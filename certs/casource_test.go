package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

func trustFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// TestChapterUpdateNow: the system list is replaced by that of a file, and back.
func TestChapterUpdateNow(t *testing.T) {
	a, b, c, d := trustRoot("A"), trustRoot("B"), trustRoot("C"), trustRoot("D")
	leaf := a.Leaf([]string{"a.example"}, trustValid(-1, 1))
	store := openTrust(t, TrustOptions{System: trustSourceOf(a, b, c)})
	trustImport(t, store, trustPEM(d.Cert))
	requireTrusted(t, store, leaf, "before")
	before := store.Snapshot()

	update := func(force bool, text string) (ListReport, error) {
		return store.ReplaceSystem(FileRoots(trustFile(t, "update.txt", text)), ReplaceOptions{Force: force})
	}
	report, err := update(false, trustPEM(b.Cert, c.Cert, d.Cert, c.Cert))
	require.NoError(t, err, "one of three is lost")
	require.Equal(t, []*x509.Certificate{d.Cert}, report.Added)
	require.Equal(t, []*x509.Certificate{a.Cert}, report.Removed)
	require.Equal(t, 1, report.Duplicates)
	requireUntrusted(t, store, leaf, "after")
	requireTrusted(t, before, leaf, "the former snapshot")
	require.Equal(t, []*x509.Certificate{d.Cert}, trustListed(t, store, CustomCAs), "the custom list is untouched")

	report, err = store.RestoreSystem()
	require.NoError(t, err)
	require.Equal(t, []*x509.Certificate{a.Cert}, report.Added)
	require.Equal(t, []*x509.Certificate{d.Cert}, report.Removed)
	require.Equal(t, "test", store.VersionInfo(SystemCAs).Source)

	_, err = update(false, trustPEM(a.Cert, d.Cert))
	var refused *UpdateError
	require.ErrorAs(t, err, &refused, "two of three are lost, though the list is nearly as long")
	require.Equal(t, UpdateError{Former: 3, Next: 2, Lost: 2}, *refused)
	require.Contains(t, err.Error(), "2 of 3")
	for why, text := range map[string]string{
		"empty":                  "",
		"comments":               "# nothing\n",
		"an exported empty list": trustExport(t, openTrust(t, TrustOptions{}), SystemCAs),
		"broken":                 strings.Replace(trustPEM(a.Cert, b.Cert), "\n", "\n!!", 1),
	} {
		_, err = update(true, text)
		require.Error(t, err, "%s, even if forced", why)
	}
	_, err = store.ReplaceSystem(trustSource{}, ReplaceOptions{Force: true})
	require.ErrorIs(t, err, ErrNoCertificate)
	_, err = store.ReplaceSystem(nil, ReplaceOptions{Force: true})
	require.ErrorIs(t, err, ErrNoCertificate)
	requireTrusted(t, store, leaf, "nothing of that changed the list")

	two := openTrust(t, TrustOptions{System: trustSourceOf(a, b)})
	_, err = two.ReplaceSystem(trustSourceOf(b), ReplaceOptions{})
	require.NoError(t, err, "half is not more than half")

	_, err = update(true, trustPEM(d.Cert))
	require.NoError(t, err)
	requireUntrusted(t, store, leaf, "forced")
}

// TestListsThatCannotBeListed can be used, counted never, and replaced by force.
func TestListsThatCannotBeListed(t *testing.T) {
	a, b := trustRoot("A"), trustRoot("B")
	inner := a.Intermediate("Inner", trustValid(-1, 1))
	leaf := inner.Leaf([]string{"a.example"}, trustValid(-1, 1))
	hidden := trustSource{list: RootList{Source: "host", Version: "host", opaque: testpki.Pool(a)}}
	store := openTrust(t, TrustOptions{System: hidden})
	requireTrusted(t, store, leaf, "used")
	require.True(t, store.Anchored(inner.Cert) && store.Anchored(a.Cert))
	require.False(t, store.Anchored(b.Cert))
	require.True(t, store.Anchored(a.Leaf(nil, trustValid(-9, -8)).Cert), "dates do not matter")
	require.True(t, store.Anchored(a.Leaf(nil, trustValid(8, 9)).Cert), "dates do not matter")
	_, err := store.Count(SystemCAs)
	require.ErrorIs(t, err, ErrNotEnumerable)
	_, err = store.Authorities(SystemCAs)
	require.ErrorIs(t, err, ErrNotEnumerable)
	require.ErrorIs(t, store.Export(&bytes.Buffer{}, SystemCAs), ErrNotEnumerable)
	require.Equal(t, VersionInfo{Source: "host", Version: "host", Count: -1}, store.VersionInfo(SystemCAs))
	_, err = store.Detail(trustSum(a.Cert))
	require.ErrorIs(t, err, ErrNotFound)

	var refused *UpdateError
	_, err = store.ReplaceSystem(trustSourceOf(a, b), ReplaceOptions{})
	require.ErrorAs(t, err, &refused, "nobody knows what would be lost")
	_, err = store.ReplaceSystem(trustSourceOf(a, b), ReplaceOptions{Force: true})
	require.NoError(t, err)
	_, err = store.ReplaceSystem(hidden, ReplaceOptions{})
	require.ErrorAs(t, err, &refused)
	_, err = store.RestoreSystem()
	require.NoError(t, err)

	// The custom list counts beside it, its date of distrust before it.
	trustImport(t, store, distrustLine(a.Cert, trustDays(-5))+trustPEM(a.Cert, b.Cert))
	var constraint *ConstraintError
	_, err = store.VerifyChain(leaf.Chain(), trustServer)
	require.ErrorAs(t, err, &constraint)
	requireTrusted(t, store, b.Leaf(nil, trustValid(-1, 1)), "custom")
	require.False(t, store.Anchored(a.Leaf(nil, trustValid(-1, 1)).Cert), "issued after the date of distrust")
	require.True(t, store.Anchored(a.Leaf(nil, trustValid(-9, 1)).Cert), "issued before it")
	generation := store.Generation()
	require.NoError(t, store.Enable(SystemCAs, false))
	require.NotEqual(t, generation, store.Generation())
	require.NoError(t, store.Delete(trustSum(a.Cert)))
	requireUntrusted(t, store, leaf, "disabled")
	require.False(t, store.Snapshot().Pool().Equal(testpki.Pool(a, b)))
	require.True(t, store.Snapshot().Pool().Equal(testpki.Pool(b)))
}

// TestChapterBundleVersionAndLastUpdate of every kind of list.
func TestChapterBundleVersionAndLastUpdate(t *testing.T) {
	a, b := trustRoot("A"), trustRoot("B")
	modified := time.Date(2025, 7, 1, 8, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		why, text, version string
		updated            time.Time
	}{
		{"no head: the file's own date", trustPEM(a.Cert), "2025-07-01T08:00:00Z", modified},
		{"ours", "# List: system\n# Version: 2.74\n# Updated: 2026-01-02T03:04:05Z\n" + trustPEM(a.Cert), "2.74", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{"ours with a time that is none", "# Version: 2.74\n# Updated: soon\n" + trustPEM(a.Cert), "2.74", modified},
		{"curl's", "##\n## Bundle of CA Root Certificates\n##\n## Certificate data from Mozilla as of: Tue Dec  2 04:12:02 2025 GMT\n##\n" + trustPEM(a.Cert),
			"2025-12-02T04:12:02Z", time.Date(2025, 12, 2, 4, 12, 2, 0, time.UTC)},
		{"curl's, newer wording", "## Certificate data from Mozilla last updated on: Thu Jul 16 03:12:01 2026 GMT\n" + trustPEM(a.Cert),
			"2026-07-16T03:12:01Z", time.Date(2026, 7, 16, 3, 12, 1, 0, time.UTC)},
		{"a comment below a block is not the head", trustPEM(a.Cert) + "# Version: 9\n# Updated: 2026-01-02T03:04:05Z\n", "2025-07-01T08:00:00Z", modified},
		{"a hostile version", "# Version: a\x1b[2J" + strings.Repeat("x", 1000) + "\n" + trustPEM(a.Cert), `a\x1b[2J` + strings.Repeat("x", clipped-8) + "...", modified},
	} {
		path := trustFile(t, "list.txt", tc.text)
		require.NoError(t, os.Chtimes(path, modified, modified))
		store := openTrust(t, TrustOptions{System: FileRoots(path)})
		v := store.VersionInfo(SystemCAs)
		require.Equal(t, path, v.Source, tc.why)
		require.Equal(t, tc.version, v.Version, tc.why)
		require.Equal(t, tc.updated, v.Updated, tc.why)
		require.Equal(t, 1, v.Count, tc.why)
	}

	// A system list goes through a file and stays what it is.
	source := trustSourceOf(a, b)
	source.list.Version, source.list.Updated = "v7", trustDays(-9)
	source.list.Roots[1].DistrustAfter = trustDays(-3)
	embedded := openTrust(t, TrustOptions{System: source})
	file := openTrust(t, TrustOptions{System: FileRoots(trustFile(t, "system.txt", trustExport(t, embedded, SystemCAs)))})
	want := embedded.VersionInfo(SystemCAs)
	want.Source = file.VersionInfo(SystemCAs).Source
	require.Equal(t, want, file.VersionInfo(SystemCAs))
	require.Equal(t, trustExport(t, embedded, SystemCAs), trustExport(t, file, SystemCAs))

	require.Equal(t, versionUnknown, openTrust(t, TrustOptions{System: trustSource{list: RootList{Roots: source.list.Roots}}}).VersionInfo(SystemCAs).Version)
	none := openTrust(t, TrustOptions{})
	require.Equal(t, "none", none.VersionInfo(SystemCAs).Source)
	require.Equal(t, "custom", none.VersionInfo(CustomCAs).Source)
	require.Zero(t, none.VersionInfo(CAList(7)))

	// The digest is that of the set and its constraints.
	one := openTrust(t, TrustOptions{System: trustSourceOf(a, b)}).VersionInfo(SystemCAs).SHA256
	require.Equal(t, one, openTrust(t, TrustOptions{System: trustSourceOf(b, a)}).VersionInfo(SystemCAs).SHA256)
	require.NotEqual(t, one, openTrust(t, TrustOptions{System: trustSourceOf(a)}).VersionInfo(SystemCAs).SHA256)
	require.NotEqual(t, one, embedded.VersionInfo(SystemCAs).SHA256)
}

// TestFilesThatAreNoLists are refused.
func TestFilesThatAreNoLists(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	require.NoError(t, os.WriteFile(big, nil, 0o600))
	require.NoError(t, os.Truncate(big, MaxListInput+1))
	for why, tc := range map[string]struct {
		path string
		is   error
	}{
		"missing":   {filepath.Join(dir, "missing"), fs.ErrNotExist},
		"directory": {dir, ErrMalformed},
		"device":    {os.DevNull, ErrMalformed},
		"too large": {big, ErrTooLarge},
	} {
		_, err := FileRoots(tc.path).LoadRoots()
		require.ErrorIs(t, err, tc.is, why)
		require.Contains(t, err.Error(), filepath.Base(tc.path), why)
	}
}

// hostCase tells the test binary, started once more, to be its own host.
const (
	hostCase  = "SMTPSEC_TEST_HOST"
	hostCount = "SMTPSEC_TEST_HOST_COUNT" // empty: the host's roots cannot be listed
)

// TestNoPathFallsBackToTheHost starts this test once more in a process whose host
// trusts a root of ours (Go reads the host's roots once in a process), and shows
// that HostRoots trusts it and that nothing else does.
func TestNoPathFallsBackToTheHost(t *testing.T) {
	if dir := os.Getenv(hostCase); dir != "" {
		testOnAHost(t, dir)
		return
	}
	root := testpki.NewRoot("Host")
	inner := root.Intermediate("Inner")
	leaf := inner.Leaf([]string{"mx.example"})
	for _, tc := range []struct {
		why, directory string
		count          string
	}{
		{"one file", "", "1"},
		{"a directory counts too", trustPEM(testpki.NewRoot("Extra").Cert), "2"},
		{"Go passes over a block with headers, our reader does not",
			strings.Replace(trustPEM(testpki.NewRoot("Odd").Cert), "\n", "\nOdd: yes\n\n", 1), ""},
	} {
		dir := t.TempDir()
		certDir := filepath.Join(dir, "certs")
		require.NoError(t, os.Mkdir(certDir, 0o700))
		for name, text := range map[string]string{
			"host.pem":         trustPEM(root.Cert),
			"chain.pem":        trustPEM(leaf.Chain()...),
			"certs/readme.txt": "no certificate\n",
			"certs/more.pem":   tc.directory,
		} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoPathFallsBackToTheHost$", "-test.v")
		cmd.Env = append(os.Environ(), hostCase+"="+dir, hostCount+"="+tc.count, "SSL_CERT_FILE="+filepath.Join(dir, "host.pem"), "SSL_CERT_DIR="+certDir)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", tc.why, out)
		require.Contains(t, string(out), "--- PASS: TestNoPathFallsBackToTheHost")
	}
}

func testOnAHost(t *testing.T, dir string) {
	read := func(name string) []*x509.Certificate {
		m, err := ReadFile(filepath.Join(dir, name), ReadOptions{List: true})
		require.NoError(t, err)
		return m.Certificates
	}
	chain, roots := read("chain.pem"), read("host.pem")
	trusted := func(v trustChainVerifier) error {
		_, err := v.VerifyChain(chain, trustServer)
		return err
	}
	now := TrustOptions{Now: time.Now}
	host := openTrust(t, TrustOptions{System: HostRoots(), Now: time.Now})
	require.NoError(t, trusted(host), "the host does trust it, so the rest of this test can fail")
	require.True(t, host.Anchored(chain[1]))
	require.Equal(t, "host", host.VersionInfo(SystemCAs).Version)
	n, err := host.Count(SystemCAs)
	if want := os.Getenv(hostCount); want != "" && runtime.GOOS == "linux" {
		require.NoError(t, err)
		require.Equal(t, want, strconv.Itoa(n))
		require.Equal(t, roots[0], trustListed(t, host, SystemCAs)[0])
		require.Equal(t, n, host.VersionInfo(SystemCAs).Count)
		pool, err := x509.SystemCertPool()
		require.NoError(t, err)
		require.True(t, pool.Equal(host.Snapshot().Pool()))
	} else {
		require.ErrorIs(t, err, ErrNotEnumerable)
	}

	stores := map[string]func() *TrustStore{
		"zero":     func() *TrustStore { return new(TrustStore) },
		"nil":      func() *TrustStore { return nil },
		"no lists": func() *TrustStore { return openTrust(t, now) },
		"other lists": func() *TrustStore {
			store := openTrust(t, TrustOptions{System: trustSourceOf(testpki.NewRoot("S")), Now: time.Now})
			trustImport(t, store, trustPEM(testpki.NewRoot("C").Cert))
			return store
		},
		"host disabled": func() *TrustStore {
			store := openTrust(t, TrustOptions{System: HostRoots(), Now: time.Now})
			require.NoError(t, store.Enable(SystemCAs, false))
			return store
		},
		"all disabled": func() *TrustStore {
			store := openTrust(t, TrustOptions{System: HostRoots(), Now: time.Now})
			require.NoError(t, store.Enable(SystemCAs, false))
			require.NoError(t, store.Enable(CustomCAs, false))
			return store
		},
		"host replaced": func() *TrustStore {
			store := openTrust(t, TrustOptions{System: HostRoots(), Now: time.Now})
			_, err := store.ReplaceSystem(trustSourceOf(testpki.NewRoot("S")), ReplaceOptions{Force: true})
			require.NoError(t, err)
			return store
		},
		"custom list emptied": func() *TrustStore {
			store := openTrust(t, now)
			_, err := store.AddCertificates(roots...)
			require.NoError(t, err)
			require.NoError(t, trusted(store))
			require.NoError(t, store.Delete(trustSum(roots[0])))
			return store
		},
		"a source that fails": func() *TrustStore {
			store, err := NewTrustStore(TrustOptions{System: trustSource{err: errors.New("no")}})
			require.Error(t, err)
			return store
		},
	}
	for why, open := range stores {
		store := open()
		require.Error(t, trusted(store), why)
		require.Error(t, trusted(store.Snapshot()), why)
		require.False(t, store.Anchored(chain[1]) || store.Anchored(roots[0]), why)
		inner := x509.NewCertPool()
		inner.AddCert(chain[1])
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: store.Snapshot().Pool(), Intermediates: inner})
		require.Error(t, err, why)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Intermediates: testpki.Pool(&testpki.Authority{Cert: chain[1]})})
	require.NoError(t, err, "what a nil pool would have done")
}

func TestHostPlaces(t *testing.T) {
	files, dirs := hostPlaces("linux", "", "")
	require.Contains(t, files, "/etc/ssl/certs/ca-certificates.crt")
	require.Contains(t, dirs, "/etc/ssl/certs")
	files, dirs = hostPlaces("linux", "/f", "/a:/b")
	require.Equal(t, []string{"/f"}, files)
	require.Equal(t, []string{"/a", "/b"}, dirs)
	files, _ = hostPlaces("freebsd", "", "")
	require.Contains(t, files, "/etc/ssl/cert.pem")
	for _, system := range []string{"windows", "darwin", "ios"} {
		files, dirs = hostPlaces(system, "/f", "/a")
		require.Empty(t, append(files, dirs...), "the platform's verifier decides")
	}
}
