// Package certname compares names in certificates with reference identifiers.
//
// It is the module's only name matcher: DANE trust anchors, the MTA-STS check
// and the certificate checks of the delivery modes all ask it, so that one
// certificate cannot carry a name for one of them and not for another. It
// follows RFC 6125 section 6.4 as RFC 9525 narrows it: a wildcard is a whole
// left-most label and stands for exactly one label.
//
// References come from hostname.Parse: lower-case A-labels without final dot.
// The presented side is foreign data and may be anything. Nothing allocates.
package certname

import (
	"crypto/x509"
	"encoding/asn1"
	"strings"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// Match reports whether the presented name equals the reference, letter case
// apart, or is a wildcard that covers it: "*." and at least two more labels,
// equal to the reference without its first label. A reference that has a label
// beginning with a hyphen, or an octet that is not a letter, digit, hyphen,
// underscore or dot, matches no wildcard (as x509.Certificate.VerifyHostname).
func Match(presented, reference string) bool {
	// The rules about characters cost more than the comparison and matter only
	// for the one name in a certificate that fits.
	if equalFold(presented, reference) {
		return Valid(presented)
	}
	suffix, wild := strings.CutPrefix(presented, "*.")
	if !wild {
		return false
	}
	first, rest, _ := strings.Cut(reference, ".")
	return first != "" && equalFold(suffix, rest) && wildcardReference(reference) && Valid(presented)
}

// Equal reports whether the presented name equals the reference, letter case
// apart. A wildcard equals nothing.
func Equal(presented, reference string) bool {
	return equalFold(presented, reference) && Valid(presented) && presented[0] != '*'
}

// Valid reports whether a presented name can match anything at all: 1 to 253
// octets of printable ASCII without blank or colon, no empty label, no dot at either
// end, no IP address in text form, and no star except as the whole left-most
// label before at least two more labels.
func Valid(presented string) bool {
	if presented == "" || len(presented) > hostname.MaxName {
		return false
	}
	name, wild := strings.CutPrefix(presented, "*.")
	dots, label := 0, 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			dots++
			label = 0
		case c <= ' ' || c >= 0x7f || c == '*' || c == ':':
			return false
		default:
			label++
		}
	}
	if label == 0 || wild && dots == 0 {
		return false
	}
	return !isAddress(name)
}

// isAddress reports whether s is a dotted quad. Other forms of address have a
// colon, which no reference has, so they need no test.
func isAddress(s string) bool {
	quads, value, digits := 1, 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			quads++
			value, digits = 0, 0
		case '0' <= c && c <= '9' && digits < 3:
			value = value*10 + int(c-'0')
			digits++
			if value > 255 {
				return false
			}
		default:
			return false
		}
	}
	return quads == 4
}

// CommonName tries every commonName attribute of the subject with match, in
// order, and returns the first that matches the reference. Whether the common
// name may be consulted at all is the caller's rule.
func CommonName(cert *x509.Certificate, reference string, match func(presented, reference string) bool) (string, bool) {
	for i := range cert.Subject.Names {
		attribute := &cert.Subject.Names[i]
		if !isOID(attribute.Type, oidCommonName[:]) {
			continue
		}
		if cn, ok := attribute.Value.(string); ok && match(cn, reference) {
			return cn, true
		}
	}
	return "", false
}

// HasNameConstraints reports whether the certificate carries the name
// constraints extension (RFC 5280 section 4.2.1.10), of whatever content.
// crypto/x509 does not apply constraints to common names, so the presence of
// one on a path rules the common name out.
func HasNameConstraints(cert *x509.Certificate) bool {
	for i := range cert.Extensions {
		if isOID(cert.Extensions[i].Id, oidNameConstraints[:]) {
			return true
		}
	}
	return false
}

var (
	oidCommonName      = [...]int{2, 5, 4, 3}
	oidNameConstraints = [...]int{2, 5, 29, 30}
)

func isOID(id asn1.ObjectIdentifier, want []int) bool {
	if len(id) != len(want) {
		return false
	}
	for i := range id {
		if id[i] != want[i] {
			return false
		}
	}
	return true
}

// wildcardReference reports whether a wildcard may stand for the reference.
func wildcardReference(s string) bool {
	start := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			start = true
			continue
		case c == '-':
			if start {
				return false
			}
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		default:
			return false
		}
		start = false
	}
	return true
}

// equalFold folds ASCII letters only; strings.EqualFold would also fold the
// Kelvin sign to k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z' {
			return false
		}
	}
	return true
}
