package p12_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12"
	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

// TestBags: everything that may stand in a safe.
func TestBags(t *testing.T) {
	cert := certificate(t, "testdata", "leaf").Raw
	name := tlv(0x1E, []byte("\x00a\x20\xac"))
	for _, tc := range []struct {
		why   string
		safes []byte
		keys  []string // friendly names
		certs []string
		skip  p12.Skipped
		err   error
	}{
		{why: "no safe", safes: seq()},
		{why: "empty safe", safes: safes()},
		{why: "certificate", safes: safes(certBag(cert)), certs: []string{""}},
		{why: "name", safes: safes(certBag(cert, attribute(20, name))), certs: []string{"a€"}},
		{why: "name with a zero at its end", safes: safes(certBag(cert, attribute(20, tlv(0x1E, []byte("\x00a\x00\x00"))))), certs: []string{"a"}},
		{why: "name in UTF-16", safes: safes(certBag(cert, attribute(20, tlv(0x1E, []byte("\xd8\x3d\xdd\x11"))))), certs: []string{"🔑"}},
		{why: "name with half a pair", safes: safes(certBag(cert, attribute(20, tlv(0x1E, []byte("\xd8\x3d"))))), certs: []string{"\uFFFD"}},
		{why: "name in UTF-8", safes: safes(certBag(cert, attribute(20, tlv(0x0C, []byte("a€"))))), certs: []string{"a€"}},
		{why: "name of odd length", safes: safes(certBag(cert, attribute(20, tlv(0x1E, []byte("\x00"))))), err: p12.ErrMalformed},
		{why: "two names", safes: safes(certBag(cert, attribute(20, name), attribute(20, tlv(0x1E, []byte("\x00b"))))), certs: []string{"a€"}},
		{why: "name without a value", safes: safes(certBag(cert, attribute(20))), certs: []string{""}},
		{why: "unknown attribute", safes: safes(certBag(cert, attribute(99, tlv(0x30)))), certs: []string{""}},
		{why: "attribute that is no set", safes: safes(certBag(cert, seq(oid(arcPKCS9+"\x14"), name))), err: p12.ErrMalformed},
		{why: "key", safes: safes(bag(1, bareKey(), attribute(20, name))), keys: []string{"a€"}},
		{why: "key bag without a key", safes: safes(bag(1, seq(integer(0)))), err: p12.ErrMalformed},
		{why: "CRL, secret and unknown bag", safes: safes(bag(4, seq()), bag(5, seq()), bag(5, seq()), bag(9, seq())), skip: p12.Skipped{CRLs: 1, Secrets: 2, Other: 1}},
		{why: "SDSI certificate", safes: safes(bag(3, seq(oid(arcPKCS9+"\x16\x02"), tag0(tlv(0x16))))), skip: p12.Skipped{Other: 1}},
		{why: "list in a bag in a list", safes: safes(bag(6, seq(certBag(cert), bag(6, seq(bag(1, bareKey())))))), certs: []string{""}, keys: []string{""}},
		{why: "lists without end", safes: safes(nest(5)), err: p12.ErrTooLarge},
		{why: "encrypted safe", safes: seq(encryptedSafe(seq(certBag(cert)), []byte(testPass), 1)), certs: []string{""}},
		{why: "encrypted under UTF-16, as NSS did for years", safes: seq(encryptedSafe(seq(certBag(cert)), utf16Of(t, testPass), 1)), certs: []string{""}},
		{why: "encrypted under another passphrase", safes: seq(encryptedSafe(seq(certBag(cert)), []byte("other"), 1)), err: p12.ErrPassphrase},
		{why: "encrypted, but no list of bags", safes: seq(encryptedSafe([]byte("nonsense"), []byte(testPass), 1)), err: p12.ErrPassphrase},
		{why: "encrypted, too many elements", safes: seq(encryptedSafe(seq(bytes.Repeat([]byte{5, 0}, 10_000)), []byte(testPass), 1)), err: p12.ErrTooLarge},
		{why: "many elements in several safes", safes: seq(
			encryptedSafe(seq(bytes.Repeat(bag(4, seq()), 1200)), []byte(testPass), 1), encryptedSafe(seq(bytes.Repeat(bag(4, seq()), 1200)), []byte(testPass), 1),
			encryptedSafe(seq(bytes.Repeat(bag(4, seq()), 1200)), []byte(testPass), 1)), err: p12.ErrTooLarge},
		{why: "certificate that is none", safes: safes(certBag([]byte("nothing"))), certs: []string{""}},
		{why: "bag without a value", safes: safes(seq(oid(arcBags + "\x03"))), err: p12.ErrMalformed},
		{why: "bag with something behind", safes: safes(seq(oid(arcBags+"\x04"), tag0(seq()), tlv(0x31), seq())), err: p12.ErrMalformed},
		{why: "not a list", safes: integer(3), err: p12.ErrMalformed},
		{why: "octets behind the list", safes: append(seq(), 0), err: p12.ErrMalformed},
		{why: "everything open, octets in pieces", safes: open(0x30, open(0x30, oid(arcPKCS7+"\x01"), open(0xA0, open(0x24, octets([]byte("\x30\x80")), open(0x24,
			octets(open(0x30, oid(arcBags+"\x01"), open(0xA0, open(0x30, integer(0), open(0x30, oid(idECKey)), open(0x24, octets([]byte("no")), octets([]byte(" key")))))))), octets([]byte{0, 0}))))), keys: []string{""}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			c, err := p12.Decode(pfx(tc.safes, testPass), []byte(testPass), p12.Options{})
			require.ErrorIs(t, err, tc.err)
			if err != nil {
				require.Nil(t, c)
				return
			}
			var keys, certs []string
			for _, k := range c.Keys {
				keys = append(keys, k.FriendlyName)
				require.Equal(t, bareKey(), k.PKCS8, "in DER whatever the file has")
				_, err := k.Private()
				require.ErrorIs(t, err, p12.ErrUnreadable)
			}
			for _, x := range c.Certificates {
				certs = append(certs, x.FriendlyName)
				if x.Err != nil {
					require.ErrorIs(t, x.Err, p12.ErrUnreadable)
					require.Nil(t, x.Parsed)
					require.Equal(t, []byte("nothing"), x.DER)
				}
			}
			require.Equal(t, tc.keys, keys)
			require.Equal(t, tc.certs, certs)
			require.Equal(t, tc.skip, c.Skipped)
		})
	}
}

