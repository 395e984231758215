package dnssec

import "strings"

// maxLabels is the most labels a name can have, without the root: 127 of one octet each (RFC 1035 section 2.3.4).
const maxLabels = (maxNameOctets - 1) / 2

// offsets writes the offset of each label of w, the root left out, to buf, and returns how many there are.
func (w wireName) offsets(buf *[maxLabels]uint8) int {
	n := 0
	for off := 0; w[off] != 0; off += 1 + int(w[off]) {
		buf[n] = uint8(off)
		n++
	}
	return n
}

// label returns the octets of the label that begins at off, without its length.
func (w wireName) label(off uint8) string {
	return string(w[off+1 : int(off)+1+int(w[off])])
}

// compareNames orders names canonically: label by label from the right, each as octets, a name before those below it
// (RFC 4034 section 6.1). Wire names are in lower case already.
func compareNames(a, b wireName) int {
	var x, y [maxLabels]uint8
	i, j := a.offsets(&x), b.offsets(&y)
	for i > 0 && j > 0 {
		i, j = i-1, j-1
		if c := strings.Compare(a.label(x[i]), b.label(y[j])); c != 0 {
			return c
		}
	}
	return i - j
}

// labels counts the labels of w without the root.
func (w wireName) labels() int {
	n := 0
	for off := 0; w[off] != 0; off += 1 + int(w[off]) {
		n++
	}
	return n
}

// signedLabels is the count that an RRSIG over data at w has: the root and a leading "*" are not counted (RFC 4034
// section 3.1.3).
func (w wireName) signedLabels() int {
	n := w.labels()
	if strings.HasPrefix(string(w), "\x01*") {
		n--
	}
	return n
}

// last returns the ancestor of w that has n labels; w has at least n.
func (w wireName) last(n int) wireName {
	for k := w.labels(); k > n; k-- {
		w, _ = w.parent()
	}
	return w
}

// within reports whether w is ancestor or lies below it.
func (w wireName) within(ancestor wireName) bool { return w == ancestor || w.below(ancestor) }

// wildcard returns the wildcard directly below w. It is no longer than any other name below w, so it fits.
func (w wireName) wildcard() wireName { return "\x01*" + w }

// commonAncestor returns the deepest name that is both a and b or above them.
func commonAncestor(a, b wireName) wireName {
	n, m := a.labels(), b.labels()
	a, b = a.last(min(n, m)), b.last(min(n, m))
	for a != b {
		a, _ = a.parent()
		b, _ = b.parent()
	}
	return a
}

// canonicalData returns RDATA in canonical form: names in lower case where RFC 4034 section 6.2 and RFC 6840 section
// 5.1 say so, which is where they may be compressed, except for NSEC. data is not changed.
func canonicalData(t Type, data []byte) []byte {
	layout := layoutOf(t)
	switch t {
	case typeNSEC:
		return data
	case typeNAPTR:
		layout = nameLayout{4, 1}
		for range 3 {
			if layout.before >= len(data) {
				return data
			}
			layout.before += 1 + int(data[layout.before])
		}
	}
	if layout.names == 0 || layout.before >= len(data) {
		return data
	}
	canonical := append([]byte(nil), data...)
	off := layout.before
	for range layout.names {
		end, ok := nameEnd(canonical, off)
		if !ok {
			return data
		}
		lowerName(canonical[off:end])
		off = end
	}
	return canonical
}

// nameEnd returns the offset after the uncompressed name at data[off:].
func nameEnd(data []byte, off int) (end int, ok bool) {
	start := off
	for off < len(data) {
		size := int(data[off])
		off += 1 + size
		switch {
		case size > maxLabelOctets || off-start > maxNameOctets || off > len(data):
			return 0, false
		case size == 0:
			return off, true
		}
	}
	return 0, false
}
