package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

func der(t testing.TB, v any) []byte {
	out, err := asn1.Marshal(v)
	require.NoError(t, err)
	return out
}

func oid(numbers ...int) asn1.ObjectIdentifier { return numbers }

// pkcs8Of puts octets into the outside of PKCS #8.
func pkcs8Of(t testing.TB, id asn1.ObjectIdentifier, parameters, key []byte) []byte {
	a := algorithm{OID: id}
	if parameters != nil {
		a.Parameters = asn1.RawValue{FullBytes: parameters}
	}
	return der(t, pkcs8Key{Algorithm: a, Key: key})
}

func TestReadKeyKinds(t *testing.T) {
	for _, signer := range []crypto.Signer{
		checkRSA1024, checkRSA2048, testpki.NewECDSA(elliptic.P256()), testpki.NewECDSA(elliptic.P384()), testpki.NewECDSA(elliptic.P521()), testpki.NewEd25519(),
	} {
		key, err := NewPrivateKey(signer)
		require.NoError(t, err)
		text, err := key.appendPEM(nil)
		require.NoError(t, err)
		plain, err := key.pkcs8()
		require.NoError(t, err)
		for _, in := range [][]byte{text, plain} {
			back, err := ReadKey(in, nil)
			require.NoError(t, err, keyKind(signer.Public()))
			require.True(t, publicEqual(signer.Public(), back.Public()))
		}
		if ec, ok := signer.(*ecdsa.PrivateKey); ok {
			sec1, err := x509.MarshalECPrivateKey(ec)
			require.NoError(t, err)
			back, err := ReadKey(sec1, nil)
			require.NoError(t, err)
			require.True(t, publicEqual(signer.Public(), back.Public()))
		}
	}
}

// What cannot be used is a typed error that names it.
func TestReadKeyUnsupported(t *testing.T) {
	oidEC := oid(1, 2, 840, 10045, 2, 1)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	p224DER, err := x509.MarshalPKCS8PrivateKey(p224)
	require.NoError(t, err)
	p224SEC1, err := x509.MarshalECPrivateKey(p224)
	require.NoError(t, err)
	octets := der(t, make([]byte, 32))
	for _, tc := range []struct {
		why, oid, text string
		der            []byte
	}{
		{"RSA-PSS", "1.2.840.113549.1.1.10", "RSA-PSS", pkcs8Of(t, oid(1, 2, 840, 113549, 1, 1, 10), nil, octets)},
		{"Ed448", "1.3.101.113", "Ed448", pkcs8Of(t, oid(1, 3, 101, 113), nil, octets)},
		{"X25519", "1.3.101.110", "cannot sign", pkcs8Of(t, oid(1, 3, 101, 110), nil, octets)},
		{"DSA", "1.2.840.10040.4.1", "DSA", pkcs8Of(t, oid(1, 2, 840, 10040, 4, 1), nil, octets)},
		{"unknown", "1.2.3", "unknown algorithm", pkcs8Of(t, oid(1, 2, 3), nil, octets)},
		{"secp256k1", "1.3.132.0.10", "secp256k1", pkcs8Of(t, oidEC, der(t, oid(1, 3, 132, 0, 10)), octets)},
		{"another curve", "1.3.36.3.3.2.8.1.1.7", "unknown curve", pkcs8Of(t, oidEC, der(t, oid(1, 3, 36, 3, 3, 2, 8, 1, 1, 7)), octets)},
		{"explicit parameters", "1.2.840.10045.2.1", "explicit", pkcs8Of(t, oidEC, []byte{0x30, 0}, octets)},
		{"no curve", "", "without its curve", pkcs8Of(t, oidEC, nil, octets)},
		{"P-224", "1.3.132.0.33", "P-224", p224DER},
		{"P-224 in SEC 1", "1.3.132.0.33", "P-224", p224SEC1},
		{"SEC 1 without a curve", "", "without its curve", der(t, struct {
			Version int
			Key     []byte
		}{1, make([]byte, 32)})},
	} {
		_, err := ReadKey(tc.der, nil)
		var unsupported *UnsupportedError
		require.ErrorAs(t, err, &unsupported, tc.why)
		require.Equal(t, tc.oid, unsupported.OID, tc.why)
		require.ErrorContains(t, err, tc.text, tc.why)
	}
	small := pkcs1Of(t, prime(t, 256), prime(t, 256))
	_, err = ReadKey(small, nil)
	var unsupported *UnsupportedError
	require.ErrorAs(t, err, &unsupported)
	require.ErrorContains(t, err, "from 1024 to 16384")
}

