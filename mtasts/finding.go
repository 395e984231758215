package mtasts

import (
	"fmt"
	"strings"
)

// Severity says what a Finding means for mail.
type Severity uint8

const (
	SeverityInfo    Severity = iota // good to know
	SeverityWarning                 // mail flows, but something is not as it should be
	SeverityError                   // senders that obey MTA-STS lose mail, or have no protection
)

// String returns "info", "warning" or "error".
func (s Severity) String() string {
	switch s {
	case SeverityInfo:
		return "info"
	case SeverityWarning:
		return "warning"
	case SeverityError:
		return "error"
	}
	return fmt.Sprintf("Severity(%d)", uint8(s))
}

// FindingCode names what Check found. The names are stable.
type FindingCode string

const (
	FindingArgument FindingCode = "argument" // the domain or the intended policy is invalid: nothing was checked

	FindingRecord   FindingCode = "record"    // no usable TXT record: absent, several, malformed, or DNS failed
	FindingRecordID FindingCode = "record-id" // the record has another id than it should
	FindingTLSRPT   FindingCode = "tlsrpt"    // no _smtp._tls record (RFC 8460 section 3): failures stay unknown

	FindingFetch       FindingCode = "fetch"       // the policy file cannot be fetched or read
	FindingPolicy      FindingCode = "policy"      // the file has another policy than it should
	FindingBlemish     FindingCode = "blemish"     // strict senders may refuse the file, or it is unwise
	FindingCertificate FindingCode = "certificate" // how long a certificate that verifies is still valid

	FindingMX            FindingCode = "mx"             // the MX records cannot be looked up
	FindingMXUnmatched   FindingCode = "mx-unmatched"   // a mail host that the policy does not name
	FindingPatternUnused FindingCode = "pattern-unused" // a pattern that no mail host matches
	FindingMXTLS         FindingCode = "mx-tls"         // a mail host without STARTTLS, or with TLS below 1.2
	FindingMXCertificate FindingCode = "mx-certificate" // a mail host whose certificate is not valid for its name
)

// Finding is one thing that Check found.
type Finding struct {
	Code     FindingCode
	Severity Severity
	Subject  string // the name or pattern in question
	Detail   string
	Err      error // the failure itself, if it is one
}

// String returns the finding as a line for people.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s: %s", f.Severity, f.Code, clip(f.Subject), f.Detail)
}

// Findings is what Check found, in the order in which it looked.
type Findings []Finding

// Worst returns the highest severity, SeverityInfo if there is no finding.
func (f Findings) Worst() Severity {
	worst := SeverityInfo
	for _, x := range f {
		worst = max(worst, x.Severity)
	}
	return worst
}

// String returns the findings, one a line.
func (f Findings) String() string {
	var b strings.Builder
	for _, x := range f {
		b.WriteString(x.String() + "\n")
	}
	return b.String()
}
