package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How much of what strangers wrote is repeated in errors, findings and comments.
const (
	clipped       = 128  // octets of a value
	listedNames   = 10   // names of one certificate
	maxNameOctets = 4096 // of a subject or issuer that is shown; those of real certificates have a tenth of it
)

// clip returns the beginning of a foreign value.
func clip(s string) string { return clipTo(s, clipped) }

// clipTo returns at most limit octets of s, cut between two characters, with dots
// for the rest.
func clipTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > limit-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// subjectText returns the subject in the form of RFC 2253.
func subjectText(cert *x509.Certificate) string { return nameText(cert.Subject, cert.RawSubject) }

// issuerText returns the issuer in the form of RFC 2253.
func issuerText(cert *x509.Certificate) string { return nameText(cert.Issuer, cert.RawIssuer) }

// nameText keeps long names from pkix.Name, whose String takes a time that grows
// with the square of their length: half a minute for two megabytes.
func nameText(name pkix.Name, raw []byte) string {
	if len(raw) > maxNameOctets {
		return fmt.Sprintf("(a name of %d octets)", len(raw))
	}
	return name.String()
}

// nameList returns the first few of many names.
func nameList(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == listedNames {
			fmt.Fprintf(&b, "and %d more", len(names)-i)
			break
		}
		fmt.Fprintf(&b, "%q", clip(name))
	}
	return b.String()
}

// printable returns foreign text for one line: whatever a terminal or a reader of
// lines could take for something else is escaped.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				fmt.Fprintf(&b, `\x%02x`, s[i])
			} else {
				b.WriteRune(r)
			}
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
