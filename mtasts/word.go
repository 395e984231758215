package mtasts

// A word is eight octets of a text, looked at together.
const (
	each     = 0x0101010101010101 // times an octet: that octet in all places
	highBits = 0x80 * each
	caseBits = 0x20 * each // the two cases of a letter differ in this bit
)

// word is the first eight octets of s, in one load.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// within marks with the high bit the octets of a word that are from lo to hi. All
// octets must be below 0x80.
func within(w uint64, lo, hi byte) uint64 {
	return (w + (0x80-uint64(lo))*each) &^ (w + (0x7f-uint64(hi))*each) & highBits
}

func isASCII(s string) bool {
	if len(s) >= 8 {
		all := word(s[len(s)-8:]) // what is left over when the words have been counted off
		for ; len(s) >= 8; s = s[8:] {
			all |= word(s)
		}
		return all&highBits == 0
	}
	var all byte
	for i := 0; i < len(s); i++ {
		all |= s[i]
	}
	return all < 0x80
}

// equalPlain reports at a glance that a host name in lower case and a text of the
// same length are the same name, letter case aside, and of the usual kind: 8 to 63
// octets, no underscore, no two hyphens in a row. There may be a dot in front. False
// says nothing; equalFold and validName do.
func equalPlain(lower, text string) bool {
	n := len(lower)
	if n < 8 || n > maxLabel || len(text) != n || lower[0] == '-' || class[lower[n-1]]&isAlnum == 0 {
		return false
	}
	// Each word begins with the last octet of the one before, so that all
	// neighbours are seen together.
	for {
		x, y := word(lower), word(text)
		letters, digits, joints := within(x, 'a', 'z'), within(x, '0', '9'), within(x, '-', '.')
		foreign := highBits&^(letters|digits|joints) | x&highBits
		differ := (x ^ y) &^ (letters >> 2) // high bit to case bit
		if foreign|differ|joints&(joints<<8) != 0 {
			return false
		}
		if len(lower) == 8 {
			return true
		}
		step := min(7, len(lower)-8)
		lower, text = lower[step:], text[step:]
	}
}
