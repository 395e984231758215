package pbe

import (
	"crypto/hmac"
	"fmt"
	"hash"

	"github.com/smtpsec/smtpsec/internal/p12/ber"
)

// Bounds of the key length in PBMAC1 parameters. RFC 9879 section 7 tells the
// reader to refuse fewer than 20 octets, since a key of one octet is forged by
// trying. More than 64 is of no use: the longest HMAC here has that size.
const (
	minPBMAC1Key = 20
	maxPBMAC1Key = 64
)

// PBMAC1 is the scheme of RFC 8018 section 7.1, in the profile for PKCS #12 (RFC
// 9879, which replaces RFC 9579): PBKDF2 with an explicit key length, and HMAC.
type PBMAC1 struct {
	kdf     *KDF
	newHash func() hash.Hash
}

// ParsePBMAC1 reads PBMAC1-params (RFC 8018 appendix A.5). The count is not
// judged. Errors: [ErrMalformed], [*UnsupportedError].
func ParsePBMAC1(params ber.Element) (*PBMAC1, error) {
	r, err := params.Sequence("PBMAC1 parameters")
	if err != nil {
		return nil, err
	}
	m := new(PBMAC1)
	if m.kdf, err = ParseKDF(r.Next()); err != nil {
		return nil, err
	}
	if m.kdf.prf == nil {
		return nil, Unsupported(oidScrypt, "MAC key derivation")
	}
	if n := m.kdf.KeyLength; n < minPBMAC1Key || n > maxPBMAC1Key {
		return nil, fmt.Errorf("%w: PBMAC1 key length missing or outside %d to %d octets", ErrMalformed, minPBMAC1Key, maxPBMAC1Key)
	}
	mac, err := r.Sequence("PBMAC1 scheme")
	if err != nil {
		return nil, err
	}
	id, err := mac.OID("PBMAC1 scheme")
	if err != nil {
		return nil, err
	}
	if m.newHash, err = HMAC(id, "MAC"); err != nil {
		return nil, err
	}
	return m, r.End("PBMAC1 parameters")
}

// Count returns the iteration count of the key derivation.
func (m *PBMAC1) Count() int64 { return m.kdf.Count }

// Size returns the length of the MAC in octets.
func (m *PBMAC1) Size() int { return m.newHash().Size() }

// Sum returns the MAC of a message. The passphrase is taken as octets, not in
// UTF-16 (RFC 9879 section 4). Errors: [ErrIterations], [ErrMalformed].
func (m *PBMAC1) Sum(message, passphrase []byte, b *Budget) ([]byte, error) {
	key, err := m.kdf.Key(passphrase, int(m.kdf.KeyLength), b)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	h := hmac.New(m.newHash, key)
	h.Write(message)
	return h.Sum(nil), nil
}
