// Package pbe decrypts what is encrypted under a passphrase: the bags and safes
// of PKCS #12 (RFC 7292) and encrypted PKCS #8 private keys (RFC 5958).
//
// Two families of schemes are in use. PBES2 (RFC 8018 section 6.2) derives a
// key with PBKDF2 or scrypt from the octets of the passphrase and decrypts with
// AES or three-key triple DES in CBC mode. The PKCS #12 schemes (RFC 7292
// appendices B and C) derive key and IV with a loop of their own from the
// passphrase in UTF-16 and use three-key triple DES or RC2. Everything else
// (PBES1, RC4, two-key triple DES, Camellia, ...) is an [UnsupportedError].
//
// Derivations are slow on purpose and the file says how slow, so a stranger's
// file can ask for years. Every derivation draws from a [Budget]: one may not
// pass [MaxIterations], all of one file together not [MaxWork].
//
// Call [DecryptPKCS8] for a key in PEM or DER; package p12 uses the parts below
// it. There is no encryption here. Nothing is safe for concurrent use apart
// from the functions that share no Budget, Counter or Passphrase.
package pbe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"errors"
	"fmt"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

var (
	// ErrPassphrase: the passphrase is wrong, or the ciphertext damaged.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrCharset: a PKCS #12 scheme needs UTF-16, and the passphrase is not UTF-8.
	ErrCharset = errors.New("passphrase is not valid UTF-8")
	// ErrIterations: a key derivation would take too long or too much memory.
	ErrIterations = errors.New("key derivation is too expensive")
	// ErrMalformed: the structure is not what the standard says.
	ErrMalformed = ber.ErrMalformed
	// ErrTooLarge: a bound of size, nesting or number of elements is passed.
	ErrTooLarge = ber.ErrTooLarge
)

// UnsupportedError reports an algorithm or content type that is not read.
type UnsupportedError struct {
	OID  string // dotted form
	Name string // name of the algorithm, "" when not known here
	What string // what it was used for, such as "encryption"
}

// Error names what is not supported and what it was used for.
func (e *UnsupportedError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("unsupported %s %s", e.What, e.OID)
	}
	return fmt.Sprintf("unsupported %s %s (%s)", e.What, e.Name, e.OID)
}

// Unsupported returns the [UnsupportedError] for an identifier; what says what
// it was used for.
func Unsupported(id ber.OID, what string) error {
	return &UnsupportedError{OID: id.String(), Name: names[id], What: what}
}

func malformed(text string) error { return fmt.Errorf("%w: %s", ErrMalformed, text) }

// block is a block cipher as a scheme uses it.
type block struct {
	size, key int // octets
	open      func(key []byte) (cipher.Block, error)
}

func aesBlock(key int) block { return block{size: aes.BlockSize, key: key, open: aes.NewCipher} }

func desBlock() block {
	return block{size: des.BlockSize, key: 24, open: des.NewTripleDESCipher}
}

// rc2CBC is RC2 whose effective key length is that of its key, as both schemes
// of RFC 7292 appendix C have it.
func rc2CBC(key int) block {
	return block{size: rc2Block, key: key, open: func(key []byte) (cipher.Block, error) {
		return newRC2(key, 8*len(key)), nil
	}}
}

// scheme is an encryption scheme with its parameters.
type scheme struct {
	block  block
	pkcs12 bool // derives from the UTF-16 form
	derive func(form []byte, b *Budget) (key, iv []byte, err error)
}

// Decrypt decrypts ciphertext as algorithm (an AlgorithmIdentifier, RFC 5280
// section 4.1.1.2) says. Each form of the passphrase that fits the scheme is
// tried until the padding is right and check takes the plaintext, which must be
// a SEQUENCE; when check fails with [ErrTooLarge], that is the error. The caller zeroes the plaintext.
// Errors: [ErrPassphrase], [ErrCharset], [ErrIterations], [ErrMalformed], [ErrTooLarge],
// [*UnsupportedError].
func Decrypt(algorithm ber.Element, ciphertext []byte, p *Passphrase, b *Budget, check func(plaintext []byte) error) ([]byte, error) {
	s, err := parseScheme(algorithm)
	if err != nil {
		return nil, err
	}
	if len(ciphertext) == 0 || len(ciphertext)%s.block.size != 0 {
		return nil, malformed("ciphertext is not in whole blocks")
	}
	forms := p.octets
	if s.pkcs12 {
		if forms, err = p.UTF16(); err != nil {
			return nil, err
		}
	}
	for _, form := range forms {
		key, iv, err := s.derive(form, b)
		if err != nil {
			return nil, err
		}
		plain, err := s.block.decrypt(key, iv, ciphertext)
		clear(key)
		if err != nil {
			return nil, err
		}
		if plain == nil {
			continue
		}
		if err = check(plain); err == nil {
			return plain, nil
		}
		clear(plain[:cap(plain)])
		if errors.Is(err, ErrTooLarge) {
			return nil, err
		}
	}
	return nil, ErrPassphrase
}