func nest(n int) []byte {
	if n == 0 {
		return bag(4, seq())
	}
	return bag(6, seq(nest(n-1)))
}

func utf16Of(t testing.TB, s string) []byte {
	forms, err := pbe.NewPassphrase([]byte(s)).UTF16()
	require.NoError(t, err)
	return bytes.Clone(forms[0])
}

// TestEnvelope: what can be wrong outside of the safes.
func TestEnvelope(t *testing.T) {
	content := safes()
	sum := make([]byte, 32)
	ok := macData(idSHA256, nil, sum, []byte("salt"), integer(1))
	for _, tc := range []struct {
		why  string
		in   []byte
		err  error
		text string
	}{
		{why: "wrong MAC", in: seq(integer(3), data(content), ok), err: p12.ErrPassphrase},
		{why: "no MAC", in: seq(integer(3), data(content)), err: p12.ErrNoMAC},
		{why: "version 4", in: seq(integer(4), data(content), ok), err: p12.ErrMalformed, text: "version"},
		{why: "MAC cut short", in: seq(integer(3), data(content), macData(idSHA256, nil, sum[:1], []byte("salt"), integer(1))), err: p12.ErrMalformed, text: "length"},
		{why: "MAC of no octets", in: seq(integer(3), data(content), macData(idSHA256, nil, nil, []byte("salt"), integer(1))), err: p12.ErrMalformed, text: "length"},
		{why: "no iterations", in: seq(integer(3), data(content), macData(idSHA256, nil, sum, []byte("salt"), integer(0))), err: p12.ErrMalformed, text: "zero"},
		{why: "negative iterations", in: seq(integer(3), data(content), macData(idSHA256, nil, sum, []byte("salt"), []byte{2, 1, 0xFF})), err: p12.ErrMalformed, text: "negative"},
		{why: "something behind the MAC", in: seq(integer(3), data(content), ok, seq()), err: p12.ErrMalformed},
		{why: "something behind the file", in: append(seq(integer(3), data(content), ok), '\n'), err: p12.ErrMalformed, text: "follow"},
		{why: "signed instead of MACed", in: seq(integer(3), seq(oid(arcPKCS7+"\x02"), tag0(seq())), ok), text: "SignedData"},
		{why: "empty input", in: nil, err: p12.ErrMalformed, text: "empty"},
		{why: "noise", in: []byte("\x00\x01\x02\x03"), err: p12.ErrMalformed},
		{why: "above the size", in: make([]byte, p12.MaxSize+1), err: p12.ErrTooLarge},
		{why: "certificate", in: certificate(t, "testdata", "leaf").Raw, err: p12.ErrMalformed, text: "certificate"},
		{why: "private key", in: bareKey(), err: p12.ErrMalformed, text: "private key"},
		{why: "PKCS #7", in: data(content), err: p12.ErrMalformed, text: "PKCS #7"},
		{why: "PEM behind a text", in: []byte("Bag Attributes\n-----BEGIN CERTIFICATE-----\n"), err: p12.ErrMalformed, text: "PEM"},
		{why: "PBMAC1 key of 19 octets", in: seq(integer(3), data(content), macData(idPBMAC1, pbmac1(integer(1), integer(19)), sum, nil, integer(1))), err: p12.ErrMalformed, text: "key length"},
		{why: "PBMAC1 key of 65 octets", in: seq(integer(3), data(content), macData(idPBMAC1, pbmac1(integer(1), integer(65)), sum, nil, integer(1))), err: p12.ErrMalformed, text: "key length"},
		{why: "PBMAC1 without key length", in: seq(integer(3), data(content), macData(idPBMAC1, pbmac1(integer(1), nil), sum, nil, integer(1))), err: p12.ErrMalformed, text: "key length"},
		{why: "PBMAC1 without parameters", in: seq(integer(3), data(content), macData(idPBMAC1, nil, sum, nil, integer(1))), err: p12.ErrMalformed},
	} {
		t.Run(tc.why, func(t *testing.T) {
			_, err := p12.Decode(tc.in, []byte(testPass), p12.Options{})
			require.Error(t, err)
			if tc.err != nil {
				require.ErrorIs(t, err, tc.err)
			}
			require.ErrorContains(t, err, tc.text)
		})
	}
	t.Run("public-key privacy", func(t *testing.T) {
		in := pfx(seq(seq(oid(arcPKCS7+"\x03"), tag0(seq()))), testPass)
		_, err := p12.Decode(in, []byte(testPass), p12.Options{})
		var unsupported *p12.UnsupportedError
		require.ErrorAs(t, err, &unsupported)
		require.Equal(t, "1.2.840.113549.1.7.3", unsupported.OID)
		require.ErrorContains(t, err, "safe 1: unsupported safe EnvelopedData")
	})
	t.Run("size can be lowered, not raised", func(t *testing.T) {
		in := pfx(safes(), testPass)
		_, err := p12.Decode(in, []byte(testPass), p12.Options{Size: len(in) - 1})
		require.ErrorIs(t, err, p12.ErrTooLarge)
		_, err = p12.Decode(in, []byte(testPass), p12.Options{Size: len(in)})
		require.NoError(t, err)
		_, err = p12.Decode(make([]byte, p12.MaxSize+1), nil, p12.Options{Size: 2 * p12.MaxSize})
		require.ErrorIs(t, err, p12.ErrTooLarge)
	})
}

