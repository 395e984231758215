package pbe

import (
	"fmt"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

// MaxPKCS8 is the largest encrypted private key in octets. An RSA key of 16,384
// bits takes 9 KiB.
const MaxPKCS8 = 1 << 20

// DecryptPKCS8 decrypts an EncryptedPrivateKeyInfo (RFC 5958 section 3) and
// returns the PrivateKeyInfo in DER, for the caller to parse and to zero. With
// PBES2 the passphrase is taken as it is; only the PKCS #12 schemes ask for
// UTF-8. A plaintext that is no PrivateKeyInfo counts as a wrong passphrase:
// about one wrong passphrase in 256 gives right padding.
//
// Errors: [ErrPassphrase], [ErrCharset], [ErrIterations], [ErrMalformed], [ErrTooLarge],
// [*UnsupportedError] (PBES1 among others).
func DecryptPKCS8(der, passphrase []byte, limits Limits) ([]byte, error) {
	if len(der) > MaxPKCS8 {
		return nil, fmt.Errorf("%w: %d octets, at most %d are allowed", ErrTooLarge, len(der), MaxPKCS8)
	}
	c := new(ber.Counter)
	e, err := ber.Parse(der, c)
	if err != nil {
		return nil, err
	}
	p := NewPassphrase(passphrase)
	defer p.Zero()
	return DecryptKey(e, p, NewBudget(limits), c)
}

// DecryptKey is [DecryptPKCS8] for an element of a larger structure, with its
// budget and its counter.
func DecryptKey(e ber.Element, p *Passphrase, b *Budget, c *ber.Counter) ([]byte, error) {
	r, err := e.Sequence("encrypted private key")
	if err != nil {
		return nil, err
	}
	algorithm := r.Next()
	ciphertext, err := r.OctetString("encrypted private key")
	if err != nil {
		return nil, err
	}
	if err := r.End("encrypted private key"); err != nil {
		return nil, err
	}
	var key []byte
	plain, err := Decrypt(algorithm, ciphertext, p, b, func(plain []byte) error {
		used := *c
		e, err := ber.Parse(plain, &used)
		if err != nil {
			return err
		}
		if key, err = PrivateKeyInfo(e); err == nil {
			*c = used
		}
		return err
	})
	clear(plain)
	return key, err
}

// PrivateKeyInfo returns the element in DER if it has the outline of a
// PrivateKeyInfo (RFC 5958 section 2): version, algorithm and an octet string.
// Whether the key inside is of use is for crypto/x509 to say.
func PrivateKeyInfo(e ber.Element) ([]byte, error) {
	r, err := e.Sequence("private key")
	if err != nil {
		return nil, err
	}
	if _, err := r.Int("private key version"); err != nil {
		return nil, err
	}
	algorithm, err := r.Sequence("private key algorithm")
	if err != nil {
		return nil, err
	}
	if _, err := algorithm.OID("private key algorithm"); err != nil {
		return nil, err
	}
	if e := r.Next(); !e.Is(ber.Universal, ber.TagOctetString) {
		return nil, malformed("private key: octets expected")
	}
	return e.DER(), nil
}
