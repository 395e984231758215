package mtasts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxAge is the longest validity that a policy can have (RFC 8461 section 3.2).
// A larger max_age is read as this one.
const MaxAge = 31557600 * time.Second

// PolicyMode is what a policy asks of senders.
type PolicyMode uint8

// The zero PolicyMode is none of the three that a policy file can name.
const (
	ModeUnknown PolicyMode = iota
	ModeNone               // no policy: how a domain leaves MTA-STS
	ModeTesting            // deliver in any case and report failures
	ModeEnforce            // do not deliver where the check fails
)

// String returns "enforce", "testing", "none" or "unknown".
func (m PolicyMode) String() string {
	switch m {
	case ModeNone:
		return "none"
	case ModeTesting:
		return "testing"
	case ModeEnforce:
		return "enforce"
	}
	return "unknown"
}

// Field is a field that RFC 8461 does not define.
type Field struct{ Name, Value string }

// Policy is the content of a policy file (RFC 8461 section 3.2). The zero Policy
// matches no host and does not validate.
type Policy struct {
	Mode PolicyMode
	// MaxAge is how long the policy is valid from the GET on: whole seconds,
	// zero to MaxAge.
	MaxAge time.Duration
	// MX are the patterns in the order of the file: A-labels in lower case
	// without final dot, perhaps with "*." in front.
	MX []string
	// Extensions are the fields that RFC 8461 does not define, the first of
	// each name. Nothing here depends on them.
	Extensions []Field
}

// Equal reports whether both policies say the same in the same order.
func (p *Policy) Equal(q *Policy) bool {
	if p == nil || q == nil {
		return p == q
	}
	return p.Mode == q.Mode && p.MaxAge == q.MaxAge && slices.Equal(p.MX, q.MX) && slices.Equal(p.Extensions, q.Extensions)
}

// Validate returns nil if the policy can be written as a policy file, and an
// error that names what is wrong with it otherwise.
func (p *Policy) Validate() error {
	if p.Mode < ModeNone || p.Mode > ModeEnforce {
		return fmt.Errorf("mtasts: policy mode %d is not ModeNone, ModeTesting or ModeEnforce", p.Mode)
	}
	if p.MaxAge < 0 || p.MaxAge > MaxAge || p.MaxAge%time.Second != 0 {
		return fmt.Errorf("mtasts: policy MaxAge %v is not whole seconds from 0 to %v", p.MaxAge, MaxAge)
	}
	if len(p.MX) == 0 && p.Mode != ModeNone {
		return errors.New("mtasts: policy without MX; modes enforce and testing need one")
	}
	for _, pattern := range p.MX {
		if _, ok := writtenPattern(pattern); !ok {
			return fmt.Errorf("mtasts: policy MX %q is neither a host name nor *. and a host name", clip(pattern))
		}
	}
	seen := make(map[string]struct{}, len(p.Extensions))
	for _, x := range p.Extensions {
		_, twice := seen[x.Name]
		seen[x.Name] = struct{}{}
		if twice || x.Name == "" || known(x.Name) != fieldUnknown || nameLength(x.Name) != len(x.Name) || !validExtension(x.Value) {
			return fmt.Errorf("mtasts: policy extension %q: %q is malformed or given twice", clip(x.Name), clip(x.Value))
		}
	}
	return nil
}

// writtenPattern returns a pattern as it stands in the file: A-labels, lower
// case. Senders that follow RFC 8461 section 3.2 read no U-labels.
func writtenPattern(pattern string) (string, bool) {
	suffix, wild := strings.CutPrefix(pattern, "*.")
	suffix, ok := toALabels(suffix)
	if !ok || !validName(suffix, true) {
		return "", false
	}
	if wild && suffix == pattern[2:] {
		suffix = pattern // which takes no memory
	} else if wild {
		suffix = "*." + suffix
	}
	return lowerASCII(suffix), len(suffix) <= maxName
}

// AppendText appends the canonical text of the policy to b: version, mode, each
// mx, max_age, extensions, one CRLF behind each. It fails where Validate does.
func (p *Policy) AppendText(b []byte) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return b, err
	}
	b = append(b, "version: STSv1\r\nmode: "...)
	b = append(b, p.Mode.String()...)
	b = append(b, "\r\n"...)
	for _, pattern := range p.MX {
		written, _ := writtenPattern(pattern)
		b = append(append(append(b, "mx: "...), written...), "\r\n"...)
	}
	b = append(b, "max_age: "...)
	b = strconv.AppendInt(b, int64(p.MaxAge/time.Second), 10)
	b = append(b, "\r\n"...)
	for _, x := range p.Extensions {
		b = append(append(append(b, x.Name...), ": "...), x.Value...)
		b = append(b, "\r\n"...)
	}
	return b, nil
}

// MarshalText returns the canonical text of the policy, as AppendText.
func (p *Policy) MarshalText() ([]byte, error) {
	text, err := p.AppendText(nil)
	if err != nil {
		return nil, err
	}
	return text, nil
}

// String returns the canonical text, or "!invalid: " and the reason if the
// policy does not validate.
func (p *Policy) String() string {
	text, err := p.AppendText(nil)
	if err != nil {
		return "!invalid: " + err.Error()
	}
	return string(text)
}

type fieldKind uint8

const (
	fieldUnknown fieldKind = iota
	fieldVersion
	fieldMode
	fieldMX
	fieldMaxAge
)

// known tells the fields of RFC 8461 section 3.2 from extensions. Names are
// case-sensitive.
func known(name string) fieldKind {
	switch name {
	case "mx":
		return fieldMX
	case "mode":
		return fieldMode
	case "version":
		return fieldVersion
	case "max_age":
		return fieldMaxAge
	}
	return fieldUnknown
}

// maxFieldName is sts-policy-ext-name in octets (RFC 8461 section 3.2).
const maxFieldName = 32

// nameLength returns the length of the field name at the start of s, 0 if there
// is none, as also if it is too long.
func nameLength(s string) int {
	if s == "" || class[s[0]]&isAlnum == 0 {
		return 0
	}
	i := 1
	for i < len(s) && class[s[i]]&isName != 0 {
		i++
	}
	if i > maxFieldName {
		return 0
	}
	return i
}

// validExtension is sts-policy-ext-value (RFC 8461 section 3.2): UTF-8 without
// controls, no space at either end.
func validExtension(value string) bool {
	if value == "" || value[0] == ' ' || value[len(value)-1] == ' ' {
		return false
	}
	high := false
	for i := 0; i < len(value); i++ {
		if class[value[i]]&isControl != 0 {
			return false
		}
		high = high || value[i] >= 0x80
	}
	return !high || utf8.ValidString(value)
}
