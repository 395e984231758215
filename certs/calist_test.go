package certs

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/testpki"
)

// TestChapterViewCountDetailsDownloadOne: what the chapter's pages about authorities show.
func TestChapterViewCountDetailsDownloadOne(t *testing.T) {
	serial := testpki.Template(func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x0badcafe) })
	ec := trustRoot("EC", serial, testpki.Key(testpki.NewECDSA(elliptic.P384())))
	rsa := trustRoot("RSA", testpki.Key(testpki.NewRSA(2048)))
	ed := trustRoot("Ed", testpki.Key(testpki.NewEd25519()), trustValid(-20, -10))
	inner := ec.Intermediate("Inner\nside", trustValid(-5, 5))
	store := openTrust(t, TrustOptions{System: trustSourceOf(rsa, ec)})
	trustImport(t, store, trustPEM(ec.Cert, ed.Cert, inner.Cert))

	n, err := store.Count(SystemCAs)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = store.Count(CustomCAs)
	require.NoError(t, err)
	require.Equal(t, 3, n)

	custom, err := store.Authorities(CustomCAs)
	require.NoError(t, err)
	require.Len(t, custom, 3)
	got := custom[0]
	got.Findings = nil
	require.Equal(t, Authority{
		Certificate: ec.Cert, List: CustomCAs, Subject: "CN=EC", Issuer: "CN=EC", Serial: "0b:ad:ca:fe",
		NotBefore: trustDays(-1000), NotAfter: trustDays(1000), KeyKind: "ECDSA", KeyBits: 384,
		SignatureAlgorithm: "ECDSA-SHA384", SHA256: trustSum(ec.Cert),
	}, got)
	require.Equal(t, "Ed25519 256", fmt.Sprint(custom[1].KeyKind, " ", custom[1].KeyBits))
	require.Contains(t, trustCodes(custom[1].Findings, ed.Cert), FindingExpired)
	require.Equal(t, `CN=Inner\nside`, custom[2].Subject)
	require.Equal(t, "CN=EC", custom[2].Issuer)

	system, err := store.Detail(trustSum(rsa.Cert))
	require.NoError(t, err)
	require.Equal(t, SystemCAs, system.List)
	require.Equal(t, "RSA 2048", fmt.Sprint(system.KeyKind, " ", system.KeyBits))
	both, err := store.Detail(trustSum(ec.Cert))
	require.NoError(t, err)
	require.Equal(t, CustomCAs, both.List, "the operator's copy is the one that counts")

	text, err := store.PEM(trustSum(rsa.Cert))
	require.NoError(t, err)
	block, rest := pem.Decode(text)
	require.Equal(t, "CERTIFICATE", block.Type)
	require.Equal(t, rsa.Cert.Raw, block.Bytes)
	require.Empty(t, rest)
	_, err = store.PEM([32]byte{1})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = store.Detail([32]byte{1})
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, "system custom CAList(0)", fmt.Sprint(SystemCAs, " ", CustomCAs, " ", CAList(0)))
}

// bigList makes n authorities that share a key, the last of which signs a leaf.
func bigList(t testing.TB, n int) (certs []*x509.Certificate, leaf *testpki.Leaf) {
	t.Helper()
	key := testpki.Key(testpki.NewECDSA(elliptic.P256()))
	certs = make([]*x509.Certificate, n)
	var last *testpki.Authority
	for i := range certs {
		last = trustRoot(fmt.Sprintf("root-%d.example", i), key)
		certs[i] = last.Cert
	}
	return certs, last.Leaf([]string{"mx.example"}, trustValid(-1, 1))
}

// TestBigList: a list goes in, out, into the storage and back, and verifies. The
// benchmark below does so with as many certificates as a list may have.
func TestBigList(t *testing.T) {
	n := 2000
	if raceEnabled {
		n = 200
	}
	certs, leaf := bigList(t, n)
	storage := &trustMemory{}
	store := openTrust(t, TrustOptions{Storage: storage})
	report := trustImport(t, store, trustPEM(certs...))
	require.Len(t, report.Added, n)
	requireTrusted(t, store, leaf, "imported")
	again := openTrust(t, TrustOptions{Storage: storage})
	requireTrusted(t, again, leaf, "stored")
	require.Equal(t, store.VersionInfo(CustomCAs), again.VersionInfo(CustomCAs))
	require.Equal(t, string(storage.list), trustExport(t, again, CustomCAs))
}

func TestMoreThanAListMayHave(t *testing.T) {
	full := &caList{entries: make([]caEntry, MaxListCertificates+1)}
	require.ErrorIs(t, writeStoredList(nil, full), ErrTooLarge)
}

// BenchmarkImport10000 imports as many certificates as a list may have, from text,
// and verifies a chain of the last one.
func BenchmarkImport10000(b *testing.B) {
	certs, leaf := bigList(b, MaxListCertificates)
	text := trustPEM(certs...)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		store := openTrust(b, TrustOptions{})
		trustImport(b, store, text)
		requireTrusted(b, store, leaf, "imported")
	}
}
