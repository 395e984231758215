package pbe

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

// tlv is one element of less than 128 octets.
func tlv(tag byte, parts ...string) string {
	content := ""
	for _, p := range parts {
		content += p
	}
	return string([]byte{tag, byte(len(content))}) + content
}

func seq(parts ...string) string { return tlv(0x30, parts...) }
func id(o ber.OID) string        { return tlv(6, string(o)) }
func num(b byte) string          { return tlv(2, string([]byte{b})) }

// TestParameters: EncryptedPrivateKeyInfo with each part wrong in turn. The
// right ones end with a wrong passphrase, since the ciphertext is zeros.
func TestParameters(t *testing.T) {
	salt, iv := tlv(4, "salt"), tlv(4, "0123456789abcdef")
	text := tlv(4, string(make([]byte, 32)))
	unknown := id("\x2a\x03")
	aes := seq(id(oidAES128CBC), iv)
	key := func(kdf, encryption string) string { return seq(seq(id(oidPBES2), seq(kdf, encryption)), text) }
	kdf := func(params ...string) string { return key(seq(id(oidPBKDF2), seq(params...)), aes) }
	scrypt := func(params ...string) string { return key(seq(id(oidScrypt), seq(params...)), aes) }
	pbe := func(params ...string) string { return seq(seq(id(oidPBE3DES), seq(params...)), text) }
	right := seq(id(oidPBKDF2), seq(salt, num(1)))
	for _, tc := range []struct {
		why, in string
		err     error
		oid     string
	}{
		{"right", key(right, aes), ErrPassphrase, ""},
		{"right, key length stated", kdf(salt, num(1), num(16)), ErrPassphrase, ""},
		{"right, PRF stated", kdf(salt, num(1), seq(id(oidHMACSHA512))), ErrPassphrase, ""},
		{"right, no salt", kdf(tlv(4), num(1)), ErrPassphrase, ""},
		{"right, salt in pieces", kdf(tlv(0x24, tlv(4, "sa"), tlv(4, "lt")), num(1)), ErrPassphrase, ""},
		{"right, scrypt", scrypt(salt, num(16), num(1), num(1)), ErrPassphrase, ""},
		{"right, scrypt with key length", scrypt(salt, num(16), num(1), num(1), num(16)), ErrPassphrase, ""},
		{"right, PKCS #12", pbe(salt, num(1)), ErrPassphrase, ""},
		{"right, PKCS #12 without salt", pbe(tlv(4), num(1)), ErrPassphrase, ""},

		{"key length of another cipher", kdf(salt, num(1), num(32)), ErrMalformed, ""},
		{"key length zero", kdf(salt, num(1), num(0)), ErrMalformed, ""},
		{"count zero", kdf(salt, num(0)), ErrMalformed, ""},
		{"count missing", kdf(salt), ErrMalformed, ""},
		{"salt missing", kdf(num(1)), ErrMalformed, ""},
		{"salt from elsewhere", kdf(seq(unknown), num(1)), nil, "1.2.3"},
		{"salt from nowhere", kdf(seq(), num(1)), ErrMalformed, ""},
		{"PRF unknown", kdf(salt, num(1), seq(unknown)), nil, "1.2.3"},
		{"PRF without identifier", kdf(salt, num(1), seq()), ErrMalformed, ""},
		{"PRF of another kind", kdf(salt, num(1), salt), ErrMalformed, ""},
		{"more behind the PRF", kdf(salt, num(1), seq(id(oidHMACSHA1)), num(1)), ErrMalformed, ""},
		{"KDF unknown", key(seq(unknown), aes), nil, "1.2.3"},
		{"KDF without identifier", key(seq(), aes), ErrMalformed, ""},
		{"KDF without parameters", key(seq(id(oidPBKDF2)), aes), ErrMalformed, ""},
		{"KDF of another kind", key(salt, aes), ErrMalformed, ""},
		{"scrypt without p", scrypt(salt, num(16), num(1)), ErrMalformed, ""},
		{"scrypt without r", scrypt(salt, num(16)), ErrMalformed, ""},
		{"scrypt without N", scrypt(salt), ErrMalformed, ""},
		{"scrypt with N of 3", scrypt(salt, num(3), num(1), num(1)), ErrMalformed, ""},
		{"scrypt with more", scrypt(salt, num(16), num(1), num(1), num(16), num(1)), ErrMalformed, ""},

		{"cipher unknown", key(right, seq(unknown)), nil, "1.2.3"},
		{"cipher missing", seq(seq(id(oidPBES2), seq(right)), text), ErrMalformed, ""},
		{"cipher without identifier", key(right, seq()), ErrMalformed, ""},
		{"IV missing", key(right, seq(id(oidAES128CBC))), ErrMalformed, ""},
		{"IV too short", key(right, seq(id(oidAES128CBC), tlv(4, "01234567"))), ErrMalformed, ""},
		{"IV of AES for triple DES", key(right, seq(id(oidDES3CBC), iv)), ErrMalformed, ""},
		{"more behind the cipher", seq(seq(id(oidPBES2), seq(right, aes, num(1))), text), ErrMalformed, ""},
		{"PBES2 without parameters", seq(seq(id(oidPBES2)), text), ErrMalformed, ""},

		{"PKCS #12 without count", pbe(salt), ErrMalformed, ""},
		{"PKCS #12 without salt", pbe(), ErrMalformed, ""},
		{"PKCS #12 with more", pbe(salt, num(1), num(1)), ErrMalformed, ""},
		{"PKCS #12 without parameters", seq(seq(id(oidPBE3DES)), text), ErrMalformed, ""},

		{"no ciphertext", seq(seq(id(oidPBES2), seq(right, aes))), ErrMalformed, ""},
		{"empty ciphertext", seq(seq(id(oidPBES2), seq(right, aes)), tlv(4)), ErrMalformed, ""},
		{"half a block", seq(seq(id(oidPBES2), seq(right, aes)), tlv(4, "01234567")), ErrMalformed, ""},
		{"more behind the ciphertext", seq(seq(id(oidPBES2), seq(right, aes)), text, num(1)), ErrMalformed, ""},
		{"algorithm unknown", seq(seq(unknown), text), nil, "1.2.3"},
		{"algorithm without identifier", seq(seq(), text), ErrMalformed, ""},
		{"algorithm of another kind", seq(num(1), text), ErrMalformed, ""},
		{"not a sequence", num(1), ErrMalformed, ""},
		{"nothing", "", ErrMalformed, ""},
	} {
		t.Run(tc.why, func(t *testing.T) {
			_, err := DecryptPKCS8([]byte(tc.in), []byte("x"), Limits{})
			if tc.oid != "" {
				var unsupported *UnsupportedError
				require.ErrorAs(t, err, &unsupported)
				require.Equal(t, tc.oid, unsupported.OID)
				require.ErrorContains(t, err, "unsupported "+unsupported.What+" 1.2.3")
				return
			}
			require.ErrorIs(t, err, tc.err)
		})
	}
}

// TestPrivateKeyInfo: what a plaintext must look like to count as decrypted.
func TestPrivateKeyInfo(t *testing.T) {
	algorithm := seq(id("\x2a\x03"))
	for _, tc := range []struct {
		why, in string
		ok      bool
	}{
		{"right", seq(num(0), algorithm, tlv(4, "key")), true},
		{"version 2, attributes and public key", seq(num(1), algorithm, tlv(4, "key"), tlv(0xA0), tlv(0x81, "\x00")), true},
		{"no version", seq(algorithm, tlv(4, "key")), false},
		{"no algorithm", seq(num(0), tlv(4, "key")), false},
		{"algorithm without identifier", seq(num(0), seq(), tlv(4, "key")), false},
		{"no key", seq(num(0), algorithm), false},
		{"SEC 1 key", seq(num(1), tlv(4, "key")), false},
		{"not a sequence", tlv(4, "key"), false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			e, err := ber.Parse([]byte(tc.in), new(ber.Counter))
			require.NoError(t, err)
			der, err := PrivateKeyInfo(e)
			if !tc.ok {
				require.ErrorIs(t, err, ErrMalformed)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.in, string(der))
		})
	}
}
