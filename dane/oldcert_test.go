package dane

import (
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// crypto/x509 makes neither version 1 certificates nor SHA-1 signatures, so
// these take a certificate apart and sign it again.

type tbsCertificate struct {
	Version      int `asn1:"optional,explicit,default:0,tag:0"`
	SerialNumber *big.Int
	Algorithm    pkix.AlgorithmIdentifier
	Issuer       asn1.RawValue
	Validity     asn1.RawValue
	Subject      asn1.RawValue
	PublicKey    asn1.RawValue
	Extensions   asn1.RawValue // with its [3]
}

type signedCertificate struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

var (
	ecdsaWithSHA1   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	ecdsaWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// resigned returns a version 3 certificate signed again by an EC key, with
// another algorithm or without version and extensions.
func resigned(t testing.TB, cert *x509.Certificate, key crypto.Signer, algorithm asn1.ObjectIdentifier, version1 bool) *x509.Certificate {
	t.Helper()
	var tbs tbsCertificate
	_, err := asn1.Unmarshal(cert.RawTBSCertificate, &tbs)
	require.NoError(t, err)
	tbs.Algorithm = pkix.AlgorithmIdentifier{Algorithm: algorithm}
	fields := []any{tbs.SerialNumber, tbs.Algorithm, tbs.Issuer, tbs.Validity, tbs.Subject, tbs.PublicKey}
	if !version1 {
		fields = append([]any{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: []byte{2, 1, 2}}}, fields...)
		fields = append(fields, tbs.Extensions)
	}
	body := sequence(t, fields)
	var digest []byte
	hash := crypto.SHA256
	if algorithm.Equal(ecdsaWithSHA1) {
		sum := sha1.Sum(body)
		digest, hash = sum[:], crypto.SHA1
	} else {
		sum := sha256.Sum256(body)
		digest = sum[:]
	}
	signature, err := key.Sign(rand.Reader, digest, hash)
	require.NoError(t, err)
	der, err := asn1.Marshal(signedCertificate{
		asn1.RawValue{FullBytes: body}, tbs.Algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	require.NoError(t, err)
	out, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return out
}

func sequence(t testing.TB, fields []any) []byte {
	t.Helper()
	var inner []byte
	for _, f := range fields {
		b, err := asn1.Marshal(f)
		require.NoError(t, err)
		inner = append(inner, b...)
	}
	b, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: inner})
	require.NoError(t, err)
	return b
}

func TestSHA1Chain(t *testing.T) {
	root := testpki.NewRoot("Root")
	leaf := resigned(t, newLeaf(root).Cert, root.Key, ecdsaWithSHA1, false)
	require.Equal(t, x509.ECDSAWithSHA1, leaf.SignatureAlgorithm)
	require.NoError(t, root.Cert.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature), "genuine")
	chain := serial(leaf, root.Cert)
	mismatched(t, judge(t, Options{}, []Record{ta211(t, root.Cert)}, chain), ReasonWeakSignature, "anchor")
	mismatched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, root.Cert)}, serial(leaf)), ReasonNoMatch, "bare key")
	matched(t, judge(t, Options{}, []Record{ee311(t, leaf)}, chain), 0, 0, "usage 3 looks at no signature")

	weakRoot := resigned(t, root.Cert, root.Key, ecdsaWithSHA1, false)
	matched(t, judge(t, Options{}, []Record{ta211(t, root.Cert)}, serial(newLeaf(root).Cert, weakRoot)), 0, 1, "the anchor's own signature does not count")
}

// A version 1 certificate has no basicConstraints: good as an anchor, but
// nowhere else above the leaf.
func TestVersion1(t *testing.T) {
	root := testpki.NewRoot("Root")
	inter := root.Intermediate("Intermediate")
	leaf := newLeaf(inter).Cert
	link := resigned(t, inter.Cert, root.Key, ecdsaWithSHA256, true)
	require.Equal(t, 1, link.Version)
	chain := serial(leaf, link, root.Cert)
	matched(t, judge(t, Options{}, []Record{ta211(t, link)}, chain), 0, 1, "version 1 as anchor")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 0, 0, link)}, serial(leaf)), 0, 1, "and not sent")
	mismatched(t, judge(t, Options{}, []Record{ta211(t, root.Cert)}, chain), ReasonNotCA, "version 1 as intermediate")
	mismatched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, root.Cert)}, serial(leaf, link)), ReasonNoMatch,
		"a bare key signed it: crypto/x509 alone would take it for a root")
	matched(t, judge(t, Options{}, []Record{record(t, 2, 1, 0, link)}, serial(leaf)), 0, 0, "its own bare key signed the leaf")
}
