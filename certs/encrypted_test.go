package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/pem"
	"testing"

	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// pbes2 is the AlgorithmIdentifier of RFC 8018 appendix A.4 with PBKDF2 or
// another derivation, and AES-256-CBC.
func pbes2(t testing.TB, kdf algorithm, iv []byte) algorithm {
	return algorithm{OID: oid(1, 2, 840, 113549, 1, 5, 13), Parameters: asn1.RawValue{FullBytes: der(t, struct{ KDF, Cipher algorithm }{
		kdf, algorithm{OID: oid(2, 16, 840, 1, 101, 3, 4, 1, 42), Parameters: asn1.RawValue{FullBytes: der(t, iv)}},
	})}}
}

func pbkdf2Of(t testing.TB, salt []byte, count int) algorithm {
	prf := algorithm{OID: oid(1, 2, 840, 113549, 2, 9), Parameters: asn1.RawValue{FullBytes: []byte{5, 0}}}
	return algorithm{OID: oid(1, 2, 840, 113549, 1, 5, 12), Parameters: asn1.RawValue{FullBytes: der(t, struct {
		Salt  []byte
		Count int
		PRF   algorithm
	}{salt, count, prf})}}
}

func scryptOf(t testing.TB, n, r, p int) algorithm {
	return algorithm{OID: oid(1, 3, 6, 1, 4, 1, 11591, 4, 11), Parameters: asn1.RawValue{FullBytes: der(t, struct {
		Salt    []byte
		N, R, P int
	}{make([]byte, 8), n, r, p})}}
}

func encryptedKey(t testing.TB, a algorithm, ciphertext []byte) []byte {
	return der(t, struct {
		Algorithm algorithm
		Data      []byte
	}{a, ciphertext})
}

// encrypt makes an EncryptedPrivateKeyInfo as OpenSSL does by default.
func encrypt(t testing.TB, plain []byte, passphrase string, count int) []byte {
	salt, iv := make([]byte, 8), make([]byte, aes.BlockSize)
	key, err := pbkdf2.Key(sha256.New, passphrase, salt, count, 32)
	require.NoError(t, err)
	c, err := aes.NewCipher(key)
	require.NoError(t, err)
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	padded := append([]byte{}, plain...)
	for range pad {
		padded = append(padded, byte(pad))
	}
	cipher.NewCBCEncrypter(c, iv).CryptBlocks(padded, padded)
	return encryptedKey(t, pbes2(t, pbkdf2Of(t, salt, count), iv), padded)
}

func TestReadEncryptedKey(t *testing.T) {
	key, err := NewPrivateKey(testpki.NewECDSA(elliptic.P256()))
	require.NoError(t, err)
	plain, err := key.pkcs8()
	require.NoError(t, err)
	sealed := encrypt(t, plain, "right", 1000)
	for _, in := range [][]byte{sealed, []byte(block("ENCRYPTED PRIVATE KEY", sealed))} {
		back, err := ReadKey(in, []byte("right"))
		require.NoError(t, err)
		require.True(t, publicEqual(key.Public(), back.Public()))
		_, err = ReadKey(in, []byte("wrong"))
		require.ErrorIs(t, err, ErrPassphrase)
		_, err = ReadKey(in, nil)
		require.ErrorIs(t, err, ErrPassphraseNeeded)
	}
	// Right padding is no proof of the right passphrase: what is inside must be a key.
	_, err = ReadKey(encrypt(t, []byte("sixteen octets.."), "right", 1), []byte("right"))
	require.ErrorIs(t, err, ErrPassphrase)
	// A certificate beside it needs no passphrase, but nothing is dropped in silence.
	text := append(appendCertificatePEM(nil, testpki.SelfSigned([]string{"a.example"}).Cert), block("ENCRYPTED PRIVATE KEY", sealed)...)
	_, err = ReadBytes(text, ReadOptions{})
	require.ErrorIs(t, err, ErrPassphraseNeeded)
}

func TestReadEncryptedKeyBounds(t *testing.T) {
	data, iv := make([]byte, 64), make([]byte, aes.BlockSize)
	for _, tc := range []struct {
		why string
		in  []byte
		is  error
	}{
		{"five million and one rounds", encryptedKey(t, pbes2(t, pbkdf2Of(t, iv, 5_000_001), iv), data), ErrIterations},
		{"2^31-1 rounds", encryptedKey(t, pbes2(t, pbkdf2Of(t, iv, 1<<31-1), iv), data), ErrIterations},
		{"scrypt with 256 MiB", encryptedKey(t, pbes2(t, scryptOf(t, 1<<18, 8, 1), iv), data), ErrIterations},
		{"no rounds", encryptedKey(t, pbes2(t, pbkdf2Of(t, iv, 0), iv), data), ErrMalformed},
		{"octets behind it", append(encryptedKey(t, pbes2(t, pbkdf2Of(t, iv, 1), iv), data), 0), ErrMalformed},
		{"no algorithm", der(t, struct{ A, B []byte }{iv, data}), ErrMalformed},
	} {
		in := []byte(block("ENCRYPTED PRIVATE KEY", tc.in))
		_, err := ReadKey(in, []byte("x"))
		require.ErrorIs(t, err, tc.is, tc.why)
	}
	pbes1 := algorithm{OID: oid(1, 2, 840, 113549, 1, 5, 10), Parameters: asn1.RawValue{FullBytes: der(t, struct {
		Salt  []byte
		Count int
	}{make([]byte, 8), 2048})}}
	_, err := ReadKey(encryptedKey(t, pbes1, data), []byte("x"))
	var unsupported *UnsupportedError
	require.ErrorAs(t, err, &unsupported)
	require.Equal(t, "1.2.840.113549.1.5.10", unsupported.OID)
	require.Contains(t, unsupported.Hint, "openssl pkcs8")
}

// The caller's passphrase is used, not changed and not kept.
func TestPassphraseIsLeftAlone(t *testing.T) {
	key := must(NewPrivateKey(testpki.NewEd25519()))
	sealed := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: encrypt(t, must(key.pkcs8()), "right", 1)})
	passphrase := []byte("right")
	_, err := ReadKey(sealed, passphrase)
	require.NoError(t, err)
	require.Equal(t, "right", string(passphrase))
}
