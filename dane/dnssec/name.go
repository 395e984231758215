package dnssec

import "strings"

// Limits of RFC 1035 section 2.3.4.
const (
	maxLabelOctets = 63
	maxNameOctets  = 255 // wire form, with the length octets and the root label
)

// A wireName is a domain name in wire form, lower case, uncompressed, with the final root label. Names are compared,
// cut and joined in this form only: in presentation form a dot need not be a label border (\.) and one octet has many
// spellings (\097).
//
// Lowering every octet of a wire name is safe because length octets end below 'A'.
type wireName string

const rootName wireName = "\x00"

// parseName reads a name in presentation form, absolute with or without the final dot. The second result says what is
// wrong with the name; it is empty if nothing is.
func parseName(s string) (wireName, string) {
	if s == "" {
		return "", "the name is empty"
	}
	if s == "." {
		return rootName, ""
	}
	wire := make([]byte, 1, len(s)+2)
	label := 0 // index of the length octet of the label under way
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if len(wire)-label == 1 {
				return "", "the name has an empty label"
			}
			if i == len(s)-1 {
				continue
			}
			label = len(wire)
			wire = append(wire, 0)
			continue
		case c == '\\':
			var size int
			if c, size = unescape(s[i+1:]); size == 0 {
				return "", "the name has an unfinished escape"
			}
			i += size
		case c >= 0x80:
			return "", "the name is not ASCII; write it as A-labels"
		case !plainOctet(lower(c)):
			return "", "the name has a character that must be escaped"
		}
		if wire[label]++; wire[label] > maxLabelOctets {
			return "", "a label is longer than 63 octets"
		}
		if wire = append(wire, lower(c)); len(wire) >= maxNameOctets {
			return "", "the name is longer than 255 octets"
		}
	}
	return wireName(append(wire, 0)), ""
}

// unescape reads what follows a backslash, one octet or three digits (RFC 1035 section 5.1), and returns the octet
// meant and the size read, 0 if it is no escape.
func unescape(s string) (octet byte, size int) {
	if s == "" || s[0] < '!' || s[0] > '~' {
		return 0, 0
	}
	if !digit(s[0]) {
		return s[0], 1
	}
	if len(s) < 3 || !digit(s[1]) || !digit(s[2]) {
		return 0, 0
	}
	n := int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	if n > 255 {
		return 0, 0
	}
	return byte(n), 3
}

// normalName returns name as Answer.Name has it: lower case, absolute, each octet in its one canonical spelling. The
// second result says what is wrong with the name. A name that is normal already is returned as it is, without allocation.
func normalName(name string) (string, string) {
	if isNormal(name) {
		return name, ""
	}
	w, problem := parseName(name)
	if problem != "" {
		return "", problem
	}
	return w.String(), ""
}

// isNormal reports whether name is normal and free of escapes. Then its wire form is one octet longer than name.
func isNormal(name string) bool {
	if len(name) < 2 || len(name) >= maxNameOctets || name[len(name)-1] != '.' {
		return name == "."
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c != '.':
			if !plainOctet(c) {
				return false
			}
			label++
		case label == 0 || label > maxLabelOctets:
			return false
		default:
			label = 0
		}
	}
	return true
}

// String returns the presentation form, which parseName reads back to the same wire form.
func (w wireName) String() string {
	if w == rootName {
		return "."
	}
	var b strings.Builder
	b.Grow(len(w))
	for len(w) > 0 && w[0] != 0 {
		size := int(w[0])
		for i := range size {
			switch c := w[1+i]; {
			case plainOctet(c):
				b.WriteByte(c)
			case c > ' ' && c <= '~':
				b.WriteByte('\\')
				b.WriteByte(c)
			default:
				b.WriteByte('\\')
				b.WriteByte('0' + c/100)
				b.WriteByte('0' + c/10%10)
				b.WriteByte('0' + c%10)
			}
		}
		b.WriteByte('.')
		w = w[1+size:]
	}
	return b.String()
}

// parent returns w without its first label; the root has none.
func (w wireName) parent() (wireName, bool) {
	if w == rootName {
		return w, false
	}
	return w[1+int(w[0]):], true
}

// below reports whether w lies strictly below ancestor, label by label: the wire form of an ancestor is a suffix that
// begins at a label border.
func (w wireName) below(ancestor wireName) bool {
	if len(w) <= len(ancestor) || !strings.HasSuffix(string(w), string(ancestor)) {
		return false
	}
	for len(w) > len(ancestor) {
		w, _ = w.parent()
	}
	return len(w) == len(ancestor)
}

// substitute applies a DNAME: the labels of w above the suffix owner stay, owner becomes target (RFC 6672 section 2.2).
// It reports false if the new name is too long. w must be below owner.
func (w wireName) substitute(owner, target wireName) (wireName, bool) {
	prefix := w[:len(w)-len(owner)]
	if len(prefix)+len(target) > maxNameOctets {
		return "", false
	}
	return prefix + target, true
}

// plainOctet reports whether c stands for itself in the presentation form of a lower case name: what host names,
// underscored names, wildcards and RFC 2317 delegations are made of. Everything else is escaped.
func plainOctet(c byte) bool {
	return 'a' <= c && c <= 'z' || digit(c) || c == '-' || c == '_' || c == '*' || c == '/'
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// wholeName reads data as one uncompressed name in wire form and nothing else.
func wholeName(data []byte) (wireName, bool) {
	name, next, err := appendName(nil, data, 0)
	if err != nil || next != len(data) || len(name) != len(data) {
		return "", false
	}
	return lowerName(name), true
}

// lowerName returns the wire name in data in lower case; data is changed.
func lowerName(data []byte) wireName {
	for i, c := range data {
		data[i] = lower(c)
	}
	return wireName(data)
}

// isHost reports whether w can be the name of a mail host: letters, digits, hyphens and underscores. Underscores are
// no part of host names (RFC 1123 section 2.1), but such hosts exist and work.
func (w wireName) isHost() bool {
	if w == rootName {
		return false
	}
	for w != rootName {
		size := int(w[0])
		for _, c := range []byte(w[1 : 1+size]) {
			if c == '*' || c == '/' || !plainOctet(c) {
				return false
			}
		}
		w = w[1+size:]
	}
	return true
}
