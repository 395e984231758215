package certs

import (
	"crypto/sha256"
	"fmt"
)

// Severity says how much a Finding matters.
type Severity uint8

const (
	SeverityInfo    Severity = iota // good to know
	SeverityWarning                 // some peers will refuse it, or it is unwise
)

// String returns "info" or "warning".
func (s Severity) String() string {
	switch s {
	case SeverityInfo:
		return "info"
	case SeverityWarning:
		return "warning"
	}
	return fmt.Sprintf("Severity(%d)", uint8(s))
}

// Code names what is wrong. The names are stable.
type Code string

// Codes about one certificate.
const (
	FindingNotV3           Code = "not-v3"           // the version is not 3
	FindingSerialZero      Code = "serial-zero"      // the serial number is zero (RFC 5280 section 4.1.2.2)
	FindingSerialLong      Code = "serial-long"      // it has more than 20 octets
	FindingSigWeak         Code = "sig-weak"         // signed with MD2, MD5 or SHA-1, and not a self-signed root
	FindingWeakKey         Code = "weak-key"         // RSA below 2,048 bits
	FindingBadKey          Code = "bad-key"          // RSA modulus or exponent of a broken generator
	FindingExpired         Code = "expired"          // the end of the validity is past
	FindingNotYetValid     Code = "not-yet-valid"    // its start is to come
	FindingLongLived       Code = "long-lived"       // valid for more than ten years, and not an authority
	FindingNameAbsent      Code = "name-absent"      // neither common name nor dNSName, or the wanted name in neither
	FindingNoSAN           Code = "no-san"           // a common name only, which many peers ignore
	FindingCNNotInSAN      Code = "cn-not-in-san"    // the common name is not among the dNSNames
	FindingCNOmitted       Code = "cn-omitted"       // too long for a common name: it is in the dNSNames only
	FindingSANSyntax       Code = "san-syntax"       // a dNSName that is none: underscore, final dot, address, bad wildcard
	FindingFQDN            Code = "fqdn"             // a name that is not fully qualified
	FindingNotCA           Code = "not-ca"           // in a list or chain of authorities without being one
	FindingCAAsLeaf        Code = "ca-as-leaf"       // an authority's certificate that serves as a leaf
	FindingKeyUsage        Code = "key-usage"        // without digitalSignature, or without keyCertSign on an authority
	FindingEKU             Code = "eku"              // not allowed for the use at hand
	FindingCriticalUnknown Code = "critical-unknown" // a critical extension that crypto/x509 does not know
	FindingEmptySubject    Code = "empty-subject"    // empty, and the dNSNames are not critical (RFC 5280 section 4.2.1.6)
	FindingSelfSigned      Code = "self-signed"      // the leaf is its own issuer (information)
	FindingDemonstration   Code = "demonstration"    // the demonstration certificate is in use: not secure, not for general use
)

// Codes about a chain, an input or a store.
const (
	FindingChainIncomplete   Code = "chain-incomplete"    // an issuer is missing
	FindingChainExpired      Code = "chain-expired"       // an intermediate is expired or not yet valid
	FindingIssuerNotListed   Code = "issuer-not-listed"   // no enabled list has the authority at the end
	FindingDuplicate         Code = "duplicate"           // a certificate that the input has twice (information)
	FindingUnused            Code = "unused"              // a certificate that is not part of the chain (information)
	FindingNamesChanged      Code = "names-changed"       // the new certificate has other names than the former one
	FindingKeyReused         Code = "key-reused"          // two entries share a key
	FindingPEMHeaders        Code = "pem-headers"         // headers inside a CERTIFICATE block, ignored
	FindingBoundaryInComment Code = "boundary-in-comment" // a commented-out PEM boundary, ignored
	FindingBadBlock          Code = "bad-block"           // a block that lenient reading left out
	FindingLiftsConstraint   Code = "lifts-constraint"    // a custom authority overrides a distrust date of the system list
	FindingKeyPermissions    Code = "key-permissions"     // others can read a key file
	FindingMetaUnreadable    Code = "meta-unreadable"     // the notes about an entry are lost; it is served all the same
	FindingExpiring          Code = "expiring"            // the end of the validity is near
)

// Finding is one thing that is not as it should be. Findings never block: what is
// worth refusing is an error.
type Finding struct {
	Code     Code
	Severity Severity
	Cert     [sha256.Size]byte // SHA-256 of the certificate; zero if it is about none
	Detail   string            // one sentence; never any part of a key
}

// String returns the finding as a line for people.
func (f Finding) String() string {
	if f.Detail == "" {
		return f.Severity.String() + ": " + string(f.Code)
	}
	return f.Severity.String() + ": " + string(f.Code) + ": " + f.Detail
}

// Worst returns the highest severity in the list, and false if it is empty.
func Worst(findings []Finding) (Severity, bool) {
	worst := SeverityInfo
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst, len(findings) > 0
}
