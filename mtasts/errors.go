package mtasts

import (
	"errors"
	"fmt"
	"strings"
)

// The facts that a caller can test for with errors.Is. An error of this package
// satisfies one or more of them and keeps its cause, so that errors.As reaches
// a *net.DNSError, an x509.HostnameError or a *SyntaxError below it.
var (
	// ErrDomain: the argument is not a policy domain. The only fault of the
	// caller's; everything else is learned from the network.
	ErrDomain = errors.New("mtasts: not a policy domain")
	// ErrNoRecord: the domain has no MTA-STS TXT record.
	ErrNoRecord = errors.New("mtasts: no TXT record")
	// ErrMultipleRecords: more than one TXT record claims to be the MTA-STS
	// record (RFC 8461 section 3.1: treat as none).
	ErrMultipleRecords = errors.New("mtasts: several TXT records")
	// ErrRecordSyntax: the TXT record does not follow the grammar.
	ErrRecordSyntax = errors.New("mtasts: invalid TXT record")
	// ErrDNS: the TXT query failed for a reason that may pass. It says nothing
	// about whether there is a record.
	ErrDNS = errors.New("mtasts: TXT query failed")
	// ErrFetch: the policy file could not be fetched.
	ErrFetch = errors.New("mtasts: policy fetch failed")
	// ErrWebPKI: the certificate of the policy host does not verify.
	ErrWebPKI = errors.New("mtasts: policy host certificate invalid")
	// ErrPolicySyntax: the policy file was fetched and is not a valid policy.
	ErrPolicySyntax = errors.New("mtasts: invalid policy")
	// ErrTooLarge: the policy file, or the header before it, exceeds its bound.
	ErrTooLarge = errors.New("mtasts: policy too large")
	// ErrBlockedAddress: every address of the policy host is one to which no
	// request is sent, such as a private one.
	ErrBlockedAddress = errors.New("mtasts: policy host address blocked")
	// ErrBackoff: nothing was asked because earlier attempts failed.
	ErrBackoff = errors.New("mtasts: fetch backed off")
	// ErrPin: the operator's pin for the domain is invalid, and whether a
	// delivery may go on cannot be told.
	ErrPin = errors.New("mtasts: invalid pin")
)

// Reasons, as in Result.Reason, Error.Reason and Event.Reason. The texts are
// stable and fit for metrics.
const (
	ReasonRecordAbsent   = "record-absent"   // no TXT record
	ReasonRecordMultiple = "record-multiple" // more than one
	ReasonRecordInvalid  = "record-invalid"  // not by the grammar
	ReasonDNSError       = "dns-error"       // TXT query failed

	ReasonDNS            = "dns"             // the policy host name does not resolve
	ReasonConnect        = "connect"         // no TCP connection
	ReasonTimeout        = "timeout"         // one of the time bounds of the GET passed
	ReasonBlockedAddress = "blocked-address" // no address that may be asked
	ReasonTLS            = "tls"             // handshake failed
	ReasonCert           = "cert"            // chain, name or dates of the certificate
	ReasonStatus         = "status"          // HTTP status other than 200
	ReasonRedirect       = "redirect"        // HTTP status 3xx
	ReasonMediaType      = "media-type"      // not text/plain
	ReasonContentCoding  = "content-coding"  // compressed
	ReasonUnframed       = "unframed"        // neither Content-Length nor chunked
	ReasonTooLarge       = "too-large"       // body or header over its bound
	ReasonBodyRead       = "body-read"       // the reply broke off or is not HTTP
	ReasonEmpty          = "empty"           // body of no octets
	ReasonSyntax         = "syntax"          // not a valid policy

	reasonDomain = "domain"
)

// Values of Error.Op.
const (
	opDomain  = "domain"
	opRecord  = "record"
	opFetch   = "fetch"
	opBackoff = "backoff"
	opLookup  = "lookup"
	opPin     = "pin"
)

// Error tells what failed in the discovery of a policy, for whom, and why.
type Error struct {
	Op     string // "domain", "record", "fetch", "backoff", "lookup" or "pin"
	Domain string // the policy domain, as far as it is known
	Host   string // the policy host, for a fetch
	Reason string // one of the Reason texts; empty if ctx ended or a pin is invalid
	Err    error  // the cause; may be nil
}

