package certs

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// storeBackings are what every test of the store runs over.
var storeBackings = map[string]func(testing.TB) Storage{
	"memory": func(testing.TB) Storage { return NewMemory() },
}

// overBackings runs a test over each backing.
func overBackings(t *testing.T, test func(*testing.T, Storage)) {
	for name, backing := range storeBackings {
		t.Run(name, func(t *testing.T) { test(t, backing(t)) })
	}
}

func openStore(t testing.TB, o StoreOptions) *Store {
	t.Helper()
	s, err := OpenStore(o)
	require.NoError(t, err)
	return s
}

// storeEvents collects events.
type storeEvents struct {
	mu   sync.Mutex
	list []Event
}

func (c *storeEvents) add(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, e)
}

// take returns the events since the last call.
func (c *storeEvents) take() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

func (c *storeEvents) kinds() (kinds []EventKind) {
	for _, e := range c.take() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// created makes a self-signed entry.
func created(t testing.TB, s *Store, name string) {
	t.Helper()
	_, err := s.CreateSelfSigned(name, Form{CommonName: name, Days: 90})
	require.NoError(t, err)
}

// signRequest is an authority's answer to a request.
func signRequest(t testing.TB, a *testpki.Authority, request []byte, mods ...testpki.Mod) *x509.Certificate {
	t.Helper()
	csr := parseRequest(t, request)
	mods = append([]testpki.Mod{testpki.Key(publicOnly{csr.PublicKey}), testpki.Template(func(c *x509.Certificate) { c.Subject = csr.Subject })}, mods...)
	return a.Leaf(csr.DNSNames, mods...).Cert
}

func parseRequest(t testing.TB, request []byte) *x509.CertificateRequest {
	t.Helper()
	csr, err := x509.ParseCertificateRequest(pemDER(t, request))
	require.NoError(t, err)
	require.NoError(t, csr.CheckSignature())
	return csr
}

// storedPEM returns certificates as PEM.
func storedPEM(certs ...*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = appendCertificatePEM(out, c)
	}
	return out
}

// detail returns everything about an entry.
func detail(t testing.TB, s *Store, name string) EntryDetail {
	t.Helper()
	d, err := s.Detail(name)
	require.NoError(t, err)
	return d
}

// storePair returns key and chain of a leaf as PEM.
func storePair(t testing.TB, leaf *testpki.Leaf) []byte {
	t.Helper()
	key, err := NewPrivateKey(leaf.Key)
	require.NoError(t, err)
	data, err := (&pair{key: key, chain: leaf.Chain()}).encode()
	require.NoError(t, err)
	return data
}

// storeClock is a clock that tests move.
type storeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newStoreClock() *storeClock { return &storeClock{now: time.Now().Truncate(time.Second)} }

func (c *storeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *storeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// publicOnly is a key of which an authority sees the public half.
type publicOnly struct{ public crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.public }

func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the private half is somewhere else")
}

func pemDER(t testing.TB, data []byte) []byte {
	t.Helper()
	block, rest := pem.Decode(data)
	require.NotNil(t, block)
	require.Empty(t, rest)
	return block.Bytes
}
