package tlsrpt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ResultOf returns the result type of a failed TLS handshake, certificate check or
// TLSA lookup, and the reason that a report tells. No error is a success.
//
// It knows the errors of crypto/tls, crypto/x509 and net, wrapped or not. What it
// cannot see are the failures before a handshake, of MTA-STS and of TLSA matching;
// for them there are the Reason constants. Every other error is a
// ValidationFailure with the reason "tls-error". No text of the peer becomes part
// of a reason.
//
// CertificateExpired tells that crypto/x509 found a validity period over: it looks
// at that before it looks for a chain, so the certificate may have other defects.
// A *net.DNSError is taken for that of a TLSA lookup, since no other lookup has a
// result type.
func ResultOf(err error) (ResultType, string) {
	if err == nil {
		return Success, ""
	}
	if verify, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && verify.Err != nil {
		err = verify.Err
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return CertificateHostMismatch, ""
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return ofInvalid(invalid)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return CertificateNotTrusted, "unknown-authority"
	}
	if _, ok := errors.AsType[x509.UnhandledCriticalExtension](err); ok {
		return CertificateNotTrusted, "unhandled-critical-extension"
	}
	if _, ok := errors.AsType[x509.InsecureAlgorithmError](err); ok {
		return CertificateNotTrusted, "insecure-algorithm"
	}
	if _, ok := errors.AsType[x509.ConstraintViolationError](err); ok {
		return CertificateNotTrusted, "constraint-violation"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return ofDNS(dns)
	}
	return ValidationFailure, connectionReason(err)
}

// connectionReason is the reason of a handshake that went wrong without a word
// about a certificate of theirs.
func connectionReason(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		// The concrete types of alerts are private to crypto/tls.
		switch op.Op {
		case "remote error":
			return alertReason(remoteAlerts, op.Err, reasonRemote)
		case "local error":
			return alertReason(localAlerts, op.Err, reasonLocal)
		}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return reasonRecordHeader
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ReasonHandshakeTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return ReasonConnectionClosed
	}
	return reasonTLS
}

// invalidReasons are the reasons of x509.CertificateInvalidError but Expired.
var invalidReasons = map[x509.InvalidReason]string{
	x509.NotAuthorizedToSign:           "not-authorized-to-sign",
	x509.CANotAuthorizedForThisName:    "ca-not-authorized-for-this-name",
	x509.TooManyIntermediates:          "too-many-intermediates",
	x509.IncompatibleUsage:             "incompatible-usage",
	x509.NameMismatch:                  "issuer-name-mismatch",
	x509.NameConstraintsWithoutSANs:    "name-constraints-without-sans",
	x509.UnconstrainedName:             "unconstrained-name",
	x509.TooManyConstraints:            "too-many-constraints",
	x509.CANotAuthorizedForExtKeyUsage: "ca-not-authorized-for-ext-key-usage",
	x509.NoValidChains:                 "no-valid-chains",
}

func ofInvalid(err x509.CertificateInvalidError) (ResultType, string) {
	if err.Reason != x509.Expired {
		if reason, ok := invalidReasons[err.Reason]; ok {
			return CertificateNotTrusted, reason
		}
		return CertificateNotTrusted, "invalid-certificate"
	}
	switch {
	case strings.Contains(err.Detail, " is before "): // the text of crypto/x509, with two times in it
		return CertificateExpired, "not-yet-valid"
	case err.Cert != nil && err.Cert.IsCA:
		return CertificateExpired, "issuer-expired"
	}
	return CertificateExpired, ""
}

func ofDNS(err *net.DNSError) (ResultType, string) {
	switch {
	case err.IsTimeout:
		return TLSAInvalid, ReasonTLSATimeout
	case err.IsTemporary:
		return TLSAInvalid, LookupReason(2)
	}
	return TLSAInvalid, ReasonTLSALookup + "failed"
}

// LookupReason returns the reason of a TLSA lookup that was answered with this
// RCODE (RFC 1035 section 4.1.1), such as "tlsa-lookup-servfail".
func LookupReason(rcode int) string {
	names := [...]string{"noerror", "formerr", "servfail", "nxdomain", "notimp", "refused"}
	if rcode >= 0 && rcode < len(names) {
		return ReasonTLSALookup + names[rcode]
	}
	return ReasonTLSALookup + strconv.Itoa(max(rcode, 0))
}

// BogusReason returns the reason of an answer that DNSSEC validation refused with
// this extended error (RFC 8914), such as "ede-7", and nothing without one.
func BogusReason(ede int) string {
	if ede < 0 {
		return ""
	}
	return "ede-" + strconv.Itoa(ede)
}