func pbmac1(count, keyLength []byte) []byte {
	return seq(pbkdf2Of("salt", count, keyLength), seq(oid(idHMAC256), tlv(5)))
}

// TestPBMAC1 reads PBMAC1 with the shortest and the longest key, and a MacData
// whose own salt and count mean nothing.
func TestPBMAC1(t *testing.T) {
	for _, n := range []int{20, 32, 64} {
		key, err := pbkdf2.Key(sha256.New, testPass, []byte("salt"), 3, n)
		require.NoError(t, err)
		h := hmac.New(sha256.New, key)
		h.Write(safes())
		in := seq(integer(3), data(safes()), macData(idPBMAC1, pbmac1(integer(3), integer(int64(n))), h.Sum(nil), []byte("NOT USED"), integer(math.MaxInt64)))
		_, err = p12.Decode(in, []byte(testPass), p12.Options{})
		require.NoError(t, err)
		_, err = p12.Decode(in, []byte("x"), p12.Options{})
		require.ErrorIs(t, err, p12.ErrPassphrase)
		count, err := p12.MACIterations(in)
		require.NoError(t, err)
		require.Equal(t, 3, count)
	}
}

// TestIterations: every count is judged before anything is derived. The tests
// would run for hours if it were not.
func TestIterations(t *testing.T) {
	sum := make([]byte, 32)
	for _, count := range []*big.Int{big.NewInt(p12.MaxIterations + 1), big.NewInt(math.MaxInt32), big.NewInt(math.MaxInt64), new(big.Int).Lsh(big.NewInt(1), 4096)} {
		in := seq(integer(3), data(safes()), macData(idSHA256, nil, sum, []byte("salt"), bigInteger(count)))
		_, err := p12.Decode(in, []byte(testPass), p12.Options{})
		require.ErrorIs(t, err, p12.ErrIterations)
		_, err = p12.MACIterations(in)
		require.ErrorIs(t, err, p12.ErrIterations)

		in = seq(integer(3), data(safes()), macData(idPBMAC1, pbmac1(bigInteger(count), integer(32)), sum, nil, integer(1)))
		_, err = p12.Decode(in, []byte(testPass), p12.Options{})
		require.ErrorIs(t, err, p12.ErrIterations)
		_, err = p12.MACIterations(in)
		require.ErrorIs(t, err, p12.ErrIterations)

		for _, algorithm := range [][]byte{
			seq(oid(arcPBE+"\x03"), seq(octets([]byte("salt")), bigInteger(count))),
			seq(oid(arcPBE+"\x06"), seq(octets([]byte("salt")), bigInteger(count))),
			seq(oid(idPBES2), seq(pbkdf2Of("salt", bigInteger(count), nil), seq(oid(idAES256), octets(make([]byte, 16))))),
		} {
			in := safes(bag(2, seq(algorithm, octets(make([]byte, 16)))))
			_, err := p12.Decode(pfx(in, testPass), []byte(testPass), p12.Options{})
			require.ErrorIs(t, err, p12.ErrIterations)
			_, err = p12.Decode(seq(integer(3), data(in)), []byte(testPass), p12.Options{AllowNoMAC: true})
			require.ErrorIs(t, err, p12.ErrIterations)
		}
	}

	in := pfxMAC(safes(), utf16Of(t, testPass), []byte("salt"), 1_000_000)
	count, err := p12.MACIterations(in)
	require.NoError(t, err)
	require.Equal(t, 1_000_000, count)
	_, err = p12.Decode(in, []byte(testPass), p12.Options{})
	require.NoError(t, err, "a million must work")
	_, err = p12.Decode(in, []byte(testPass), p12.Options{Iterations: 999_999})
	require.ErrorIs(t, err, p12.ErrIterations)
}

