package dane

import (
	"crypto/x509"

	"github.com/smtpsec/smtpsec/internal/certname"
)

// matchName returns the first reference identifier that the certificate carries,
// "" if it carries none of them.
//
// Only dNSNames count (RFC 6125 section 6.4), and the common name, where cn
// allows it, only in a certificate without any dNSName: one that does not match
// rules the common name out (RFC 7672 section 3.2.3).
func matchName(leaf *x509.Certificate, ids RefIDs, cn bool) string {
	for _, name := range ids.names {
		for _, presented := range leaf.DNSNames {
			if certname.Match(presented, name) {
				return name
			}
		}
	}
	if !cn || len(leaf.DNSNames) > 0 {
		return ""
	}
	for _, name := range ids.names {
		if _, ok := certname.CommonName(leaf, name, certname.Match); ok {
			return name
		}
	}
	return ""
}
