package dane

import (
	"fmt"
	"strconv"
)

// Usage is the certificate usage field of a TLSA record: which certificate the
// record speaks of, and whether the public roots have a say (RFC 6698 section
// 2.1.1, names from RFC 7218 section 2.1).
type Usage uint8

// The assigned usages. Every other value makes a record unusable.
const (
	UsagePKIXTA Usage = 0 // an issuer, and the path must be valid to a public root
	UsagePKIXEE Usage = 1 // the server's certificate, and the path must be valid to a public root
	UsageDANETA Usage = 2 // a trust anchor, sent or published, that the path must end at
	UsageDANEEE Usage = 3 // the server's certificate or key, and nothing else counts
)

// Selector is the selector field of a TLSA record: which part of the
// certificate is compared (RFC 6698 section 2.1.2, names from RFC 7218 section
// 2.2).
type Selector uint8

// The assigned selectors. Every other value makes a record unusable.
const (
	SelectorCert Selector = 0 // the whole certificate
	SelectorSPKI Selector = 1 // its SubjectPublicKeyInfo
)

// MatchingType is the matching type field of a TLSA record: how the selected
// part is presented (RFC 6698 section 2.1.3, names from RFC 7218 section 2.3).
type MatchingType uint8

// The assigned matching types. Every other value makes a record unusable.
const (
	MatchingFull   MatchingType = 0 // as it is
	MatchingSHA256 MatchingType = 1 // its SHA-256 digest, 32 octets
	MatchingSHA512 MatchingType = 2 // its SHA-512 digest, 64 octets
)

// private is the value that each of the three registries sets aside for private
// use (RFC 7218 section 2). No meaning can be agreed on for it in public DNS.
const private = 255

var (
	usageAcronyms    = [...]string{"PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE"}
	selectorAcronyms = [...]string{"Cert", "SPKI"}
	matchingAcronyms = [...]string{"Full", "SHA2-256", "SHA2-512"}
)

const (
	privateUsage    = "PrivCert"
	privateSelector = "PrivSel"
	privateMatching = "PrivMatch"
)

// String returns the acronym of RFC 7218, or the number in decimal.
func (u Usage) String() string { return acronym(uint8(u), usageAcronyms[:], privateUsage) }

// String returns the acronym of RFC 7218, or the number in decimal.
func (s Selector) String() string { return acronym(uint8(s), selectorAcronyms[:], privateSelector) }

// String returns the acronym of RFC 7218, or the number in decimal.
func (m MatchingType) String() string { return acronym(uint8(m), matchingAcronyms[:], privateMatching) }

// MarshalText returns what String returns. It does not fail.
func (u Usage) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalText returns what String returns. It does not fail.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText returns what String returns. It does not fail.
func (m MatchingType) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads an acronym in any letter case or a number from 0 to 255.
// Anything else is a *SyntaxError, and *u stays as it was.
func (u *Usage) UnmarshalText(b []byte) error {
	return unmarshalField((*uint8)(u), b, "usage", usageAcronyms[:], privateUsage)
}

// UnmarshalText reads an acronym in any letter case or a number from 0 to 255.
// Anything else is a *SyntaxError, and *s stays as it was.
func (s *Selector) UnmarshalText(b []byte) error {
	return unmarshalField((*uint8)(s), b, "selector", selectorAcronyms[:], privateSelector)
}

// UnmarshalText reads an acronym in any letter case or a number from 0 to 255.
// Anything else is a *SyntaxError, and *m stays as it was.
func (m *MatchingType) UnmarshalText(b []byte) error {
	return unmarshalField((*uint8)(m), b, "matching type", matchingAcronyms[:], privateMatching)
}

func acronym(v uint8, names []string, priv string) string {
	switch {
	case int(v) < len(names):
		return names[v]
	case v == private:
		return priv
	}
	return strconv.Itoa(int(v))
}

func unmarshalField(v *uint8, b []byte, field string, names []string, priv string) error {
	n, ok := fieldValue(b, names, priv)
	if !ok {
		return &SyntaxError{Input: string(b[:min(len(b), maxInput)]), Msg: fmt.Sprintf("the %s is neither a number from 0 to 255 nor a known acronym", field)}
	}
	*v = n
	return nil
}

// fieldValue reads one of the three leading fields.
func fieldValue[T string | []byte](s T, names []string, priv string) (uint8, bool) {
	if n, ok := smallNumber(s, 255); ok {
		return uint8(n), true
	}
	for i, name := range names {
		if sameLetters(s, name) {
			return uint8(i), true
		}
	}
	return private, sameLetters(s, priv)
}

// smallNumber reads decimal digits and nothing else; leading zeros are allowed
// up to the width of the limit, signs are not.
func smallNumber[T string | []byte](s T, limit int) (int, bool) {
	if len(s) == 0 || len(s) > len("65535") {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, n <= limit
}

// sameLetters compares with an acronym, ASCII letter case apart.
func sameLetters[T string | []byte](s T, name string) bool {
	if len(s) != len(name) {
		return false
	}
	for i := 0; i < len(s); i++ {
		a, b := s[i], name[i]
		if a != b && (a|0x20 != b|0x20 || a|0x20 < 'a' || a|0x20 > 'z') {
			return false
		}
	}
	return true
}
