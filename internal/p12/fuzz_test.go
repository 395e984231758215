package p12_test

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12"
	"github.com/smtpsec/smtpsec/internal/p12/ber"
	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

// cheap bounds the work for one input of a fuzz target.
var cheap = p12.Options{AllowNoMAC: true, Iterations: 3000, Work: 12_000}

// sound checks what holds for everything that Decode returns.
func sound(t *testing.T, c *p12.Contents, err error) {
	if err != nil {
		require.Nil(t, c)
		var unsupported *p12.UnsupportedError
		typed := errors.As(err, &unsupported)
		for _, known := range []error{p12.ErrPassphrase, p12.ErrCharset, p12.ErrIterations, p12.ErrMalformed, p12.ErrTooLarge} {
			typed = typed || errors.Is(err, known)
		}
		require.True(t, typed, "an error without a type: %v", err)
		return
	}
	for _, k := range c.Keys {
		e, err := ber.Parse(k.PKCS8, new(ber.Counter))
		require.NoError(t, err)
		der, err := pbe.PrivateKeyInfo(e)
		require.NoError(t, err)
		require.Equal(t, k.PKCS8, der)
	}
	for _, x := range c.Certificates {
		_, err := x509.ParseCertificate(x.DER)
		require.Equal(t, err == nil, x.Err == nil)
		require.Equal(t, err == nil, x.Parsed != nil)
	}
}

// FuzzDecode: no panic, no error without a type, nothing returned beside an
// error, and go-pkcs12 reads the same where both read.
func FuzzDecode(f *testing.F) {
	for _, list := range files {
		for _, file := range list {
			if file.notKept {
				continue
			}
			in, err := os.ReadFile(filepath.Join("testdata", file.name))
			require.NoError(f, err)
			f.Add(in, string(file.passphrase()))
		}
	}
	f.Add(pfx(safes(bag(1, bareKey()), bag(6, seq(bag(5, seq())))), "x"), "x")
	f.Fuzz(func(t *testing.T, in []byte, pass string) {
		c, err := p12.Decode(in, []byte(pass), cheap)
		sound(t, c, err)
		count, counted := p12.MACIterations(in)
		if counted == nil {
			require.LessOrEqual(t, count, p12.MaxIterations)
		}
		if err == nil {
			agree(t, in, pass, false)
		}
	})
}

// FuzzSafes is FuzzDecode with a right MAC around whatever the fuzzer finds, so
// that it reaches the safes. Where nothing is encrypted, we read all that
// go-pkcs12 reads.
func FuzzSafes(f *testing.F) {
	for _, list := range files {
		for _, file := range list {
			if file.notKept || file.pass != "" || file.format != "" {
				continue
			}
			in, err := os.ReadFile(filepath.Join("testdata", file.name))
			require.NoError(f, err)
			f.Add(content(f, in))
		}
	}
	f.Add(safes(bag(1, bareKey()), bag(6, seq(bag(5, seq())))))
	f.Fuzz(func(t *testing.T, in []byte) {
		file := pfx(in, testPass)
		c, err := p12.Decode(file, []byte(testPass), cheap)
		sound(t, c, err)
		if err == nil || !costly(in) {
			agree(t, file, testPass, !costly(in))
		}
	})
}

// FuzzBags: a list of bags means the same in the clear and encrypted.
func FuzzBags(f *testing.F) {
	leaf := certificate(f, "testdata", "leaf").Raw
	f.Add(seq(bag(1, bareKey()), bag(6, seq(bag(5, seq())))))
	f.Add(seq(certBag(leaf, attribute(20, tlv(0x1E, []byte("\x00a"))), attribute(21, octets([]byte("id"))))))
	f.Add(open(0x30, open(0x30, oid(arcBags+"\x01"), open(0xA0, bareKey()))))
	f.Add(seq(certBag([]byte("nothing")), bag(4, seq()), bag(9, seq())))
	f.Fuzz(func(t *testing.T, bags []byte) {
		if costly(bags) {
			return
		}
		clear, err := p12.Decode(pfx(seq(data(bags)), testPass), []byte(testPass), cheap)
		sound(t, clear, err)
		hidden, hiddenErr := p12.Decode(pfx(seq(encryptedSafe(bags, []byte(testPass), 1)), testPass), []byte(testPass), cheap)
		sound(t, hidden, hiddenErr)
		require.Equal(t, err == nil, hiddenErr == nil, "%v, %v", err, hiddenErr)
		require.Equal(t, clear, hidden)
	})
}

// content returns the octets under the MAC of a file.
func content(t testing.TB, in []byte) []byte {
	e, err := ber.Parse(in, new(ber.Counter))
	require.NoError(t, err)
	r, err := e.Sequence("file")
	require.NoError(t, err)
	r.Next()
	info, err := r.Sequence("content")
	require.NoError(t, err)
	info.Next()
	inner, err := info.Explicit(0, "content")
	require.NoError(t, err)
	b, _, err := inner.OctetString("content")
	require.NoError(t, err)
	return b
}
