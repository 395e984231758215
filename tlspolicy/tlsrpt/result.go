package tlsrpt

import "slices"

// ResultType is a result type of a report (RFC 8460 section 4.3). The empty one
// is success. Types that RFC 8460 does not define occur in reports of others.
type ResultType string

// The result types of RFC 8460 section 4.3.
const (
	// Success is no result type of the RFC: a session that failed nothing.
	Success ResultType = ""

	// Negotiation (section 4.3.1).

	STARTTLSNotSupported    ResultType = "starttls-not-supported"
	CertificateHostMismatch ResultType = "certificate-host-mismatch"
	CertificateExpired      ResultType = "certificate-expired"
	CertificateNotTrusted   ResultType = "certificate-not-trusted"
	// ValidationFailure is every failure that has no type of its own.
	ValidationFailure ResultType = "validation-failure"

	// DANE (section 4.3.2.1).

	TLSAInvalid   ResultType = "tlsa-invalid"
	DNSSECInvalid ResultType = "dnssec-invalid"
	DANERequired  ResultType = "dane-required"

	// MTA-STS (section 4.3.2.2).

	STSPolicyFetchError ResultType = "sts-policy-fetch-error"
	STSPolicyInvalid    ResultType = "sts-policy-invalid"
	STSWebPKIInvalid    ResultType = "sts-webpki-invalid"
)

var resultTypes = [...]ResultType{
	STARTTLSNotSupported, CertificateHostMismatch, CertificateExpired, CertificateNotTrusted, ValidationFailure,
	TLSAInvalid, DNSSECInvalid, DANERequired, STSPolicyFetchError, STSPolicyInvalid, STSWebPKIInvalid,
}

// Known reports whether RFC 8460 defines the type.
func (r ResultType) Known() bool { return slices.Contains(resultTypes[:], r) }

// beforeConnection reports whether the type is about the policy itself, which is
// fetched before there is a mail host (RFC 8460 section 4.3.2.2).
func (r ResultType) beforeConnection() bool {
	return r == STSPolicyFetchError || r == STSPolicyInvalid || r == STSWebPKIInvalid
}

// Reasons of failures, for PolicyResult.Reason where ResultOf gives none. A
// reason is 1 to 64 letters in lower case, digits, dots and hyphens.
const (
	ReasonNotOffered       = "not-offered"               // EHLO without STARTTLS, or no ESMTP
	ReasonMXMismatch       = "mtasts-policy-mx-mismatch" // MX host that the MTA-STS policy does not name
	ReasonTLSAMismatch     = "dane-tlsa-mismatch"        // certificate that no TLSA record matches
	ReasonPlaintext        = "plaintext-after-220"       // octets between the reply to STARTTLS and the handshake
	ReasonConnectionClosed = "connection-closed"         // end or reset of the connection in the handshake
	ReasonHandshakeTimeout = "handshake-timeout"         // no handshake in time
	ReasonTLSALookup       = "tlsa-lookup-"              // with the RCODE in lower case: failed TLSA lookup
	ReasonTLSATimeout      = "tlsa-lookup-timeout"       // TLSA lookup without answer
	ReasonRefused          = "refused-"                  // with the reply code: STARTTLS refused
	reasonTLS              = "tls-error"                 // failure of no kind that is known
	reasonRecordHeader     = "tls-record-header"         // octets that are no TLS
	reasonRemote           = "tls-remote-"               // alert of theirs
	reasonLocal            = "tls-local-"                // alert of ours
	maxReason              = 64                          // octets of a reason
)

// RefusedReason returns the reason of a STARTTLS that was answered with this
// reply code, such as "refused-454".
func RefusedReason(code int) string {
	if code < 100 || code > 999 {
		return ReasonRefused + "malformed"
	}
	return ReasonRefused + string([]byte{'0' + byte(code/100), '0' + byte(code/10%10), '0' + byte(code%10)})
}

// validReason reports whether s may stand as a failure reason of ours.
func validReason(s string) bool {
	if len(s) > maxReason {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// cleanReason makes a valid reason of any text.
func cleanReason(s string) string {
	if validReason(s) {
		return s
	}
	s = cut(s, maxReason)
	clean := []byte(s)
	for i, c := range clean {
		switch {
		case 'A' <= c && c <= 'Z':
			clean[i] = c + 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.':
		default:
			clean[i] = '-'
		}
	}
	return string(clean)
}