// TestWork: many bags with a modest count each add up.
func TestWork(t *testing.T) {
	algorithm, ciphertext := encrypt(bareKey(), []byte(testPass), 1000)
	in := pfx(safes(bytes.Repeat(bag(2, seq(algorithm, octets(ciphertext))), 20)), testPass)
	c, err := p12.Decode(in, []byte(testPass), p12.Options{Work: 20_001})
	require.NoError(t, err)
	require.Len(t, c.Keys, 20)
	_, err = p12.Decode(in, []byte(testPass), p12.Options{Work: 20_000})
	require.ErrorIs(t, err, p12.ErrIterations, "the MAC counts too")
}

// TestEmptyPassphrase: both readings of the empty passphrase, in the MAC and in
// a bag that uses the other one.
func TestEmptyPassphrase(t *testing.T) {
	for _, form := range [][]byte{{0, 0}, {}} {
		in := pfxMAC(safes(), form, []byte("salt"), 1)
		for _, pass := range [][]byte{nil, {}} {
			_, err := p12.Decode(in, pass, p12.Options{})
			require.NoError(t, err)
		}
		_, err := p12.Decode(in, []byte("x"), p12.Options{})
		require.ErrorIs(t, err, p12.ErrPassphrase)
	}
}

// TestOneBit: no bit of a MACed file can change what is read from it.
func TestOneBit(t *testing.T) {
	in := pfx(safes(bag(1, bareKey()), certBag(certificate(t, "testdata", "leaf").Raw)), testPass)
	want, err := p12.Decode(in, []byte(testPass), p12.Options{})
	require.NoError(t, err)
	for i := range 8 * len(in) {
		in[i/8] ^= 1 << (i % 8)
		if c, err := p12.Decode(in, []byte(testPass), p12.Options{Iterations: 100}); err == nil {
			require.Equal(t, want.Keys[0].PKCS8, c.Keys[0].PKCS8)
			require.Equal(t, want.Certificates[0].DER, c.Certificates[0].DER)
		}
		in[i/8] ^= 1 << (i % 8)
	}
}