// pkcs1Of makes an RSA key of two primes, of whatever size.
func pkcs1Of(t testing.TB, p, q *big.Int) []byte {
	one, e := big.NewInt(1), big.NewInt(65537)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	d := new(big.Int).ModInverse(e, new(big.Int).Mul(p1, q1))
	require.NotNil(t, d)
	return der(t, struct {
		V                        int
		N, E, D, P, Q, D1, D2, I *big.Int
	}{0, new(big.Int).Mul(p, q), e, d, p, q, new(big.Int).Mod(d, p1), new(big.Int).Mod(d, q1), new(big.Int).ModInverse(q, p)})
}

func TestReadKeyMalformed(t *testing.T) {
	good, err := x509.MarshalECPrivateKey(testpki.NewECDSA(elliptic.P256()).(*ecdsa.PrivateKey))
	require.NoError(t, err)
	p256 := der(t, oid(1, 2, 840, 10045, 3, 1, 7))
	zeroKey := der(t, struct {
		Version int
		Key     []byte
	}{1, make([]byte, 32)})
	for why, in := range map[string][]byte{
		"octets behind the inner key":    pkcs8Of(t, oid(1, 2, 840, 10045, 2, 1), p256, append(good, 0)),
		"scalar zero":                    pkcs8Of(t, oid(1, 2, 840, 10045, 2, 1), p256, zeroKey),
		"Ed25519 seed of 31 octets":      pkcs8Of(t, oid(1, 3, 101, 112), nil, der(t, make([]byte, 31))),
		"Ed25519 without the inner part": pkcs8Of(t, oid(1, 3, 101, 112), nil, nil),
		"RSA of zeros":                   der(t, struct{ V, N, E, D, P, Q, A, B, C int }{0, 0, 0, 0, 0, 0, 0, 0, 0}),
	} {
		_, err := ReadKey(in, nil)
		require.ErrorIs(t, err, ErrMalformed, why)
	}
}

func TestCertificateWithUnsupportedKey(t *testing.T) {
	root := testpki.NewRoot("Root")
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	good := root.Leaf([]string{"mx.example.com"}).Cert
	ed := root.Leaf([]string{"mx.example.com"}, testpki.Key(testpki.NewEd25519())).Cert
	ed448 := patchedDER(t, ed.Raw, []byte{0x06, 3, 0x2b, 0x65, 0x70}, []byte{0x06, 3, 0x2b, 0x65, 0x71})
	negative := root.Leaf(nil, testpki.Template(func(c *x509.Certificate) { c.SerialNumber.SetInt64(0x7b) })).Cert
	unprintable := root.Leaf([]string{"mx.exampleX"}, testpki.CommonName("")).Cert
	for _, tc := range []struct {
		why  string
		der  []byte
		text string
	}{
		{"P-224", withPublicKey(t, root, p224.Public()).Raw, "P-224"},
		{"Ed448", ed448, "1.3.101.113"},
		{"negative serial number", patchedDER(t, negative.Raw, []byte{2, 1, 0x7b}, []byte{2, 1, 0xfb}), "negative serial"},
		{"a dNSName that is not ASCII", patchedDER(t, unprintable.Raw, []byte("mx.exampleX"), []byte("mx.example\xfc")), "malformed"},
		{"secp256k1", patchedDER(t, p384Cert(root).Raw, []byte{6, 5, 0x2b, 0x81, 4, 0, 34}, []byte{6, 5, 0x2b, 0x81, 4, 0, 10}), "curve"},
	} {
		_, err := ReadBytes(tc.der, ReadOptions{})
		var unsupported *UnsupportedError
		require.ErrorAs(t, err, &unsupported, tc.why)
		require.ErrorContains(t, err, tc.text, tc.why)
	}
	_, err = ReadBytes(good.Raw, ReadOptions{})
	require.NoError(t, err)
}

