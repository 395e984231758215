package certs

import (
	"crypto/subtle"
	"fmt"
	"unicode/utf8"

	"software.sslmate.com/src/go-pkcs12"
)

// PKCS12Profile is the set of algorithms of an exported file.
type PKCS12Profile string

const (
	// Modern2023 encrypts with AES-256 and has a MAC of HMAC-SHA-256: OpenSSL
	// from 1.1.1, Java from 8u301, Windows from Server 2019.
	Modern2023 PKCS12Profile = "Modern2023"
	// LegacyDES encrypts with three-key Triple DES and has a MAC of HMAC-SHA-1,
	// for programs that are older.
	LegacyDES PKCS12Profile = "LegacyDES"
)

// ExportOptions are the settings of ExportPKCS12. The zero value is refused: a
// passphrase is needed.
type ExportOptions struct {
	Passphrase []byte        // UTF-8
	Confirm    []byte        // the same once more, as the operator typed it
	Profile    PKCS12Profile // "": Modern2023

	// AllowEmptyPassphrase permits an empty passphrase. Anybody can read the key.
	AllowEmptyPassphrase bool
}

// ExportPKCS12 returns an entry as a PKCS #12 file: key, leaf and chain. The
// passphrase is copied into a string on the way, which cannot be overwritten after use.
//
// Errors: [ErrPassphraseConfirm], *FieldError for an empty passphrase that is not
// allowed, [ErrPassphraseCharset] for one that has a character beyond U+FFFF, which
// PKCS #12 (RFC 7292 appendix B.1) has no room for, a NUL, at which other programs
// stop reading, or is not UTF-8; *FieldError for an unknown profile, too,
// [ErrNotFound], [ErrNotOpen].
func (s *Store) ExportPKCS12(name string, o ExportOptions) ([]byte, error) {
	st, err := s.read()
	if err != nil {
		return nil, err
	}
	e, err := st.find(name)
	if err != nil {
		return nil, err
	}
	var encoder *pkcs12.Encoder
	switch o.Profile {
	case "", Modern2023:
		encoder = pkcs12.Modern2023
	case LegacyDES:
		encoder = pkcs12.LegacyDES
	default:
		return nil, &FieldError{Field: "Profile", Value: string(o.Profile), Problem: `"Modern2023" or "LegacyDES" is needed`}
	}
	if err := o.checkPassphrase(); err != nil {
		return nil, placed(fmt.Sprintf("exporting entry %q", e.name), err)
	}
	if !publicEqual(e.key.Public(), e.chain[0].PublicKey) { // the encoder does not look
		return nil, fmt.Errorf("certs: exporting entry %q: %w", e.name, ErrKeyMismatch)
	}
	data, err := encoder.WithRand(s.options.Rand).Encode(e.key.hidden.signer(), e.chain[0], e.chain[1:], string(o.Passphrase))
	if err != nil {
		return nil, fmt.Errorf("certs: exporting entry %q: %w", e.name, err)
	}
	return data, nil
}

func (o *ExportOptions) checkPassphrase() error {
	switch {
	case subtle.ConstantTimeCompare(o.Passphrase, o.Confirm) != 1:
		return ErrPassphraseConfirm
	case len(o.Passphrase) == 0 && !o.AllowEmptyPassphrase:
		return &FieldError{Field: "Passphrase", Problem: "empty, so that anybody could read the key; AllowEmptyPassphrase permits it all the same"}
	case !utf8.Valid(o.Passphrase):
		return ErrPassphraseCharset
	}
	for _, r := range string(o.Passphrase) {
		if r == 0 || r > 0xffff {
			return ErrPassphraseCharset
		}
	}
	return nil
}
