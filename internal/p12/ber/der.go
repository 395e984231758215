package ber

import "math/bits"

// DER returns the element in definite lengths of the shortest form, octet
// strings in one piece: what encoding/asn1 and crypto/x509 read. The order of
// a SET and primitive contents stay as they are. The result is a copy and at
// most a few octets longer than the element.
func (e Element) DER() []byte {
	return e.appendDER(make([]byte, 0, e.sizeDER()))
}

// joined reports whether the content is an octet string in pieces.
func (e Element) joined() bool { return e.Constructed && e.Is(Universal, TagOctetString) }

// contentDER returns the length of the content octets in DER.
func (e Element) contentDER() int {
	if !e.Constructed {
		return len(e.Content)
	}
	n := 0
	for r := (Reader{rest: e.Content}); !r.Empty(); {
		if c := r.Next(); e.joined() {
			n += c.contentDER()
		} else {
			n += c.sizeDER()
		}
	}
	return n
}

func (e Element) sizeDER() int {
	n := e.contentDER()
	return tagSize(e.Tag) + lengthSize(n) + n
}

func tagSize(tag uint32) int {
	if tag < 0x1F {
		return 1
	}
	return 1 + (bits.Len32(tag)+6)/7
}

func lengthSize(n int) int {
	if n < 0x80 {
		return 1
	}
	return 1 + (bits.Len(uint(n))+7)/8
}

func (e Element) appendDER(dst []byte) []byte {
	first := e.Class
	if e.Constructed && !e.joined() {
		first |= 0x20
	}
	if size := tagSize(e.Tag) - 1; size == 0 {
		dst = append(dst, first|byte(e.Tag))
	} else {
		dst = append(dst, first|0x1F)
		for i := size - 1; i > 0; i-- {
			dst = append(dst, byte(e.Tag>>(7*i))|0x80)
		}
		dst = append(dst, byte(e.Tag)&0x7F)
	}
	n := e.contentDER()
	if size := lengthSize(n) - 1; size == 0 {
		dst = append(dst, byte(n))
	} else {
		dst = append(dst, 0x80|byte(size))
		for i := size - 1; i >= 0; i-- {
			dst = append(dst, byte(n>>(8*i)))
		}
	}
	if e.joined() {
		return e.appendPieces(dst)
	}
	if !e.Constructed {
		return append(dst, e.Content...)
	}
	for r := (Reader{rest: e.Content}); !r.Empty(); {
		dst = r.Next().appendDER(dst)
	}
	return dst
}

func (e Element) appendPieces(dst []byte) []byte {
	if !e.Constructed {
		return append(dst, e.Content...)
	}
	for r := (Reader{rest: e.Content}); !r.Empty(); {
		dst = r.Next().appendPieces(dst)
	}
	return dst
}