// TestNothingIsShared: the result survives the input.
func TestNothingIsShared(t *testing.T) {
	in, err := os.ReadFile("testdata/openssl-both-none.p12")
	require.NoError(t, err)
	c, err := p12.Decode(in, []byte(testPass), p12.Options{})
	require.NoError(t, err)
	clear(in)
	for _, x := range c.Certificates {
		_, err := x509.ParseCertificate(x.DER)
		require.NoError(t, err)
	}
	_, err = c.Keys[0].Private()
	require.NoError(t, err)
	require.NotEqual(t, make([]byte, 20), c.Keys[0].LocalKeyID)
}

// TestKeyIsNotPrinted looks for the key in everything that prints.
func TestKeyIsNotPrinted(t *testing.T) {
	in, err := os.ReadFile("testdata/openssl-default.p12")
	require.NoError(t, err)
	c, err := p12.Decode(in, []byte(testPass), p12.Options{})
	require.NoError(t, err)
	private, err := c.Keys[0].Private()
	require.NoError(t, err)
	secret, err := private.(*ecdsa.PrivateKey).Bytes()
	require.NoError(t, err)
	var printed bytes.Buffer
	for _, v := range []any{c.Keys[0], &c.Keys[0], c.Keys, p12.Contents{Keys: c.Keys}, &p12.Contents{Keys: c.Keys}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
		_, err := json.Marshal(v)
		require.Error(t, err)
		slog.New(slog.NewTextHandler(&printed, nil)).Info("x", "key", v)
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("x", "key", v)
	}
	require.Contains(t, printed.String(), "[private key redacted]")
	for _, form := range []string{"%s", "%x", "%X", "%v"} {
		text := strings.Trim(fmt.Sprintf(form, secret), "[]")
		require.NotContains(t, printed.String(), text)
	}
}

// TestLargeKey: a key that would take crypto/x509 long is not parsed.
func TestLargeKey(t *testing.T) {
	k := p12.Key{PKCS8: make([]byte, 11<<10)}
	_, err := k.Private()
	require.ErrorIs(t, err, p12.ErrTooLarge)
}
