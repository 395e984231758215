package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// trustNoon is the time at which the trust tests happen.
var trustNoon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func trustDays(n float64) time.Time {
	return trustNoon.Add(time.Duration(n * 24 * float64(time.Hour)))
}

func trustValid(from, to float64) testpki.Mod {
	return testpki.Valid(trustDays(from), trustDays(to))
}

func trustRoot(cn string, mods ...testpki.Mod) *testpki.Authority {
	return testpki.NewRoot(cn, append([]testpki.Mod{trustValid(-1000, 1000)}, mods...)...)
}

// trustClock stands until it is set.
type trustClock struct{ at atomic.Pointer[time.Time] }

func newTrustClock(at time.Time) *trustClock {
	c := &trustClock{}
	c.set(at)
	return c
}

func (c *trustClock) set(at time.Time) { c.at.Store(&at) }
func (c *trustClock) now() time.Time   { return *c.at.Load() }

// trustSource is a list in memory.
type trustSource struct {
	list RootList
	err  error
}

func (s trustSource) LoadRoots() (RootList, error) { return s.list, s.err }

func trustSourceOf(authorities ...*testpki.Authority) trustSource {
	s := trustSource{list: RootList{Source: "test", Version: "1"}}
	for _, a := range authorities {
		s.list.Roots = append(s.list.Roots, Root{Certificate: a.Cert})
	}
	return s
}

// trustMemory is the storage of a list in memory. A fault is what the next
// writes answer.
type trustMemory struct {
	list, settings []byte
	readFault      error
	fault          error
	writes         int
}

func (m *trustMemory) read(data []byte) ([]byte, error) {
	if m.readFault != nil {
		return nil, m.readFault
	}
	if data == nil {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(data), nil
}

func (m *trustMemory) write(to *[]byte, data []byte) error {
	if m.fault != nil {
		return m.fault
	}
	m.writes++
	*to = bytes.Clone(data)
	return nil
}

func (m *trustMemory) ReadList() ([]byte, error)     { return m.read(m.list) }
func (m *trustMemory) ReadSettings() ([]byte, error) { return m.read(m.settings) }
func (m *trustMemory) WriteList(text []byte) error   { return m.write(&m.list, text) }
func (m *trustMemory) WriteSettings(d []byte) error  { return m.write(&m.settings, d) }

func openTrust(t testing.TB, o TrustOptions) *TrustStore {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return trustNoon }
	}
	store, err := NewTrustStore(o)
	require.NoError(t, err)
	return store
}

func trustPEM(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, cert := range certs {
		b.Write(appendCertificatePEM(nil, cert))
	}
	return b.String()
}

func trustImport(t testing.TB, store *TrustStore, text string) ListReport {
	t.Helper()
	report, err := store.Import(strings.NewReader(text), CAImportOptions{})
	require.NoError(t, err)
	return report
}

func trustExport(t testing.TB, store *TrustStore, list CAList) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, store.Export(&b, list))
	return b.String()
}

func trustSum(cert *x509.Certificate) [sha256.Size]byte { return sha256.Sum256(cert.Raw) }

func trustCodes(findings []Finding, cert *x509.Certificate) []Code {
	var codes []Code
	for _, f := range findings {
		if f.Cert == trustSum(cert) {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

func trustListed(t testing.TB, store *TrustStore, list CAList) []*x509.Certificate {
	t.Helper()
	authorities, err := store.Authorities(list)
	require.NoError(t, err)
	certs := make([]*x509.Certificate, len(authorities))
	for i, a := range authorities {
		certs[i] = a.Certificate
	}
	return certs
}

const trustServer = x509.ExtKeyUsageServerAuth

func requireTrusted(t testing.TB, v interface {
	VerifyChain([]*x509.Certificate, x509.ExtKeyUsage) ([]*x509.Certificate, error)
}, leaf *testpki.Leaf, why string) {
	t.Helper()
	path, err := v.VerifyChain(leaf.Chain(), trustServer)
	require.NoError(t, err, why)
	require.Equal(t, leaf.ChainWithRoot(), path, why)
}

func requireUntrusted(t testing.TB, v interface {
	VerifyChain([]*x509.Certificate, x509.ExtKeyUsage) ([]*x509.Certificate, error)
}, leaf *testpki.Leaf, why string) {
	t.Helper()
	path, err := v.VerifyChain(leaf.Chain(), trustServer)
	require.Error(t, err, why)
	require.Nil(t, path, why)
}
