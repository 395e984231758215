package testpki

import (
	"crypto/elliptic"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestChain(t *testing.T) {
	root := NewRoot("Root")
	leaf := root.Intermediate("Two").Intermediate("One").Leaf([]string{"mx.example.com"})
	require.Len(t, leaf.Chain(), 3)
	require.Len(t, leaf.ChainWithRoot(), 4)
	require.Len(t, leaf.TLS().Certificate, 3)
	inter := x509.NewCertPool()
	for _, c := range leaf.Chain()[1:] {
		inter.AddCert(c)
	}
	_, err := leaf.Cert.Verify(x509.VerifyOptions{Roots: Pool(root), Intermediates: inter, DNSName: "mx.example.com"})
	require.NoError(t, err)
	_, err = leaf.Cert.Verify(x509.VerifyOptions{Roots: Pool(NewRoot("Root")), Intermediates: inter})
	require.Error(t, err, "same name, other key")
}

func TestMods(t *testing.T) {
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	key := NewECDSA(elliptic.P384())
	for _, leaf := range []*Leaf{
		NewRoot("Root").Leaf(nil, Valid(start, start.Add(time.Hour)), CommonName("cn.example"), Key(key)),
		SelfSigned(nil, Valid(start, start.Add(time.Hour)), CommonName("cn.example"), Key(key)),
	} {
		require.Equal(t, start, leaf.Cert.NotBefore)
		require.Equal(t, "cn.example", leaf.Cert.Subject.CommonName)
		require.Empty(t, leaf.Cert.DNSNames)
		require.Equal(t, key.Public(), leaf.Cert.PublicKey)
		require.Len(t, leaf.Chain(), 1)
	}
	ed := SelfSigned([]string{"a.example"}, Key(NewEd25519())).Cert
	require.NoError(t, ed.CheckSignature(x509.PureEd25519, ed.RawTBSCertificate, ed.Signature))
}