func p384Cert(root *testpki.Authority) *x509.Certificate {
	return root.Leaf([]string{"mx.example.com"}, testpki.Key(testpki.NewECDSA(elliptic.P384()))).Cert
}

func patchedDER(t *testing.T, raw, from, to []byte) []byte {
	require.Len(t, to, len(from))
	require.Contains(t, string(raw), string(from))
	out := []byte(string(raw))
	for i := 0; i+len(from) <= len(out); i++ {
		if string(out[i:i+len(from)]) == string(from) {
			copy(out[i:], to)
		}
	}
	return out
}

func FuzzReadKey(f *testing.F) {
	for _, signer := range []crypto.Signer{testpki.NewECDSA(elliptic.P256()), testpki.NewEd25519(), checkRSA1024} {
		key := must(NewPrivateKey(signer))
		f.Add(must(key.appendPEM(nil)), []byte(nil))
		f.Add(must(key.pkcs8()), []byte("x"))
	}
	f.Add(must(x509.MarshalECPrivateKey(testpki.NewECDSA(elliptic.P521()).(*ecdsa.PrivateKey))), []byte(nil))
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n"), []byte("x"))
	f.Fuzz(func(t *testing.T, data, passphrase []byte) {
		key, err := ReadKey(data, passphrase)
		if err != nil {
			require.True(t, key.IsZero())
			var parse *ParseError
			require.True(t, errors.As(err, &parse) || errors.Is(err, ErrNoKey) || errors.Is(err, ErrManyKeys) || errors.Is(err, ErrTooLarge), "%v", err)
			return
		}
		// What was read can be used, and reads back to the same key.
		text, err := key.appendPEM(nil)
		require.NoError(t, err)
		back, err := ReadKey(text, nil)
		require.NoError(t, err)
		require.True(t, publicEqual(key.Public(), back.Public()))
		require.Empty(t, unsupportedPublicKey(key.Public()))
	})
}

// TestHugeRSAKeys: in a key of a megabyte one signature check takes hours, and an
// input may have a megabyte.
func TestHugeRSAKeys(t *testing.T) {
	for _, tc := range []struct {
		bits uint
		ok   bool
	}{{MaxRSABits, true}, {MaxRSABits + 1, false}, {4 << 20, false}} {
		n := new(big.Int).Lsh(big.NewInt(1), tc.bits-1)
		n.SetBit(n, 0, 1)
		cert := withPublicKey(t, testpki.NewRoot("Root"), &rsa.PublicKey{N: n, E: 65537}).Raw
		_, err := ReadBytes(cert, ReadOptions{})
		require.Equal(t, tc.ok, err == nil, "%d bits: %v", tc.bits, err)
		if tc.ok {
			continue
		}
		pkcs1 := must(asn1.Marshal(struct {
			Version    int
			N          *big.Int
			E          int
			D, P, Q    *big.Int
			DP, DQ, QI *big.Int
		}{0, n, 65537, n, n, n, n, n, n}))
		pkcs8 := must(asn1.Marshal(pkcs8Key{Algorithm: algorithm{OID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}, Key: pkcs1}))
		for _, der := range [][]byte{cert, pkcs1, pkcs8} {
			_, err := ReadBytes(der, ReadOptions{})
			var unsupported *UnsupportedError
			require.ErrorAs(t, err, &unsupported, "%d bits", tc.bits)
		}
		_, err = NewPrivateKey(&rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: 65537}})
		require.Error(t, err)
	}
}
