package mtasts

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// toALabels converts the U-labels of a name, which is split at ASCII dots only.
// ASCII labels are left as they are. It fails if IDNA refuses a label.
func toALabels(name string) (string, bool) {
	if isASCII(name) {
		return name, true
	}
	var b strings.Builder
	for label, rest, more := "", name, true; more; {
		label, rest, more = strings.Cut(rest, ".")
		converted, ok := toALabel(label)
		if !ok {
			return "", false
		}
		b.WriteString(converted)
		if more {
			b.WriteByte('.')
		}
	}
	return b.String(), true
}

// toALabel composes and lower-cases a U-label and converts it by IDNA2008.
//
// The profiles of package idna that map for lookup would turn the Kelvin sign
// into k and full-width letters into ASCII ones, so that names of two owners
// became one. Registration maps nothing and refuses what is not a U-label.
func toALabel(label string) (string, bool) {
	if isASCII(label) {
		return label, true
	}
	if len(label) > 4*maxLabel || !utf8.ValidString(label) {
		return "", false
	}
	for _, r := range label {
		if r >= 0x80 && (unicode.ToLower(r) < 0x80 || isASCII(norm.NFC.String(string(r)))) {
			return "", false // the character would turn into an ASCII one
		}
	}
	folded := norm.NFC.String(strings.ToLower(norm.NFC.String(label)))
	converted, err := idna.Registration.ToASCII(folded)
	if err != nil || !strings.HasPrefix(converted, "xn--") || len(converted) > maxLabel {
		return "", false
	}
	return converted, true
}

// decodable reports whether an xn-- label stands for a U-label.
func decodable(label string) bool {
	_, err := idna.Registration.ToUnicode(lowerASCII(label))
	return err == nil
}
