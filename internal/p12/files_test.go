package p12_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12"
)

// testPass opens every file of testdata that does not name another one.
const testPass = "test-only"

// A file that testdata/make.sh makes, and what must come out of it.
type file struct {
	name, why  string
	pass       string // testPass when ""; "-" is the empty passphrase
	keys       string // files of the certificates that the keys belong to, in order, without .crt
	certs      string // files of the certificates, in any order
	names      string // friendly names of keys and certificates, in any order; "" is not looked at
	secrets    int
	allowNoMAC bool
	notKept    bool   // not in testdata, since 600,000 iterations for each part take their time
	err        error  // expected failure
	oid        string // expected UnsupportedError
	format     string // expected FormatError
}

// files by program; the programs are the functions of testdata/make.sh.
var files = map[string][]file{
	"openssl": {
		{name: "openssl-default.p12", why: "PBES2 AES-256, MAC SHA-256", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-legacy.p12", why: "RC2-40 and triple DES, MAC SHA-1", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-descert.p12", why: "certificates under triple DES", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-rc2-128.p12", why: "RC2-128", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-sha224.p12", why: "MAC SHA-224, AES-192", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-sha384.p12", why: "MAC SHA-384, block of 128 octets; PBES2 triple DES", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-sha512.p12", why: "MAC SHA-512, AES-128", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-certpbe-none.p12", why: "certificates in the clear", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-keypbe-none.p12", why: "key bag in the clear", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-both-none.p12", why: "nothing encrypted, MAC only", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-nomac.p12", why: "refused by default", err: p12.ErrNoMAC},
		{name: "openssl-nomac.p12", why: "allowed", allowNoMAC: true, keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-nomac-3des.p12", why: "allowed, old schemes", allowNoMAC: true, keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-nomac.p12", why: "padding decides", pass: "wrong", allowNoMAC: true, err: p12.ErrPassphrase},
		{name: "openssl-nomac-3des.p12", why: "padding decides", pass: "wrong", allowNoMAC: true, err: p12.ErrPassphrase},
		{name: "openssl-nomaciter.p12", why: "iteration count absent means 1", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-names.p12", why: "friendly names", keys: "leaf", certs: "leaf inter root", names: "Zürich €|Zürich €|first|second"},
		{name: "openssl-microsoft.p12", why: "CSP name and local machine attributes", keys: "leaf", certs: "leaf inter root", names: "microsoft|microsoft||"},
		{name: "openssl-empty.p12", why: "empty passphrase", pass: "-", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-empty.p12", why: "not the empty one", err: p12.ErrPassphrase},
		{name: "openssl-empty-legacy.p12", why: "empty passphrase, UTF-16 form everywhere", pass: "-", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-default.p12", why: "empty on a protected file", pass: "-", err: p12.ErrPassphrase},
		{name: "openssl-default.p12", why: "wrong", pass: "test-onlY", err: p12.ErrPassphrase},
		{name: "openssl-legacy.p12", why: "wrong", pass: "test-onlY", err: p12.ErrPassphrase},
		{name: "openssl-utf8.p12", why: "UTF-8 in PBKDF2, UTF-16 in the MAC", pass: "pässwörd€", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-utf8-legacy.p12", why: "UTF-16", pass: "pässwörd€", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-utf8.p12", why: "Latin-1 is not UTF-8", pass: "p\xe4ssw\xf6rd", err: p12.ErrCharset},
		{name: "openssl-astral.p12", why: "surrogate pair in the MAC", pass: "key 🔑", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-astral-legacy.p12", why: "surrogate pair everywhere", pass: "key 🔑", keys: "leaf", certs: "leaf inter root"},
		{name: "openssl-nokeys.p12", why: "certificates only", certs: "leaf other inter root"},
		{name: "openssl-several.p12", why: "foreign leaf among the certificates", keys: "leaf", certs: "leaf other inter root"},
		{name: "openssl-rc4.p12", why: "RC4", oid: "1.2.840.113549.1.12.1.1"},
		{name: "openssl-2des.p12", why: "two-key triple DES", oid: "1.2.840.113549.1.12.1.4"},
		{name: "openssl-camellia.p12", why: "Camellia", oid: "1.2.392.200011.61.1.1.1.2"},
		{name: "openssl-pbes1.p12", why: "PBES1", oid: "1.2.840.113549.1.5.10"},
		{name: "openssl-md5.p12", why: "MAC with MD5", oid: "1.2.840.113549.2.5"},
		{name: "leaf.crt", why: "PEM", format: "PEM"},
	},
	"keytool": {
		{name: "java-default.p12", why: "two keys, each for itself, and a trusted entry", keys: "leaf other", certs: "leaf inter root other inter root root", names: "leaf|leaf|other|other|anchor|CN=p12 test intermediate|CN=p12 test intermediate|CN=p12 test root|CN=p12 test root"},
		{name: "java-legacy.p12", why: "triple DES and RC2-40", keys: "leaf other", certs: "leaf inter root other inter root root"},
		{name: "java-secret.p12", why: "symmetric key beside a trusted entry", certs: "root", secrets: 1},
		{name: "java-trust.p12", why: "trusted entries only", certs: "root inter", names: "one|two"},
		{name: "java-default.p12", why: "wrong", pass: "x", err: p12.ErrPassphrase},
		{name: "java.jks", why: "JKS", format: "a Java keystore (JKS)"},
		{name: "java.jceks", why: "JCEKS", format: "a Java keystore (JCEKS)"},
	},
	"certtool": {
		{name: "gnutls-default.p12", why: "three safes; one CA certificate is all that certtool takes", keys: "leaf", certs: "leaf inter"},
		{name: "gnutls-3des.p12", notKept: true, why: "three safes, triple DES", keys: "leaf", certs: "leaf inter"},
		{name: "gnutls-rc2-40.p12", notKept: true, why: "three safes, RC2-40", keys: "leaf", certs: "leaf inter"},
		{name: "gnutls-aes128.p12", notKept: true, why: "three safes, AES-128", keys: "leaf", certs: "leaf inter"},
		{name: "gnutls-empty.p12", notKept: true, why: "empty passphrase", pass: "-", keys: "leaf", certs: "leaf inter"},
		{name: "gnutls-null.p12", notKept: true, why: "passphrase of no octets: the other form", pass: "-", keys: "leaf", certs: "leaf inter"},
		{name: "gnutls-astral.p12", notKept: true, why: "surrogate pair", pass: "key 🔑", keys: "leaf", certs: "leaf inter"},
		{name: "gnutls-arcfour.p12", why: "RC4", oid: "1.2.840.113549.1.12.1.1"},
		{name: "gnutls-default.p12", why: "wrong", pass: "x", err: p12.ErrPassphrase},
	},
	"nss": {
		{name: "nss-default.p12", why: "BER, 600,000 iterations", keys: "leaf", certs: "leaf inter root"},
		{name: "nss-3des.p12", why: "BER, old schemes", keys: "leaf", certs: "leaf inter root"},
		{name: "nss-aes128.p12", notKept: true, why: "BER, MAC SHA-512", keys: "other", certs: "other inter root"},
		{name: "nss-utf8.p12", notKept: true, why: "UTF-8 in PBKDF2", pass: "pässwörd€", keys: "leaf", certs: "leaf inter root"},
		{name: "nss-astral-3des.p12", notKept: true, why: "surrogate pair", pass: "key 🔑", keys: "leaf", certs: "leaf inter root"},
		{name: "nss-default.p12", why: "wrong", pass: "x", err: p12.ErrPassphrase},
	},
}

func (f file) passphrase() []byte {
	switch f.pass {
	case "":
		return []byte(testPass)
	case "-":
		return nil
	}
	return []byte(f.pass)
}

// check decodes the file as it lies in dir.
func (f file) check(t *testing.T, dir string) {
	data, err := os.ReadFile(filepath.Join(dir, f.name))
	require.NoError(t, err)
	before := bytes.Clone(data)
	pass := f.passphrase()
	c, err := p12.Decode(data, pass, p12.Options{AllowNoMAC: f.allowNoMAC})
	require.Equal(t, before, data, "the input is the caller's")
	require.Equal(t, f.passphrase(), pass, "the passphrase is the caller's")
	if err != nil {
		require.NotContains(t, err.Error(), "test-onl", "no passphrase in errors")
	}
	switch {
	case f.err != nil:
		require.ErrorIs(t, err, f.err)
		require.Nil(t, c)
		return
	case f.oid != "":
		var unsupported *p12.UnsupportedError
		require.ErrorAs(t, err, &unsupported)
		require.Equal(t, f.oid, unsupported.OID)
		require.NotEmpty(t, unsupported.Name, "these are known by name")
		return
	case f.format != "":
		var format *p12.FormatError
		require.ErrorAs(t, err, &format)
		require.Equal(t, f.format, format.Format)
		require.ErrorIs(t, err, p12.ErrMalformed)
		return
	}
	require.NoError(t, err)
	require.Equal(t, f.allowNoMAC, c.NoMAC)
	require.Equal(t, p12.Skipped{Secrets: f.secrets}, c.Skipped)

	var want, got []string
	for name := range strings.FieldsSeq(f.certs) {
		want = append(want, string(certificate(t, dir, name).Raw))
	}
	for _, cert := range c.Certificates {
		require.NoError(t, cert.Err)
		require.Equal(t, cert.DER, cert.Parsed.Raw)
		got = append(got, string(cert.DER))
	}
	require.ElementsMatch(t, want, got)

	require.Len(t, c.Keys, len(strings.Fields(f.keys)))
	i := 0
	for name := range strings.FieldsSeq(f.keys) {
		private, err := c.Keys[i].Private()
		require.NoError(t, err)
		public := private.(crypto.Signer).Public().(interface{ Equal(crypto.PublicKey) bool })
		require.True(t, public.Equal(certificate(t, dir, name).PublicKey), "key of %s", name)
		require.NotEmpty(t, c.Keys[i].LocalKeyID, "all programs write one")
		i++
	}
	if f.names != "" {
		var names []string
		for _, k := range c.Keys {
			names = append(names, k.FriendlyName)
		}
		for _, cert := range c.Certificates {
			names = append(names, cert.FriendlyName)
		}
		require.ElementsMatch(t, strings.Split(f.names, "|"), names)
	}
	count, err := p12.MACIterations(data)
	if f.allowNoMAC {
		require.ErrorIs(t, err, p12.ErrNoMAC)
	} else {
		require.NoError(t, err)
		require.Positive(t, count)
	}

	keys := c.Keys
	c.Zero()
	for _, k := range keys {
		require.Equal(t, make([]byte, len(k.PKCS8)), k.PKCS8)
	}
}

func certificate(t testing.TB, dir, name string) *x509.Certificate {
	text, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	require.NotNil(t, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}

// TestFiles reads files of four programs, kept in testdata.
func TestFiles(t *testing.T) {
	for program, list := range files {
		for _, f := range list {
			if f.notKept {
				continue
			}
			t.Run(program+"/"+f.name+"/"+f.why, func(t *testing.T) {
				t.Parallel()
				f.check(t, "testdata")
			})
		}
	}
}

// TestRFC9879 reads the files of RFC 9879 appendix A.
func TestRFC9879(t *testing.T) {
	for _, tc := range []struct {
		name, why string
		err       error
	}{
		{"a1", "SHA-256 HMAC and PRF", nil},
		{"a2", "SHA-256 HMAC, SHA-512 PRF", nil},
		{"a3", "SHA-512 HMAC and PRF", nil},
		{"a4", "wrong iteration count", p12.ErrPassphrase},
		{"a5", "wrong salt", p12.ErrPassphrase},
		{"a6", "key length missing", p12.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/rfc9879-" + tc.name + ".txt")
			require.NoError(t, err)
			data, err := base64.StdEncoding.DecodeString(string(bytes.ReplaceAll(text, []byte("\n"), nil)))
			require.NoError(t, err)

			c, err := p12.Decode(data, []byte("1234"), p12.Options{})
			require.ErrorIs(t, err, tc.err)
			if tc.err == nil {
				require.Len(t, c.Keys, 1)
				require.Len(t, c.Certificates, 1)
				private, err := c.Keys[0].Private()
				require.NoError(t, err)
				require.True(t, c.Certificates[0].Parsed.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(private.(crypto.Signer).Public()))
				_, err = p12.Decode(data, []byte("12345"), p12.Options{})
				require.ErrorIs(t, err, p12.ErrPassphrase)
			}

			_, err = p12.Decode(text, []byte("1234"), p12.Options{})
			var format *p12.FormatError
			require.True(t, errors.As(err, &format), "base64 is named")
			require.Equal(t, "base64 without PEM lines", format.Format)
		})
	}
}
