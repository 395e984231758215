package dane

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
)

// Check returns ReasonNone if the record can be used in the profile, else the
// first thing that keeps it from being used:
//
//   - usage, selector and matching type must be known (RFC 6698 section 2.1);
//   - usages 0 and 1 are not used in SMTP (RFC 7672 section 3.1.3);
//   - a digest must have its length, and matching type Full a value that decodes
//     completely. Go must be able to read the key in it: a certificate on a
//     curve unknown to crypto/x509 cannot be met in crypto/tls either.
//
// It never returns ReasonSuppressed, which depends on the other records. Only
// matching type Full allocates.
func (r Record) Check(p Profile) Reason {
	switch {
	case r.Usage > UsageDANEEE:
		return ReasonUnknownUsage
	case r.Selector > SelectorSPKI:
		return ReasonUnknownSelector
	case r.MatchingType > MatchingSHA512:
		return ReasonUnknownMatchingType
	case r.Usage < UsageDANETA && p != ProfileGeneric:
		return ReasonPKIXUsage
	case len(r.Data) == 0:
		return ReasonEmptyData
	}
	switch r.MatchingType {
	case MatchingSHA256:
		if len(r.Data) != sha256.Size {
			return ReasonBadLength
		}
	case MatchingSHA512:
		if len(r.Data) != sha512.Size {
			return ReasonBadLength
		}
	default:
		if cert, key := r.decode(); cert == nil && key == nil {
			return ReasonBadData
		}
	}
	return ReasonNone
}

// decode returns what a Full record holds: a certificate with a public key, or a
// public key alone, or neither if the data is damaged or goes on behind it.
func (r Record) decode() (*x509.Certificate, any) {
	if r.Selector == SelectorSPKI {
		key, err := x509.ParsePKIXPublicKey(r.Data)
		if err != nil {
			return nil, nil
		}
		return nil, key
	}
	cert, err := x509.ParseCertificate(r.Data)
	if err != nil || cert.PublicKey == nil {
		return nil, nil
	}
	return cert, nil
}
