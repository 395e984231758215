package mtasts

// Classes of octets, for parsers that look at each octet once.
const (
	isAlnum   uint8 = 1 << iota // ALPHA / DIGIT
	isLDH                       // letter, digit, hyphen, underscore
	isName                      // octet of a field name after the first
	isValue                     // octet of a value in a TXT record: %x21-3A / %x3C / %x3E-7E
	isHigh                      // 0x80 and above
	isControl                   // below 0x20, and DEL
	isBreak                     // what some readers take for a line end: CR VT FF FS GS RS
)

var class = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		alnum := '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
		if alnum {
			t[i] |= isAlnum
		}
		if alnum || c == '-' || c == '_' {
			t[i] |= isLDH
		}
		if alnum || c == '-' || c == '_' || c == '.' {
			t[i] |= isName
		}
		if '!' <= c && c <= '~' && c != ';' && c != '=' {
			t[i] |= isValue
		}
		if c >= 0x80 {
			t[i] |= isHigh
		}
		if c < ' ' || c == 0x7f {
			t[i] |= isControl
		}
		if c == '\r' || c == '\v' || c == '\f' || 0x1c <= c && c <= 0x1e {
			t[i] |= isBreak
		}
	}
	return t
}()

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func trimBlankLeft(s string) string {
	for len(s) > 0 && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func trimBlankRight(s string) string {
	for len(s) > 0 && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
