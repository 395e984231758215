package pbe_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

// A file that testdata/make.sh makes, and what must come of it.
type file struct {
	name, why string
	pass      string // "test-only" when ""; "-" is the empty passphrase
	err       error
	oid       string // expected UnsupportedError
}

var files = []file{
	{name: "aes128", why: "PBES2"},
	{name: "aes192", why: "PBES2"},
	{name: "aes256", why: "PBES2, HMAC-SHA-256"},
	{name: "des3", why: "PBES2, triple DES"},
	{name: "hmac-sha1", why: "pseudorandom function left at its default"},
	{name: "hmac-sha224", why: "pseudorandom function"},
	{name: "hmac-sha384", why: "pseudorandom function"},
	{name: "hmac-sha512", why: "pseudorandom function"},
	{name: "iterations", why: "100,000 iterations"},
	{name: "scrypt", why: "N 16384, r 8, p 1"},
	{name: "scrypt-costly", why: "N 1024, r 16, p 4"},
	{name: "pbe-3des", why: "PKCS #12 scheme"},
	{name: "pbe-rc2-40", why: "PKCS #12 scheme"},
	{name: "pbe-quick", why: "one iteration"},
	{name: "pbe-rc2-128", why: "PKCS #12 scheme"},
	{name: "empty", why: "empty passphrase", pass: "-"},
	{name: "empty-pbe", why: "empty passphrase, UTF-16", pass: "-"},
	{name: "utf8", why: "octets as they are", pass: "pässwörd€ 🔑"},
	{name: "utf8-pbe", why: "UTF-16 with a surrogate pair", pass: "pässwörd€ 🔑"},
	{name: "aes256", why: "wrong", pass: "x", err: pbe.ErrPassphrase},
	{name: "aes256", why: "empty", pass: "-", err: pbe.ErrPassphrase},
	{name: "scrypt", why: "wrong", pass: "x", err: pbe.ErrPassphrase},
	{name: "pbe-3des", why: "wrong", pass: "x", err: pbe.ErrPassphrase},
	{name: "utf8", why: "Latin-1 is just wrong with PBES2", pass: "p\xe4ss", err: pbe.ErrPassphrase},
	{name: "utf8-pbe", why: "Latin-1 has no UTF-16 form", pass: "p\xe4ss", err: pbe.ErrCharset},
	{name: "plain", why: "not encrypted", err: pbe.ErrMalformed},
	{name: "pbe-rc4", why: "RC4", oid: "1.2.840.113549.1.12.1.1"},
	{name: "pbe-2des", why: "two-key triple DES", oid: "1.2.840.113549.1.12.1.4"},
	{name: "pbes1-md5-des", why: "PBES1", oid: "1.2.840.113549.1.5.3"},
	{name: "pbes1-sha1-des", why: "PBES1", oid: "1.2.840.113549.1.5.10"},
	{name: "camellia", why: "Camellia", oid: "1.2.392.200011.61.1.1.1.4"},
	{name: "aria", why: "a cipher not even known by name", oid: "1.2.410.200046.1.1.12"},
}

func (f file) passphrase() []byte {
	switch f.pass {
	case "":
		return []byte("test-only")
	case "-":
		return nil
	}
	return []byte(f.pass)
}

func (f file) check(t *testing.T, dir string) {
	der, err := os.ReadFile(filepath.Join(dir, f.name+".p8"))
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join(dir, "plain.p8"))
	require.NoError(t, err)
	got, err := pbe.DecryptPKCS8(der, f.passphrase(), pbe.Limits{})
	switch {
	case f.err != nil:
		require.ErrorIs(t, err, f.err)
		require.Nil(t, got)
	case f.oid != "":
		var unsupported *pbe.UnsupportedError
		require.ErrorAs(t, err, &unsupported)
		require.Equal(t, f.oid, unsupported.OID)
	default:
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestFiles reads what OpenSSL wrote.
func TestFiles(t *testing.T) {
	for _, f := range files {
		t.Run(f.name+"/"+f.why, func(t *testing.T) { f.check(t, "testdata") })
	}
}

// TestWrongPassphrase: about every 256th wrong passphrase gives right padding.
// It must be found out all the same.
func TestWrongPassphrase(t *testing.T) {
	der, err := os.ReadFile("testdata/pbe-quick.p8")
	require.NoError(t, err)
	for i := range 5000 {
		_, err = pbe.DecryptPKCS8(der, []byte(strconv.Itoa(i)), pbe.Limits{})
		require.ErrorIs(t, err, pbe.ErrPassphrase)
	}
}

func TestTooLarge(t *testing.T) {
	_, err := pbe.DecryptPKCS8(make([]byte, pbe.MaxPKCS8+1), nil, pbe.Limits{})
	require.ErrorIs(t, err, pbe.ErrTooLarge)
}

func TestLimits(t *testing.T) {
	der, err := os.ReadFile("testdata/aes256.p8") // 2,048 iterations
	require.NoError(t, err)
	for _, tc := range []struct {
		why    string
		limits pbe.Limits
		err    error
	}{
		{"just enough", pbe.Limits{Iterations: 2048, Work: 2048}, nil},
		{"count above", pbe.Limits{Iterations: 2047}, pbe.ErrIterations},
		{"sum above", pbe.Limits{Work: 2047}, pbe.ErrIterations},
		{"cannot be raised, nor made negative", pbe.Limits{Iterations: -1, Work: -1}, nil},
	} {
		t.Run(tc.why, func(t *testing.T) {
			_, err := pbe.DecryptPKCS8(der, []byte("test-only"), tc.limits)
			require.ErrorIs(t, err, tc.err)
		})
	}
}

// FuzzDecryptPKCS8: no panic, and what comes out is a PrivateKeyInfo in DER.
func FuzzDecryptPKCS8(f *testing.F) {
	for _, file := range files {
		der, err := os.ReadFile("testdata/" + file.name + ".p8")
		require.NoError(f, err)
		f.Add(der, []byte("test-only"))
	}
	f.Fuzz(func(t *testing.T, der, passphrase []byte) {
		key, err := pbe.DecryptPKCS8(der, passphrase, pbe.Limits{Iterations: 5000})
		if err != nil {
			return
		}
		e, err := ber.Parse(key, new(ber.Counter))
		require.NoError(t, err)
		again, err := pbe.PrivateKeyInfo(e)
		require.NoError(t, err)
		require.Equal(t, key, again)
	})
}
