package mtasts

import "strings"

const (
	maxName  = 253 // octets of a name without final dot (RFC 1035 section 2.3.4)
	maxLabel = 63  // octets of a label (RFC 1035 section 2.3.4)
)

// Match reports whether any pattern of the policy matches the mail host name
// (RFC 8461 section 4.1), as MatchPattern. It does not look at Mode.
func (p *Policy) Match(host string) bool {
	h, ok := splitHost(host)
	if !ok {
		return false
	}
	if h.matchesAny(p.MX) {
		return true
	}
	if isASCII(h.name) {
		return false
	}
	converted, ok := h.toASCII()
	return ok && converted.matchesAny(p.MX)
}

// MatchPattern reports whether the pattern matches the mail host name
// (RFC 8461 section 4.1 and, by it, RFC 6125 section 6.4).
//
// A pattern is a host name, which matches itself alone, or "*." and a host name,
// which matches that name with exactly one more label in front. Letter case and
// one final dot are ignored on both sides. Anything that Policy.MX could not
// hold matches nothing, and neither does an address. A host with U-labels is
// converted to A-labels, a pattern is not; A-labels are never decoded.
func MatchPattern(pattern, host string) bool {
	h, ok := splitHost(host)
	if !ok {
		return false
	}
	pattern = strings.TrimSuffix(pattern, ".")
	if h.matches(pattern) {
		return true
	}
	if isASCII(h.name) {
		return false
	}
	converted, ok := h.toASCII()
	return ok && converted.matches(pattern)
}

// splitName is a host name, without final dot, and what a star may stand for.
type splitName struct {
	name  string
	dot   int  // the place of the first dot; len(name) in a name of one label
	label bool // whether the label before it may be in place of a star
}

func splitHost(host string) (splitName, bool) {
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	if host == "" || len(host) > maxName {
		return splitName{}, false
	}
	// First labels are short: faster than strings.IndexByte. The label for a star
	// has letters, digits, hyphens and underscores in any order, since it comes
	// from a real MX record.
	dot, all := 0, isLDH
	for dot < len(host) && host[dot] != '.' {
		all &= class[host[dot]]
		dot++
	}
	return splitName{host, dot, all != 0 && 0 < dot && dot <= maxLabel}, true
}

func (h splitName) toASCII() (splitName, bool) {
	name, ok := toALabels(h.name)
	if !ok {
		return splitName{}, false
	}
	return splitHost(name)
}

// matchesAny passes over what can be told apart without a look at all of it: by
// length, which is that of the host or of its suffix with a star, or by the first
// eight octets after the star. A final dot is rare enough to be looked at last.
func (h splitName) matchesAny(patterns []string) bool {
	suffix := h.name[h.dot:]
	if len(suffix) < 8 {
		for _, pattern := range patterns {
			if h.matches(strings.TrimSuffix(pattern, ".")) {
				return true
			}
		}
		return false
	}
	exact, wild := len(h.name), len(suffix)+1
	name, tail := word(h.name)|caseBits, word(suffix)|caseBits
	for _, pattern := range patterns {
		n := len(pattern)
		switch {
		case n == exact && word(pattern)|caseBits == name:
		case n == wild && word(pattern[1:])|caseBits == tail:
		case (n == exact+1 || n == wild+1) && pattern[n-1] == '.':
			pattern = pattern[:n-1]
		default:
			continue
		}
		if h.matches(pattern) {
			return true
		}
	}
	return false
}

// matches judges a pattern without final dot. It compares first and looks at the
// characters only of what is equal.
func (h splitName) matches(pattern string) bool {
	if len(pattern) > 2 && pattern[0] == '*' {
		// Exactly one label in place of the star: ".suffix" begins at the
		// first dot of the host.
		suffix := h.name[h.dot:]
		if len(pattern)-1 != len(suffix) || pattern[1] != '.' || !h.label || numericTLD(suffix) {
			return false
		}
		return equalPlain(pattern[1:], suffix) || equalFold(pattern[1:], suffix) && validName(pattern[2:], true)
	}
	if len(pattern) != len(h.name) || h.dot == 0 || numericTLD(pattern) {
		return false
	}
	return equalPlain(pattern, h.name) || equalFold(pattern, h.name) && validName(pattern, true)
}

// validName reports whether name consists of LDH labels: 1 to 63 letters, digits
// and hyphens, no hyphen at either end, 253 octets in all. With underscore that
// character counts as a letter.
func validName(name string, underscore bool) bool {
	if len(name) > maxName {
		return false
	}
	start := 0 // of the label
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case class[c]&isAlnum != 0:
		case c == '.':
			if i == start || i-start > maxLabel {
				return false
			}
			start = i + 1
		case c == '-':
			if i == start || i+1 == len(name) || name[i+1] == '.' {
				return false
			}
		case c != '_' || !underscore:
			return false
		}
	}
	return start < len(name) && len(name)-start <= maxLabel
}

// numericTLD reports whether the last label is all digits: the name is an IPv4
// address or would be taken for one.
func numericTLD(name string) bool {
	if name == "" || name[len(name)-1] > '9' {
		return false // at a glance, as nearly always
	}
	return endsInNumber(name)
}

func endsInNumber(name string) bool {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			return i < len(name)-1
		}
		if name[i] < '0' || name[i] > '9' {
			return false
		}
	}
	return true
}

// equalFold compares texts of equal length and folds ASCII letters alone;
// strings.EqualFold would take the Kelvin sign for a k.
func equalFold(a, b string) bool {
	if a == b {
		return true
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		x, y := a[i], b[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// lowerASCII returns s itself if it has no upper-case ASCII letter.
func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}
