// Package hostname brings host and domain names into the one form in which the
// rest of the module compares, stores and asks for them: A-labels, lower case,
// no final dot.
//
// There is one rule for every package, so that a name that the destination
// table knows, the name sent as SNI, the reference identifier compared with a
// certificate and the name of a policy host cannot disagree about spelling.
package hostname

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// MaxLabel is the longest label in octets (RFC 1035 section 2.3.4).
	MaxLabel = 63
	// MaxName is the longest name in octets, written without a final dot: 255
	// octets in wire form (RFC 1035 section 2.3.4) less the first length octet
	// and the root label.
	MaxName = 253
	// maxInput bounds what is handed to IDNA mapping. Every label of a name
	// that passes is at most 63 octets as an A-label, and no code point of a
	// U-label takes more than four octets of UTF-8.
	maxInput = 4 * MaxName
)

// Error tells why a text is not a host name that can be used.
type Error struct {
	Name    string // the text as it came in
	Problem string // what is wrong with it, in words
}

// Error returns the error as one line of text.
func (e *Error) Error() string {
	return fmt.Sprintf("name %q: %s", clip(e.Name), e.Problem)
}

// clip keeps a hostile name from filling a log line.
func clip(s string) string {
	if len(s) > MaxName+3 {
		return s[:MaxName] + "..."
	}
	return s
}

// Parse returns name in canonical form: U-labels converted to A-labels
// (IDNA2008 lookup, non-transitional, RFC 5891 section 5), ASCII letters in
// lower case, one final dot dropped.
//
// A name that is all ASCII is not looked at by IDNA, so underscores pass, which
// occur in the mail host names of real domains. The result has one or more
// labels of 1 to 63 letters, digits, hyphens and underscores and at most 253
// octets. An empty name, an empty or over-long label, a wildcard, any other
// octet and an IP address (also in brackets) are a *Error. The tests apply to
// the converted name, since IDNA maps other dots and digits to ASCII ones.
//
// A name that is canonical already is returned as it is, without allocation.
func Parse(name string) (string, error) {
	if len(name) > maxInput {
		return "", &Error{name, fmt.Sprintf("longer than %d octets", MaxName)}
	}
	out := name
	if !isASCII(name) {
		if !utf8.ValidString(name) {
			return "", &Error{name, "not valid UTF-8"}
		}
		mapped, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", &Error{name, "not a valid internationalized name: " + err.Error()}
		}
		out = mapped
	}
	out = strings.TrimSuffix(out, ".")
	if problem := check(out); problem != "" {
		return "", &Error{name, problem}
	}
	return lower(out), nil
}

// check returns what is wrong with a name in ASCII without final dot, "" if
// nothing is.
func check(name string) string {
	if name == "" {
		return "empty"
	}
	if len(name) > MaxName {
		return fmt.Sprintf("longer than %d octets", MaxName)
	}
	label := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 {
				return "empty label"
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '*':
			return "a wildcard is not a host name"
		case c == '[' || c == ':':
			return "an IP address is not a host name"
		default:
			return fmt.Sprintf("octet %q at offset %d is not allowed", c, i)
		}
		if label++; label > MaxLabel {
			return fmt.Sprintf("label longer than %d octets", MaxLabel)
		}
	}
	if label == 0 {
		return "empty label"
	}
	if IsLiteral(name) {
		return "an IP address is not a host name"
	}
	return ""
}

// IsLiteral reports whether s is an IP address in text form, with or without
// the brackets of an address literal (RFC 5321 section 4.1.3, also IPv6:).
func IsLiteral(s string) bool {
	_, ok := Literal(s)
	return ok
}

// Literal returns the address that s is in text form, with or without the
// brackets and the "IPv6:" tag of an address literal (RFC 5321 section 4.1.3).
func Literal(s string) (netip.Addr, bool) {
	if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
		if len(s) > 5 && strings.EqualFold(s[:5], "ipv6:") {
			s = s[5:]
		}
	}
	// An address has a colon or ends in a label of digits. The cheap test keeps
	// ParseAddr's error value, which allocates, away from ordinary names.
	if strings.IndexByte(s, ':') < 0 {
		dot := strings.LastIndexByte(s, '.')
		if dot < 0 || !allDigits(s[dot+1:]) {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(s)
	return addr, err == nil
}

// CheckFQDN returns nil if name is a fully qualified domain name as an operator
// expects to see it in a certificate: ASCII, 1 to 253 octets, no final dot, at
// least two labels of 1 to 63 letters, digits and hyphens without a hyphen at
// either end, and a last label that is not all digits. A left-most label "*"
// is allowed before at least two more labels. The *Error names the rule that
// failed. No allocation on success.
func CheckFQDN(name string) error {
	if problem := fqdnProblem(name); problem != "" {
		return &Error{name, problem}
	}
	return nil
}

func fqdnProblem(name string) string {
	switch {
	case name == "":
		return "empty"
	case len(name) > MaxName:
		return fmt.Sprintf("longer than %d octets", MaxName)
	case !isASCII(name):
		return "not ASCII; write the name in its xn-- form"
	case name[len(name)-1] == '.':
		return "ends in a dot"
	}
	rest, wild := strings.CutPrefix(name, "*.")
	labels := 0
	var last string
	for more := true; more; {
		last, rest, more = strings.Cut(rest, ".")
		labels++
		if problem := labelProblem(last); problem != "" {
			return problem
		}
	}
	switch {
	case labels < 2 && wild:
		return "a wildcard needs at least two labels behind it"
	case labels < 2:
		return "not fully qualified: one label only"
	case allDigits(last):
		return "last label is all digits"
	}
	return ""
}

func labelProblem(label string) string {
	switch {
	case label == "":
		return "empty label"
	case len(label) > MaxLabel:
		return fmt.Sprintf("label longer than %d octets", MaxLabel)
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Sprintf("label %q has a hyphen at its edge", label)
	}
	for i := 0; i < len(label); i++ {
		c := label[i] | 0x20
		if ('a' > c || c > 'z') && ('0' > label[i] || label[i] > '9') && label[i] != '-' {
			return fmt.Sprintf("octet %q is not a letter, digit or hyphen", label[i])
		}
	}
	return ""
}

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// lower folds ASCII letters only: a name that passed check has no others.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}
