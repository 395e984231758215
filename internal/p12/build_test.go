package p12_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"math/big"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
	"github.com/smtpsec/smtpsec/internal/p12/pbe"
)

// Encoders for files that no program writes.

// tlv is one element in DER.
func tlv(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := []byte{tag}
	if n < 0x80 {
		out = append(out, byte(n))
	} else {
		length := big.NewInt(int64(n)).Bytes()
		out = append(append(out, 0x80|byte(len(length))), length...)
	}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// open is one constructed element of open length.
func open(tag byte, parts ...[]byte) []byte {
	out := []byte{tag, 0x80}
	for _, p := range parts {
		out = append(out, p...)
	}
	return append(out, 0, 0)
}

func seq(parts ...[]byte) []byte { return tlv(0x30, parts...) }
func oid(content string) []byte  { return tlv(0x06, []byte(content)) }
func octets(b []byte) []byte     { return tlv(0x04, b) }
func tag0(parts ...[]byte) []byte {
	return tlv(0xA0, parts...)
}

func integer(n int64) []byte { return bigInteger(big.NewInt(n)) }
func bigInteger(n *big.Int) []byte {
	return tlv(0x02, append(make([]byte, 1), n.Bytes()...))
}

const (
	arcPKCS7  = "\x2a\x86\x48\x86\xf7\x0d\x01\x07"
	arcPKCS9  = "\x2a\x86\x48\x86\xf7\x0d\x01\x09"
	arcBags   = "\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01"
	arcPBE    = "\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01"
	idSHA256  = "\x60\x86\x48\x01\x65\x03\x04\x02\x01"
	idPBES2   = "\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"
	idPBKDF2  = "\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c"
	idPBMAC1  = "\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e"
	idHMAC256 = "\x2a\x86\x48\x86\xf7\x0d\x02\x09"
	idAES256  = "\x60\x86\x48\x01\x65\x03\x04\x01\x2a"
	idECKey   = "\x2a\x86\x48\xce\x3d\x02\x01"
)

// data is a ContentInfo of type data.
func data(content []byte) []byte { return seq(oid(arcPKCS7+"\x01"), tag0(octets(content))) }

// safes is an AuthenticatedSafe of one safe in the clear.
func safes(bags ...[]byte) []byte { return seq(data(seq(bags...))) }

// bag is a SafeBag of the kind with the last octet of its identifier.
func bag(kind byte, value []byte, attributes ...[]byte) []byte {
	id, in := oid(arcBags+string(kind)), tag0(value)
	if attributes == nil {
		return seq(id, in)
	}
	return seq(id, in, tlv(0x31, attributes...))
}

func certBag(der []byte, attributes ...[]byte) []byte {
	return bag(3, seq(oid(arcPKCS9+"\x16\x01"), tag0(octets(der))), attributes...)
}

// attribute is a PKCS12Attribute with the last octet of a PKCS #9 identifier.
func attribute(last byte, values ...[]byte) []byte {
	return seq(oid(arcPKCS9+string(last)), tlv(0x31, values...))
}

// bareKey is a PrivateKeyInfo in outline.
func bareKey() []byte { return seq(integer(0), seq(oid(idECKey)), octets([]byte("no key"))) }

// pfx puts a SHA-256 MAC with one iteration around safes.
func pfx(safes []byte, passphrase string) []byte {
	p := pbe.NewPassphrase([]byte(passphrase))
	forms, err := p.UTF16()
	if err != nil {
		panic(err)
	}
	return pfxMAC(safes, forms[0], []byte("mac salt"), 1)
}

func pfxMAC(safes, form, salt []byte, count int) []byte {
	key, newHash, err := pbe.PKCS12MACKey(ber.OID(idSHA256), form, salt, int64(count), pbe.NewBudget(pbe.Limits{}))
	if err != nil {
		panic(err)
	}
	h := hmac.New(newHash, key)
	h.Write(safes)
	return seq(integer(3), data(safes), macData(idSHA256, nil, h.Sum(nil), salt, integer(int64(count))))
}

func macData(algorithm string, parameters, value, salt, count []byte) []byte {
	return seq(seq(seq(oid(algorithm), parameters), octets(value)), octets(salt), count)
}

// pbkdf2Of is the AlgorithmIdentifier of PBKDF2 with HMAC-SHA-256.
func pbkdf2Of(salt string, count, keyLength []byte) []byte {
	return seq(oid(idPBKDF2), seq(octets([]byte(salt)), count, keyLength, seq(oid(idHMAC256), tlv(5))))
}

// encrypt is PBES2 with AES-256 under the octets of pass: algorithm and ciphertext.
func encrypt(plain, pass []byte, count int) (algorithm, ciphertext []byte) {
	key, err := pbkdf2.Key(sha256.New, string(pass), []byte("salt"), count, 32)
	if err != nil {
		panic(err)
	}
	iv := make([]byte, aes.BlockSize)
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	ciphertext = cbc(c, iv, plain)
	return seq(oid(idPBES2), seq(pbkdf2Of("salt", integer(int64(count)), nil), seq(oid(idAES256), octets(iv)))), ciphertext
}

// cbc pads and encrypts.
func cbc(c cipher.Block, iv, plain []byte) []byte {
	pad := c.BlockSize() - len(plain)%c.BlockSize()
	out := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(c, iv).CryptBlocks(out, out)
	return out
}

// encryptedSafe is a ContentInfo of type EncryptedData around a list of bags.
func encryptedSafe(plain, pass []byte, count int) []byte {
	return encryptedData(encrypt(plain, pass, count))
}

func encryptedData(algorithm, ciphertext []byte) []byte {
	return seq(oid(arcPKCS7+"\x06"), tag0(seq(integer(0), seq(oid(arcPKCS7+"\x01"), algorithm, tlv(0x80, ciphertext)))))
}

// encryptedSafe3DES is an encryptedSafe under the PKCS #12 scheme.
func encryptedSafe3DES(plain []byte, passphrase string) []byte {
	forms, err := pbe.NewPassphrase([]byte(passphrase)).UTF16()
	if err != nil {
		panic(err)
	}
	derive := func(purpose byte, n int) []byte {
		out, err := pbe.PKCS12Key(sha1.New, purpose, forms[0], []byte("salt"), 1, n, pbe.NewBudget(pbe.Limits{}))
		if err != nil {
			panic(err)
		}
		return out
	}
	c, err := des.NewTripleDESCipher(derive(1, 24))
	if err != nil {
		panic(err)
	}
	return encryptedData(seq(oid(arcPBE+"\x03"), seq(octets([]byte("salt")), integer(1))), cbc(c, derive(2, 8), plain))
}