// Error returns the error as one line of text.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("mtasts: ")
	b.WriteString(e.Op)
	fmt.Fprintf(&b, " %q", clip(e.Domain))
	if e.Host != "" {
		fmt.Fprintf(&b, " from %s", e.Host)
	}
	if e.Reason != "" && e.Reason != e.Op {
		b.WriteString(": " + e.Reason)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes the sentinels of this package match by Op and Reason.
func (e *Error) Is(target error) bool {
	if e.Op == opBackoff && target == ErrBackoff {
		return true
	}
	switch e.Reason {
	case "":
		return false
	case reasonDomain:
		return target == ErrDomain
	case ReasonRecordAbsent:
		return target == ErrNoRecord
	case ReasonRecordMultiple:
		return target == ErrMultipleRecords
	case ReasonRecordInvalid:
		return target == ErrRecordSyntax
	case ReasonDNSError:
		return target == ErrDNS
	case ReasonCert:
		return target == ErrWebPKI
	case ReasonSyntax:
		return target == ErrPolicySyntax
	case ReasonBlockedAddress:
		return target == ErrFetch || target == ErrBlockedAddress
	case ReasonTooLarge:
		return target == ErrFetch || target == ErrTooLarge
	default:
		return target == ErrFetch
	}
}

// clip keeps a hostile text from filling a log line.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// ErrorCode says which rule of the grammar a text breaks.
type ErrorCode uint8

// The codes below PolicyOctet concern the TXT record and make a *SyntaxError
// match ErrRecordSyntax; PolicyOctet and those after it concern the policy file
// and make it match ErrPolicySyntax.
const (
	RecordVersion    ErrorCode = iota + 1 // does not begin with v=STSv1 and a delimiter
	RecordOctet                           // NUL or an octet above 0x7E
	RecordField                           // malformed field
	RecordEmptyField                      // nothing between two semicolons
	RecordTrailing                        // blank after the last field
	RecordID                              // first id is not 1 to 32 letters and digits
	RecordMissingID                       // no id

	PolicyOctet          // line terminator other than LF and CRLF
	PolicyEmptyLine      // line without field
	PolicyName           // line without colon or with a malformed name
	PolicyValue          // unknown or repeated field with a malformed value
	PolicyVersion        // first version is not STSv1
	PolicyModeValue      // first mode is not enforce, testing or none
	PolicyMaxAge         // first max_age is not a number of seconds
	PolicyPattern        // malformed mx
	PolicyMissingVersion // no version
	PolicyMissingMode    // no mode
	PolicyMissingMaxAge  // no max_age
	PolicyMissingPattern // enforce or testing without mx
)

var errorCodeTexts = [...]string{
	RecordVersion:        "does not begin with v=STSv1;",
	RecordOctet:          "octet outside ASCII",
	RecordField:          "malformed field",
	RecordEmptyField:     "empty field",
	RecordTrailing:       "blank after the last field",
	RecordID:             "id is not 1 to 32 letters and digits",
	RecordMissingID:      "no id",
	PolicyOctet:          "line terminator other than LF and CRLF",
	PolicyEmptyLine:      "empty line",
	PolicyName:           "no field name before a colon",
	PolicyValue:          "malformed value",
	PolicyVersion:        "version is not STSv1",
	PolicyModeValue:      "mode is not enforce, testing or none",
	PolicyMaxAge:         "max_age is not a number of seconds",
	PolicyPattern:        "malformed mx pattern",
	PolicyMissingVersion: "no version",
	PolicyMissingMode:    "no mode",
	PolicyMissingMaxAge:  "no max_age",
	PolicyMissingPattern: "no valid mx, which enforce and testing need",
}

// String returns what the code stands for, in a few words.
func (c ErrorCode) String() string {
	if int(c) < len(errorCodeTexts) && errorCodeTexts[c] != "" {
		return errorCodeTexts[c]
	}
	return fmt.Sprintf("ErrorCode(%d)", uint8(c))
}

// SyntaxError tells where a record or policy breaks the grammar. It matches
// ErrRecordSyntax or ErrPolicySyntax.
type SyntaxError struct {
	Code  ErrorCode
	Line  int    // from 1; 1 in a record
	Col   int    // octet in the line, from 1; one past the end for something missing
	Field string // the offending text, or the name of the missing field
}

// Error returns the error as one line of text.
func (e *SyntaxError) Error() string {
	what := "policy"
	if e.Code < PolicyOctet {
		what = "record"
	}
	return fmt.Sprintf("%s line %d column %d: %s: %q", what, e.Line, e.Col, e.Code, clip(e.Field))
}

// Unwrap returns ErrRecordSyntax or ErrPolicySyntax.
func (e *SyntaxError) Unwrap() error {
	if e.Code < PolicyOctet {
		return ErrRecordSyntax
	}
	return ErrPolicySyntax
}
