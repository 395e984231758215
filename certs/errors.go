package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/internal/hostname"
)

// What the functions of this package say when they refuse. Match them with
// errors.Is; the texts around them say where and what to do.
var (
	ErrExists            = errors.New("the name is taken")
	ErrNotFound          = errors.New("there is no such entry")
	ErrInUse             = errors.New("a role uses the entry")
	ErrLocked            = errors.New("another process has the store open for writing")
	ErrNotOpen           = errors.New("not open: use a constructor")
	ErrKeyMismatch       = errors.New("no certificate belongs to the private key")
	ErrPassphrase        = errors.New("wrong passphrase")
	ErrPassphraseNeeded  = errors.New("the key is encrypted: a passphrase is needed")
	ErrPassphraseConfirm = errors.New("the two passphrases differ")
	ErrPassphraseCharset = errors.New("the passphrase cannot be written in PKCS #12 (UTF-8 within the basic multilingual plane)")
	ErrNoKey             = errors.New("no private key")
	ErrNoCertificate     = errors.New("no certificate")
	ErrManyKeys          = errors.New("several private keys")
	ErrNoMAC             = errors.New("no MAC: nothing protects the file against changes")
	ErrIterations        = errors.New("the iteration count is beyond the limit")
	ErrTooLarge          = errors.New("too large")
	ErrMalformed         = errors.New("malformed")
	ErrSystemList        = errors.New("the system list cannot be edited: disable it instead")
	ErrNotEnumerable     = errors.New("the host's list of authorities cannot be listed")
	ErrRoleUnassigned    = errors.New("no certificate is assigned to the role")
	ErrFollowed          = errors.New("the entry follows the files of another program, which alone may change it")
	ErrExposed           = errors.New("others than its owner may read or write the file of a private key")
	errKeyText           = errors.New("a private key has no text form")
)

// ParseError says where in an input of PEM blocks something is wrong. Nothing of
// the input was taken.
type ParseError struct {
	Line  int    // counted from 1; 0 for input that is not text
	Block int    // the PEM block, counted from 1; 0 outside of any
	Label string // the block's label, "CERTIFICATE" for example
	Err   error
}

// Error returns the line, the block and what is wrong with it.
func (e *ParseError) Error() string {
	var b strings.Builder
	b.WriteString("certs: ")
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Block > 0 {
		fmt.Fprintf(&b, "block %d", e.Block)
		if e.Label != "" {
			fmt.Fprintf(&b, " (%s)", e.Label)
		}
		b.WriteString(": ")
	}
	b.WriteString(withoutPrefix(e.Err))
	return b.String()
}

// Unwrap returns what is wrong.
func (e *ParseError) Unwrap() error { return e.Err }

// placedError is an error of this package with the place that it is about.
type placedError struct {
	place string
	err   error
}

func placed(place string, err error) error { return &placedError{place, err} }

func (e *placedError) Error() string { return "certs: " + e.place + ": " + withoutPrefix(e.err) }

func (e *placedError) Unwrap() error { return e.err }

// bare is an error of this package inside of another one, which names the package.
type bare struct{ error }

func (e bare) Error() string { return withoutPrefix(e.error) }
func (e bare) Unwrap() error { return e.error }

func withoutPrefix(err error) string { return strings.TrimPrefix(fmt.Sprint(err), "certs: ") }

// FieldError says which field of a Form cannot be used, and why.
type FieldError struct {
	Field   string // as the Go field is called
	Value   string
	Problem string // what is wrong and what would be right
}

// Error returns the field, its value and the problem.
func (e *FieldError) Error() string {
	return fmt.Sprintf("certs: %s %q: %s", e.Field, clip(e.Value), e.Problem)
}

// FQDNError lists the names that are not fully qualified.
type FQDNError struct {
	Names []FQDNFailure // empty: the certificate has no name at all
}

// nameProblem leaves out the name, which stands in the text around it already.
func nameProblem(err error) string {
	if e, ok := errors.AsType[*hostname.Error](err); ok {
		return e.Problem
	}
	return fmt.Sprint(err)
}

// FQDNFailure is one name that FQDN validation refuses.
type FQDNFailure struct {
	Field string // "CN" or "dNSName"
	Name  string
	Rule  int // 1 characters and length, 2 labels, 3 last label, 4 wildcard
	Err   error
}

// Error lists the first few names with their fields and rules.
func (e *FQDNError) Error() string {
	if len(e.Names) == 0 {
		return "certs: no name to validate: neither a common name nor a dNSName"
	}
	var parts []string
	for i, f := range e.Names {
		if i == listedNames {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Names)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %q (rule %d): %s", f.Field, clip(f.Name), f.Rule, nameProblem(f.Err)))
	}
	return "certs: not fully qualified: " + strings.Join(parts, "; ")
}

// UnsupportedError names an algorithm or format that is recognised and not read.
type UnsupportedError struct {
	What string // what it is, in words
	OID  string // dotted; empty if it has none
	Hint string // the command that converts the input, if there is one
}

// Error returns the algorithm, its OID and how to convert the input.
func (e *UnsupportedError) Error() string {
	s := "certs: " + e.What
	if e.OID != "" {
		s += " (OID " + e.OID + ")"
	}
	s += " is not supported"
	if e.Hint != "" {
		s += "; convert it: " + e.Hint
	}
	return s
}

// ConstraintError says that a chain ends at a root that its list no longer trusts
// for certificates as young as this one.
type ConstraintError struct {
	Root   *x509.Certificate
	Cutoff time.Time // certificates issued after it are refused
}

// Error returns the root and the date.
func (e *ConstraintError) Error() string {
	subject := ""
	if e.Root != nil {
		subject = subjectText(e.Root)
	}
	return fmt.Sprintf("certs: root %q is not trusted for certificates issued after %s",
		subject, e.Cutoff.UTC().Format(time.DateOnly))
}

// TooEarlyError says that resolvers may still hold TLSA records without the next
// key (RFC 7671 section 8).
type TooEarlyError struct {
	Until time.Time // zero: nobody has confirmed the publication, so that no time counts
}

// Error returns the earliest moment.
func (e *TooEarlyError) Error() string {
	if e.Until.IsZero() {
		return "certs: too early: it was not confirmed that the TLSA records are published"
	}
	return "certs: too early: old TLSA records may be cached until " + e.Until.UTC().Format(time.RFC3339)
}
