package dane

import (
	"log/slog"
	"strconv"
)

// Reason says why a record cannot be used, or what it failed on. The first group
// is static and found when the record is looked at; the second depends on the
// certificates. Within each group a later value means that the record came
// further, up to Name, where nothing but the name was wrong.
type Reason uint8

// Reasons that need no certificate to be known.
const (
	ReasonNone                Reason = iota // nothing is wrong
	ReasonUnknownUsage                      // usage above 3
	ReasonUnknownSelector                   // selector above 1
	ReasonUnknownMatchingType               // matching type above 2
	ReasonPKIXUsage                         // usage 0 or 1 in SMTP (RFC 7672 section 3.1.3)
	ReasonEmptyData                         // no association data
	ReasonBadLength                         // a digest that has not 32 or 64 octets
	ReasonBadData                           // matching type Full with data that does not decode
	ReasonSuppressed                        // usable, but outranked by a stronger digest (RFC 7671 section 9)
)

// Reasons that come from the certificates.
const (
	ReasonNoCertificate     Reason = iota + ReasonSuppressed + 1 // the server sent none
	ReasonNoMatch                                                // no certificate has the published data
	ReasonNoPath                                                 // a match, but no way from the server's certificate to it
	ReasonBadSignature                                           // a signature on the way does not verify
	ReasonWeakSignature                                          // a signature on the way uses SHA-1 or MD5
	ReasonNotYetValid                                            // a certificate on the path starts later
	ReasonExpired                                                // a certificate on the path is past its end
	ReasonNotCA                                                  // a signer on the path is no CA
	ReasonPathLen                                                // more intermediates than a CA on the path allows
	ReasonKeyUsage                                               // keyUsage forbids what the key is used for
	ReasonExtKeyUsage                                            // extKeyUsage excludes TLS servers
	ReasonNameConstraint                                         // a CA on the path may not speak for the names in the certificate
	ReasonCriticalExtension                                      // an unknown critical extension, or a policy that cannot be met
	ReasonNoRoots                                                // usage 0 or 1 without Options.Roots
	ReasonUntrustedRoot                                          // usage 0 or 1, and no path to one of Options.Roots
	ReasonLimit                                                  // the chain asks for more work than one handshake is worth
	ReasonNoReferenceID                                          // the caller gave no name to compare
	ReasonName                                                   // the certificate has none of the names
)

var reasonTexts = [...]string{
	ReasonNone:                "none",
	ReasonUnknownUsage:        "unknown usage",
	ReasonUnknownSelector:     "unknown selector",
	ReasonUnknownMatchingType: "unknown matching type",
	ReasonPKIXUsage:           "PKIX usage in SMTP",
	ReasonEmptyData:           "empty data",
	ReasonBadLength:           "bad digest length",
	ReasonBadData:             "data does not decode",
	ReasonSuppressed:          "outranked by a stronger digest",
	ReasonNoCertificate:       "no certificate",
	ReasonNoMatch:             "no match",
	ReasonNoPath:              "no path to the trust anchor",
	ReasonBadSignature:        "bad signature",
	ReasonWeakSignature:       "weak signature algorithm",
	ReasonNotYetValid:         "not yet valid",
	ReasonExpired:             "expired",
	ReasonNotCA:               "signer is not a CA",
	ReasonPathLen:             "path length exceeded",
	ReasonKeyUsage:            "key usage",
	ReasonExtKeyUsage:         "extended key usage",
	ReasonNameConstraint:      "name constraint",
	ReasonCriticalExtension:   "critical extension or policy",
	ReasonNoRoots:             "no public roots configured",
	ReasonUntrustedRoot:       "no path to a public root",
	ReasonLimit:               "limit reached",
	ReasonNoReferenceID:       "no reference identifier",
	ReasonName:                "name mismatch",
}

// String returns the reason in a few words.
func (r Reason) String() string {
	if int(r) >= len(reasonTexts) {
		return "Reason(" + strconv.Itoa(int(r)) + ")"
	}
	return reasonTexts[r]
}

// LogValue returns the reason in words, so that logs do not show a number.
func (r Reason) LogValue() slog.Value { return slog.StringValue(r.String()) }

// advice says what can be done, and by whom.
func (r Reason) advice() string {
	switch r {
	case ReasonNoCertificate:
		return "the server must send its certificate"
	case ReasonNoMatch:
		return "the operator of the server must publish a record of the certificate in use"
	case ReasonNoPath, ReasonBadSignature:
		return "the server must send the certificates between its own and the published one"
	case ReasonWeakSignature:
		return "the operator of the server must replace the certificate signed with SHA-1 or MD5"
	case ReasonNotYetValid:
		return "check the clock, or wait"
	case ReasonExpired:
		return "the operator of the server must renew the certificate; check the clock too"
	case ReasonNotCA, ReasonPathLen, ReasonKeyUsage, ReasonExtKeyUsage, ReasonNameConstraint, ReasonCriticalExtension:
		return "the operator of the server must have the certificate issued anew"
	case ReasonNoRoots:
		return "set Options.Roots"
	case ReasonUntrustedRoot:
		return "the certificate must be issued below one of Options.Roots"
	case ReasonLimit:
		return "the server must send a shorter chain"
	case ReasonNoReferenceID:
		return "the caller must give the names to compare"
	case ReasonName:
		return "the certificate must contain the TLSA base domain"
	}
	return "the operator of the server must correct the TLSA records"
}