// decrypt undoes CBC and padding (RFC 8018 section 6.1.1), nil when the padding
// is wrong or the plaintext does not start like a SEQUENCE, which all plaintexts here are.
// The last and the first block go first, so that a wrong key costs next to nothing
// whatever the size.
func (k block) decrypt(key, iv, ciphertext []byte) ([]byte, error) {
	c, err := k.open(key)
	if err != nil {
		return nil, fmt.Errorf("%w: cipher refused the derived key", ErrMalformed)
	}
	var buffer [aes.BlockSize]byte
	one := buffer[:k.size]
	defer clear(one)
	before := iv
	if n := len(ciphertext) - k.size; n > 0 {
		before = ciphertext[n-k.size : n]
	}
	cipher.NewCBCDecrypter(c, before).CryptBlocks(one, ciphertext[len(ciphertext)-k.size:])
	pad := int(one[k.size-1])
	if pad < 1 || pad > k.size {
		return nil, nil
	}
	for _, b := range one[k.size-pad:] {
		if int(b) != pad {
			return nil, nil
		}
	}
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(one, ciphertext[:k.size])
	if one[0] != 0x30 {
		return nil, nil
	}
	plain := make([]byte, len(ciphertext))
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(plain, ciphertext)
	return plain[:len(plain)-pad], nil
}

// parseScheme reads an AlgorithmIdentifier of an encryption scheme.
func parseScheme(algorithm ber.Element) (scheme, error) {
	r, err := algorithm.Sequence("encryption algorithm")
	if err != nil {
		return scheme{}, err
	}
	id, err := r.OID("encryption algorithm")
	if err != nil {
		return scheme{}, err
	}
	switch id {
	case oidPBES2:
		return parsePBES2(r)
	case oidPBE3DES:
		return parsePKCS12(r, desBlock())
	case oidPBERC2x128:
		return parsePKCS12(r, rc2CBC(16))
	case oidPBERC2x40:
		return parsePKCS12(r, rc2CBC(5))
	}
	return scheme{}, Unsupported(id, "encryption")
}

// parsePKCS12 reads pkcs-12PbeParams (RFC 7292 appendix C).
func parsePKCS12(r ber.Reader, k block) (scheme, error) {
	params, err := r.Sequence("PKCS #12 encryption parameters")
	if err != nil {
		return scheme{}, err
	}
	salt, err := params.OctetString("salt")
	if err != nil {
		return scheme{}, err
	}
	count, err := params.Int("iteration count")
	if err != nil {
		return scheme{}, err
	}
	derive := func(form []byte, b *Budget) (key, iv []byte, err error) {
		if key, err = PKCS12Key(digests[oidSHA1], forKey, form, salt, count, k.key, b); err != nil {
			return nil, nil, err
		}
		iv, err = PKCS12Key(digests[oidSHA1], forIV, form, salt, count, k.size, b)
		return key, iv, err
	}
	return scheme{block: k, pkcs12: true, derive: derive}, params.End("PKCS #12 encryption parameters")
}

// parsePBES2 reads PBES2-params (RFC 8018 appendix A.4).
func parsePBES2(r ber.Reader) (scheme, error) {
	params, err := r.Sequence("PBES2 parameters")
	if err != nil {
		return scheme{}, err
	}
	kdf := params.Next()
	encryption, err := params.Sequence("PBES2 encryption scheme")
	if err != nil {
		return scheme{}, err
	}
	if err := params.End("PBES2 parameters"); err != nil {
		return scheme{}, err
	}
	id, err := encryption.OID("PBES2 encryption scheme")
	if err != nil {
		return scheme{}, err
	}
	var k block
	switch id {
	case oidAES128CBC:
		k = aesBlock(16)
	case oidAES192CBC:
		k = aesBlock(24)
	case oidAES256CBC:
		k = aesBlock(32)
	case oidDES3CBC:
		k = desBlock()
	default:
		return scheme{}, Unsupported(id, "PBES2 encryption")
	}
	iv, err := encryption.OctetString("IV")
	if err != nil {
		return scheme{}, err
	}
	if len(iv) != k.size {
		return scheme{}, malformed("IV is not one block long")
	}
	d, err := ParseKDF(kdf)
	if err != nil {
		return scheme{}, err
	}
	if d.KeyLength != 0 && d.KeyLength != int64(k.key) {
		return scheme{}, malformed("key length does not fit the cipher")
	}
	derive := func(form []byte, b *Budget) ([]byte, []byte, error) {
		key, err := d.Key(form, k.key, b)
		return key, iv, err
	}
	return scheme{block: k, derive: derive}, nil
}
