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
	for ; len(s) >= 8; s = s[8:] {
		if word(s)&highBits != 0 {
			return false
		}
	}
	var all byte
	for i := 0; i < len(s); i++ {
		all |= s[i]
	}
	return all < 0x80
}

// equalPlain reports at a glance that two texts of one length are the same host
// name, letter case aside, and of the usual kind: 8 to 63 octets, no underscore.
// There may be a dot in front. False says nothing; equalFold and validName do.
func equalPlain(a, b string) bool {
	n := len(a)
	if n < 8 || n > maxLabel || len(b) != n || a[0] == '-' {
		return false
	}
	// Each word begins with the last octet of the one before, so that all
	// neighbours are seen together.
	for i := 0; ; i += 7 {
		i = min(i, n-8)
		x, y := word(a[i:]), word(b[i:])
		letters, digits := within(x|caseBits, 'a', 'z'), within(x, '0', '9')
		joints, dots := within(x, '-', '.'), within(x, '.', '.')
		switch {
		case x&highBits != 0 || (x^y)&^(letters>>2) != 0: // high bit to case bit
			return false
		case letters|digits|joints != highBits || dots&(joints<<8) != 0 || joints&(dots<<8) != 0:
			return false
		case i == n-8:
			return class[a[n-1]]&isAlnum != 0
		}
	}
}
