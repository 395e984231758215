package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// opaqueSigner is a key in hardware, for example.
type opaqueSigner struct{ crypto.Signer }

func (opaqueSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, io.EOF }

func TestNewPrivateKey(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	small := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1022), E: 65537}}
	for _, tc := range []struct {
		why string
		key crypto.Signer
		is  error // nil: *UnsupportedError
	}{
		{"nil", nil, ErrNoKey},
		{"nil RSA key", (*rsa.PrivateKey)(nil), ErrNoKey},
		{"empty RSA key", &rsa.PrivateKey{}, ErrNoKey},
		{"nil ECDSA key", (*ecdsa.PrivateKey)(nil), ErrNoKey},
		{"empty Ed25519 key", ed25519.PrivateKey{}, ErrNoKey},
		{"RSA of 1,023 bits: crypto/tls would fail in the handshake", small, nil},
		{"P-224", p224, nil},
		{"a key that cannot be stored", opaqueSigner{p224}, nil},
	} {
		key, err := NewPrivateKey(tc.key)
		require.True(t, key.IsZero(), tc.why)
		if tc.is != nil {
			require.ErrorIs(t, err, tc.is, tc.why)
		} else {
			var unsupported *UnsupportedError
			require.ErrorAs(t, err, &unsupported, tc.why)
		}
	}
	key, err := NewPrivateKey(testpki.NewECDSA(elliptic.P256()))
	require.NoError(t, err)
	again, err := NewPrivateKey(key)
	require.NoError(t, err)
	require.Equal(t, key, again, "wrapped once")
	require.Equal(t, redacted, key.String())
}

func TestPrivateKeySigns(t *testing.T) {
	signer := testpki.NewECDSA(elliptic.P256())
	key := must(NewPrivateKey(signer))
	digest := sha256.Sum256([]byte("message"))
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], signature))
}

func TestZeroPrivateKey(t *testing.T) {
	var key PrivateKey
	require.True(t, key.IsZero())
	require.Nil(t, key.Public())
	_, err := key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, ErrNoKey)
	_, err = key.appendPEM(nil)
	require.ErrorIs(t, err, ErrNoKey)
	require.Equal(t, redacted, key.String())
	require.Equal(t, "no key", keyKind(key.Public()))
}

func TestErrorTexts(t *testing.T) {
	root := testpki.NewRoot("Old Root").Cert
	moment := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, err := range map[string]error{
		"certs: line 3: block 2 (CERTIFICATE): malformed": &ParseError{Line: 3, Block: 2, Label: "CERTIFICATE", Err: ErrMalformed},
		"certs: malformed": &ParseError{Err: ErrMalformed},
		"certs: a thing (OID 1.2.3) is not supported; convert it: cp a b":                   &ParseError{Err: &UnsupportedError{What: "a thing", OID: "1.2.3", Hint: "cp a b"}},
		`certs: Country "USA": two letters`:                                                 &FieldError{Field: "Country", Value: "USA", Problem: "two letters"},
		"certs: no name to validate: neither a common name nor a dNSName":                   &FQDNError{},
		`certs: not fully qualified: CN "x" (rule 2): bad`:                                  &FQDNError{Names: []FQDNFailure{{"CN", "x", 2, errors.New("bad")}}},
		`certs: root "CN=Old Root" is not trusted for certificates issued after 2030-01-02`: &ConstraintError{Root: root, Cutoff: moment},
		"certs: too early: old TLSA records may be cached until 2030-01-02T03:04:05Z":       &TooEarlyError{Until: moment},
	} {
		require.EqualError(t, err, want)
	}
	// The prefix stands once, and the place in front of the line.
	path := filepath.Join(t.TempDir(), "a.pem")
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	_, file := ReadFile(path, ReadOptions{})
	_, roots := FileRoots(path).LoadRoots()
	_, stored := NewTrustStore(TrustOptions{Storage: &trustMemory{list: []byte("x")}})
	_, device := Read(&endless{}, ReadOptions{})
	_, source := NewTrustStore(TrustOptions{System: trustSource{list: RootList{Source: "test", Roots: []Root{{}}}}})
	for _, err := range []error{file, roots, stored, device, source} {
		require.Equal(t, 1, strings.Count(err.Error(), "certs: "), "%v", err)
		require.True(t, strings.HasPrefix(err.Error(), "certs: "), "%v", err)
	}
	require.ErrorContains(t, file, fmt.Sprintf("%q: line 1: ", path))
	for _, zero := range []error{&ParseError{}, &ConstraintError{}, &FQDNError{Names: make([]FQDNFailure, 1)}, &FieldError{}, &UnsupportedError{}, &TooEarlyError{}, &UpdateError{}} {
		require.NotEmpty(t, zero.Error(), "%T", zero)
	}
}

func TestWorst(t *testing.T) {
	_, any := Worst(nil)
	require.False(t, any)
	worst, any := Worst([]Finding{{Severity: SeverityInfo}, {Severity: SeverityWarning}, {Severity: SeverityInfo}})
	require.True(t, any)
	require.Equal(t, SeverityWarning, worst)
	require.Equal(t, "warning: expired", Finding{Code: FindingExpired, Severity: SeverityWarning}.String())
	require.Equal(t, "info: unused: x", Finding{Code: FindingUnused, Detail: "x"}.String())
	require.Equal(t, "Severity(9)", Severity(9).String())
}
