package dane

import (
	"errors"
	"fmt"
	"strings"
)

// Facts for errors.Is.
var (
	// ErrNoRecords: NewVerifier was given no record. That a host has no TLSA
	// records is for the caller to act on; a Verifier never stands for it.
	ErrNoRecords error = &fact{"dane: no TLSA records to verify with", true}
	// ErrUnusable: there are TLSA records, and none can be used. TLS is
	// mandatory then, but cannot be authenticated with DANE (RFC 7672 section
	// 2.2).
	ErrUnusable error = &fact{"dane: no TLSA record is usable", true}
	// ErrMismatch: at least one TLSA record is usable and none is satisfied.
	ErrMismatch error = &fact{"dane: no TLSA record matches", true}
	// ErrReferenceID: a name cannot be a reference identifier, or there is none.
	// It is the caller's mistake or that of his configuration, and permanent.
	ErrReferenceID error = &fact{"dane: not a reference identifier", false}
)

type fact struct {
	text      string
	temporary bool
}

func (f *fact) Error() string { return f.text }

// Temporary reports whether trying again later can help.
func (f *fact) Temporary() bool { return f.temporary }

// A SyntaxError is text or RDATA that is no TLSA record.
type SyntaxError struct {
	Input  string // what was read; RDATA in hex; long input is cut
	Offset int    // where it went wrong, in octets
	Msg    string // what is wrong there
}

const maxExcerpt = 24 // octets of foreign text in an error message

// Error returns one line with the offset and the text found there.
func (e *SyntaxError) Error() string {
	rest := e.Input[min(max(e.Offset, 0), len(e.Input)):]
	if rest == "" {
		return fmt.Sprintf("dane: TLSA record %q, at the end: %s", clip(e.Input), e.Msg)
	}
	return fmt.Sprintf("dane: TLSA record, offset %d, at %q: %s", e.Offset, clip(rest), e.Msg)
}

// Temporary returns false: the same text stays wrong.
func (e *SyntaxError) Temporary() bool { return false }

// clip keeps foreign text from filling a log line.
func clip(s string) string {
	if len(s) <= maxExcerpt {
		return s
	}
	return s[:maxExcerpt] + "..."
}

// A VerifyError is a Result that is not Matched, as an error. errors.Is tells
// ErrMismatch from ErrUnusable, and errors.As reaches the error of crypto/x509
// if there was one.
type VerifyError struct {
	Status  Status // Mismatched or Unusable
	Reason  Reason // of the record that came furthest
	Records []RecordStatus
	Err     error // from crypto/x509; nil if path building was not reached
}

// Error returns one line: what happened, why, and who can do what about it.
func (e *VerifyError) Error() string {
	var b strings.Builder
	if e.Status == Unusable {
		fmt.Fprintf(&b, "dane: none of %d TLSA records is usable: %s", len(e.Records), e.Reason)
	} else {
		fmt.Fprintf(&b, "dane: none of %d TLSA records matches the certificate: %s", len(e.Records), e.Reason)
	}
	if len(e.Records) == 1 {
		fmt.Fprintf(&b, " (%q)", clipRecord(e.Records[0].Record))
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	b.WriteString("; " + e.Reason.advice())
	return b.String()
}

// clipRecord returns the start of the record, enough to find it in a zone.
func clipRecord(r Record) string {
	if len(r.Data) > maxExcerpt {
		r.Data = r.Data[:maxExcerpt]
		return r.String() + "..."
	}
	return r.String()
}

// Unwrap returns the cause from crypto/x509, or nil.
func (e *VerifyError) Unwrap() error { return e.Err }

// Is reports true for ErrUnusable or ErrMismatch, whichever the Status is.
func (e *VerifyError) Is(target error) bool {
	if e.Status == Unusable {
		return target == ErrUnusable
	}
	return target == ErrMismatch
}

// Temporary returns true: the operator of the server can correct his records or
// certificates, and mail waits for that (RFC 7672 section 2.1).
func (e *VerifyError) Temporary() bool { return true }

// Stage is the step of a discovery at which it failed.
type Stage string

// The stages of DiscoverHost that ask the DNS.
const (
	StageAddress Stage = "address" // A and AAAA of the host
	StageAlias   Stage = "alias"   // the first alias of the host, by itself
	StageTLSA    Stage = "tlsa"    // TLSA of a base domain
)

// A DiscoverError says at which step a discovery failed and on which name.
// errors.As reaches the *dnssec.Error, if a lookup failed.
type DiscoverError struct {
	Stage Stage
	Name  string // the name asked for
	Err   error
}

// Error returns one line with stage, name and cause.
func (e *DiscoverError) Error() string {
	text := fmt.Sprintf("dane: %s lookup for %q failed: %v", e.Stage, e.Name, e.Err)
	if errors.Is(e.Err, ErrReferenceID) {
		return text + "; correct the name of the host"
	}
	return text + "; nothing is known about this host, try again later"
}

// Unwrap returns the cause.
func (e *DiscoverError) Unwrap() error { return e.Err }

// Temporary returns true: mail waits for the DNS to work again.
func (e *DiscoverError) Temporary() bool { return true }
