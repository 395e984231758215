package tlspolicy

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/smtpsec/smtpsec/internal/certname"
)

// NameSource says which field of a certificate a name stands in.
type NameSource uint8

// The fields that names are taken from. The zero value means none.
const (
	NameSourceNone NameSource = iota
	NameSourceSAN             // dNSName of the subject alternative name extension
	NameSourceCN              // commonName of the subject
)

var nameSourceNames = [...]string{"none", "san", "cn"}

// String returns "san", "cn" or "none".
func (s NameSource) String() string {
	return nameOf(nameSourceNames[:], uint8(s), "NameSource")
}

// MarshalText returns the name of the source; an unnamed value is an error.
func (s NameSource) MarshalText() ([]byte, error) {
	return appendName(nil, nameSourceNames[:], uint8(s), "NameSource")
}

// Identity tells which name a certificate proved, if it proved one. The zero
// value means none. Strings are those of the reference and of the certificate.
type Identity struct {
	OK        bool          // a reference identity matched
	Kind      ReferenceKind // where the reference came from
	Name      string        // the reference
	Via       NameSource    // the field of the certificate that matched
	Presented string        // its content; may be a wildcard, and in any letter case
	Secure    bool          // the reference did not come out of unprotected DNS
}

func identity(ref Reference, via NameSource, presented string) Identity {
	return Identity{OK: true, Kind: ref.Kind, Name: ref.Name, Via: via, Presented: presented, Secure: ref.Secure}
}

// modeRule is the identity rule of a mode with the options that bear on it.
type modeRule struct {
	hosted     bool // the rule of Required (Verify Hosted Domains)
	ptr        bool // PTR names count
	secureOnly bool // references from unprotected DNS do not count
}

// certificate is a peer's certificate as the name rules see it.
type certificate struct {
	leaf *x509.Certificate
	// cn says that the common name may be consulted: no certificate of the path
	// carries name constraints, which crypto/x509 does not apply to it.
	cn bool
}

// newCertificate takes the leaf and the path that was verified for it.
func newCertificate(leaf *x509.Certificate, path []*x509.Certificate) certificate {
	for _, cert := range path {
		if certname.HasNameConstraints(cert) {
			return certificate{leaf: leaf}
		}
	}
	return certificate{leaf: leaf, cn: true}
}

// san compares every dNSName with the reference, wildcards allowed.
func (c certificate) san(ref Reference) (Identity, bool) {
	if ref.Kind == ReferenceNone {
		return Identity{}, false
	}
	for _, name := range c.leaf.DNSNames {
		if len(name) != len(ref.Name) && !strings.HasPrefix(name, "*") {
			continue // cannot be equal; spares most names the full comparison
		}
		if certname.Match(name, ref.Name) {
			return identity(ref, NameSourceSAN, name), true
		}
	}
	return Identity{}, false
}

// commonName compares every common name with the reference by the given rule.
func (c certificate) commonName(ref Reference, rule func(presented, reference string) bool) (Identity, bool) {
	if !c.cn || ref.Kind == ReferenceNone {
		return Identity{}, false
	}
	name, ok := certname.CommonName(c.leaf, ref.Name, rule)
	if !ok {
		return Identity{}, false
	}
	return identity(ref, NameSourceCN, name), true
}

// mode compares by the rule of the mode.
func (c certificate) mode(refs *References, rule modeRule) (Identity, bool) {
	if rule.hosted {
		return c.hosted(refs, rule.secureOnly)
	}
	return c.verify(refs, rule.ptr, rule.secureOnly)
}

// verify is the identity of the modes Preferred (Verify) and Required (Verify):
// a dNSName for the recipient domain, or a common name that is, letter for
// letter, the recipient domain, the host connected to, or with ptr a name of its
// address. The common name is consulted even if there are dNSNames, and dNSNames
// are compared with the recipient domain alone (the AsyncOS chapter, "TLS
// Required - Verify").
func (c certificate) verify(refs *References, ptr, secureOnly bool) (Identity, bool) {
	if id, ok := c.san(refs.domain); ok {
		return id, true
	}
	if id, ok := c.commonName(refs.domain, certname.Equal); ok {
		return id, true
	}
	if refs.receiving.Secure || !secureOnly {
		if id, ok := c.commonName(refs.receiving, certname.Equal); ok {
			return id, true
		}
	}
	if !ptr {
		return Identity{}, false
	}
	for _, ref := range refs.ptr {
		if ref.Secure || !secureOnly {
			if id, ok := c.commonName(ref, certname.Equal); ok {
				return id, true
			}
		}
	}
	return Identity{}, false
}

// hosted is the identity of the mode Required (Verify Hosted Domains): the
// dNSNames, or if there are none at all the common name, must match the recipient
// domain, the MX host or the route host. A dNSName that is malformed still rules
// the common name out (RFC 6125 section 6.4.4).
func (c certificate) hosted(refs *References, secureOnly bool) (Identity, bool) {
	for _, ref := range [...]Reference{refs.domain, refs.receiving, refs.route} {
		if ref.Kind == ReferenceMXHost && secureOnly && !ref.Secure {
			continue
		}
		var id Identity
		var ok bool
		if len(c.leaf.DNSNames) > 0 {
			id, ok = c.san(ref)
		} else {
			id, ok = c.commonName(ref, certname.Match)
		}
		if ok {
			return id, true
		}
	}
	return Identity{}, false
}

// stsName is the identity that MTA-STS asks for: a dNSName for the host as the
// MX RRset names it. The common name does not count (RFC 8461 section 4.2).
func (c certificate) stsName(refs *References) (Identity, bool) {
	return c.san(refs.receiving)
}

// considered returns the references that verify or hosted compare, for the
// error text.
func (r *References) considered(rule modeRule) []Reference {
	return slices.DeleteFunc(r.All(), func(ref Reference) bool {
		switch {
		case rule.secureOnly && !ref.Secure:
			return true
		case ref.Kind == ReferencePTR:
			return rule.hosted || !rule.ptr
		default:
			return !rule.hosted && ref != r.domain && ref != r.receiving
		}
	})
}
