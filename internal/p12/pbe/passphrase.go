package pbe

import (
	"unicode/utf16"
	"unicode/utf8"
)

// Passphrase holds a passphrase in the forms that the schemes take. Its buffers
// are its own and wiped by [Passphrase.Zero]. The zero value has no form and
// opens nothing; use [NewPassphrase].
//
// RFC 7292 appendix B.1 asks for a BMPString, big-endian with two zero octets
// at the end, which has no room for characters above U+FFFF. OpenSSL, GnuTLS
// and NSS write such a character as a UTF-16 surrogate pair, and so does this
// package; Java takes printable ASCII only. For the empty passphrase there are
// two readings, the terminator alone and nothing at all, and programs of both
// kinds: both are tried.
//
// No Unicode normalization takes place, as in OpenSSL; GnuTLS normalizes to NFC
// what it is given.
type Passphrase struct {
	octets [][]byte // forms for PBKDF2 and scrypt
	utf16  [][]byte // forms for the PKCS #12 schemes, nil when there is none
}

// NewPassphrase copies a passphrase, normally UTF-8.
func NewPassphrase(octets []byte) *Passphrase {
	own := make([]byte, len(octets))
	copy(own, octets)
	p := &Passphrase{octets: [][]byte{own}}
	if !utf8.Valid(own) {
		return p
	}
	wide := make([]byte, 0, 2*len(own)+2)
	for rest := own; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		rest = rest[n:]
		if r1, r2 := utf16.EncodeRune(r); r > 0xFFFF {
			wide = append(wide, byte(r1>>8), byte(r1))
			r = r2
		}
		wide = append(wide, byte(r>>8), byte(r))
	}
	p.utf16 = [][]byte{append(wide, 0, 0)}
	if len(own) == 0 {
		p.utf16 = append(p.utf16, []byte{})
	}
	return p
}

// Octets returns the passphrase as it was given, not a copy.
func (p *Passphrase) Octets() []byte {
	if len(p.octets) == 0 {
		return nil
	}
	return p.octets[0]
}

// UTF16 returns the forms for the PKCS #12 schemes in the order to try, or
// [ErrCharset] when the passphrase is not valid UTF-8.
func (p *Passphrase) UTF16() ([][]byte, error) {
	if p.utf16 == nil {
		return nil, ErrCharset
	}
	return p.utf16, nil
}

// Prefer makes form i of [Passphrase.UTF16] the first: the one that opened the
// MAC most likely opens the bags.
func (p *Passphrase) Prefer(i int) {
	p.utf16[0], p.utf16[i] = p.utf16[i], p.utf16[0]
}

// TryWide lets PBES2 try the UTF-16 form after the octets. NSS encrypted so for
// years, and its files cannot be told apart. To be called when the passphrase
// is known to be right, since it doubles the work for a wrong one.
func (p *Passphrase) TryWide() {
	if len(p.octets) == 1 {
		p.octets = append(p.octets, p.utf16...)
	}
}

// Zero wipes all forms.
func (p *Passphrase) Zero() {
	for _, f := range p.octets {
		clear(f)
	}
	for _, f := range p.utf16 {
		clear(f)
	}
}
