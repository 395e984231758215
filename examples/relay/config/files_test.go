package config

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/certs"
	"github.com/smtpsec/smtpsec/internal/testpki"
)

// pkcs12Password opens chain.p12 and locked.key.
const pkcs12Password = "correct horse"

// directory makes a directory with certificates of every sort:
//
//	ca.pem       an authority, which signed the others
//	chain.pem    a good certificate for relay.example, and chain.key
//	other.key    a key without certificate
//	both.pem     chain and key in one file
//	expired.pem  certificate and key, and the time is over
//	young.pem    certificate and key, and the time has not come
//	ending.pem   certificate and key, for some days more
//	open.key     chain.key, readable by everybody
//	chain.p12    chain and key, with password
//	password     that password; empty: an empty file
//	text.pem     no certificate
func directory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	root := testpki.NewRoot("Test Root")
	names := []string{"relay.example"}
	now := time.Now()
	chain := root.Leaf(names)
	expired := root.Leaf(names, testpki.Valid(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)))
	young := root.Leaf(names, testpki.Valid(time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2091, 1, 1, 0, 0, 0, 0, time.UTC)))
	ending := root.Leaf(names, testpki.Valid(now.Add(-time.Hour), now.Add(48*time.Hour)))
	both := slicesConcat(certPEM(chain.Cert), keyPEM(t, chain.Key))
	files := map[string][]byte{
		"ca.pem":      certPEM(root.Cert),
		"chain.pem":   certPEM(chain.Cert),
		"chain.key":   keyPEM(t, chain.Key),
		"other.key":   keyPEM(t, testpki.NewEd25519()),
		"both.pem":    both,
		"expired.pem": slicesConcat(certPEM(expired.Cert), keyPEM(t, expired.Key)),
		"young.pem":   slicesConcat(certPEM(young.Cert), keyPEM(t, young.Key)),
		"ending.pem":  slicesConcat(certPEM(ending.Cert), keyPEM(t, ending.Key)),
		"open.key":    keyPEM(t, chain.Key),
		"chain.p12":   pkcs12(t, both),
		"password":    []byte(pkcs12Password + "\nsecond line\n"),
		"empty":       nil,
		"text.pem":    []byte("no certificate\n"),
		"root.ds":     []byte(". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"),
	}
	for name, data := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "open.key"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "program"), []byte("#!/bin/sh\n"), 0o700))
	return dir
}

func slicesConcat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func keyPEM(t testing.TB, key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// pkcs12 makes a file of a key and its certificate.
func pkcs12(t testing.TB, both []byte) []byte {
	store, err := certs.OpenStore(certs.StoreOptions{})
	require.NoError(t, err)
	_, err = store.ImportPEM("x", both, certs.ImportOptions{})
	require.NoError(t, err)
	data, err := store.ExportPKCS12("x", certs.ExportOptions{Passphrase: []byte(pkcs12Password), Confirm: []byte(pkcs12Password)})
	require.NoError(t, err)
	return data
}

// minimal is the shortest file that has all it needs. Tests add to it.
const minimal = `
hostname = "relay.example"
[[listener]]
name = "smtp"
address = "127.0.0.1:2525"
[[group]]
name = "LOCAL"
senders = ["127.0.0.1"]
policy = "local"
[policy.local]
access = "relay"
[spool]
directory = "spool"
`

// loadText loads a text as a file in a directory.
func loadText(t testing.TB, dir, text string) (*Config, []Problem) {
	t.Helper()
	path := filepath.Join(dir, "relay.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	c, err := Load(path)
	if err == nil {
		require.NotNil(t, c)
		for _, w := range c.Warnings {
			require.True(t, w.Warning)
		}
		return c, c.Warnings
	}
	require.Nil(t, c)
	require.IsType(t, &Error{}, err)
	problems := err.(*Error).Problems
	inside(t, text, problems)
	return nil, problems
}

// inside checks that every problem has a place in the file, and that one at least is
// no warning.
func inside(t testing.TB, text string, problems []Problem) {
	t.Helper()
	bad := 0
	for i, p := range problems {
		require.GreaterOrEqual(t, p.Line, 1, "%v", p)
		require.LessOrEqual(t, p.Line, 1+strings.Count(text, "\n"), "%v", p)
		require.NotContains(t, p.String(), "\n")
		require.NotEmpty(t, p.Text)
		if i > 0 {
			require.LessOrEqual(t, problems[i-1].Line, p.Line, "in the order of the lines")
		}
		if !p.Warning {
			bad++
		}
	}
	require.Positive(t, bad)
}
