package p12_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/smtpsec/smtpsec/internal/p12"
)

// TestGoPKCS12 reads what go-pkcs12 writes, which is what package certs exports.
func TestGoPKCS12(t *testing.T) {
	in, err := os.ReadFile("testdata/openssl-default.p12")
	require.NoError(t, err)
	key, leaf, others, err := pkcs12.DecodeChain(in, testPass)
	require.NoError(t, err)
	chain := append([]*x509.Certificate{leaf}, others...)
	for _, tc := range []struct {
		why, pass string
		encoder   *pkcs12.Encoder
		noMAC     bool
	}{
		{"LegacyRC2", testPass, pkcs12.LegacyRC2, false},
		{"LegacyDES", testPass, pkcs12.LegacyDES, false},
		{"Modern2023", testPass, pkcs12.Modern2023, false},
		{"Modern2026, PBMAC1", testPass, pkcs12.Modern2026, false},
		{"Passwordless", "", pkcs12.Passwordless, true},
		{"empty passphrase", "", pkcs12.Modern2023, false},
		{"UTF-8, old", "pässwörd€", pkcs12.LegacyDES, false},
		{"UTF-8", "pässwörd€", pkcs12.Modern2023, false},
		{"UTF-8, PBMAC1", "pässwörd€", pkcs12.Modern2026, false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			in, err := tc.encoder.Encode(key, leaf, others, tc.pass)
			require.NoError(t, err)
			c, err := p12.Decode(in, []byte(tc.pass), p12.Options{AllowNoMAC: tc.noMAC})
			require.NoError(t, err)
			require.Equal(t, tc.noMAC, c.NoMAC)
			require.Len(t, c.Keys, 1)
			private, err := c.Keys[0].Private()
			require.NoError(t, err)
			require.Equal(t, key, private)
			require.Len(t, c.Certificates, len(chain))
			for i, x := range c.Certificates {
				require.Equal(t, chain[i].Raw, x.DER)
			}
			require.Equal(t, c.Keys[0].LocalKeyID, c.Certificates[0].LocalKeyID)
			agree(t, in, tc.pass, true)
			if !tc.noMAC {
				_, err = p12.Decode(in, []byte("wrong"), p12.Options{})
				require.ErrorIs(t, err, p12.ErrPassphrase)
			}
		})
	}
	t.Run("trust store", func(t *testing.T) {
		in, err := pkcs12.Modern2023.WithRand(rand.Reader).EncodeTrustStore(chain, testPass)
		require.NoError(t, err)
		agree(t, in, testPass, true)
		c, err := p12.Decode(in, []byte(testPass), p12.Options{})
		require.NoError(t, err)
		require.Len(t, c.Certificates, len(chain))
	})
}

// TestAgreement holds our reading of every file in testdata against that of
// go-pkcs12, wherever it has one.
func TestAgreement(t *testing.T) {
	read := 0
	for _, program := range []string{"openssl", "keytool"} { // none of the others' are read by it
		for _, f := range files[program] {
			in, err := os.ReadFile(filepath.Join("testdata", f.name))
			require.NoError(t, err)
			if agree(t, in, string(f.passphrase()), true) {
				read++
			}
		}
	}
	require.GreaterOrEqual(t, read, 17, "go-pkcs12 reads most of OpenSSL's files with a passphrase")
}

// agree reports whether go-pkcs12 reads the file, after checking that it reads
// the same as we do. bothWays also checks that we read what it reads; not for
// files that name counts which go-pkcs12 would work off whatever their size.
func agree(t testing.TB, in []byte, pass string, bothWays bool) bool {
	c, err := p12.Decode(in, []byte(pass), p12.Options{AllowNoMAC: true})
	if err != nil && !bothWays {
		return false
	}
	private, leaf, others, theirs := pkcs12.DecodeChain(in, pass)
	certs := append([]*x509.Certificate{leaf}, others...)
	if theirs != nil {
		private = nil
		if certs, theirs = pkcs12.DecodeTrustStore(in, pass); theirs != nil {
			return false
		}
	}
	require.NoError(t, err, "go-pkcs12 reads it")
	require.Len(t, c.Certificates, len(certs))
	for i, x := range c.Certificates {
		require.Equal(t, certs[i].Raw, x.DER)
	}
	if private != nil {
		require.Len(t, c.Keys, 1)
		ours, err := c.Keys[0].Private()
		require.NoError(t, err)
		require.True(t, ours.(interface{ Equal(crypto.PrivateKey) bool }).Equal(private))
	}
	return true
}

// costly reports whether a file may name an iteration count besides that of its MAC.
func costly(in []byte) bool {
	return bytes.Contains(in, []byte(arcPBE)) || bytes.Contains(in, []byte(idPBKDF2[:len(idPBKDF2)-1]))
}
