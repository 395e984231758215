// Package ber reads the Basic Encoding Rules of ASN.1 (X.690), of which DER is
// the strict part, from bytes that a stranger wrote.
//
// The standard library reads DER only. PKCS #12 files of NSS (Firefox,
// Thunderbird) are BER: lengths are left open and octet strings come in
// pieces, also inside the bytes that the MAC covers, so such a file cannot be
// made DER without breaking its MAC.
//
// [Parse] checks one whole encoding in a single pass that allocates nothing:
// lengths, nesting (at most [MaxDepth]) and the number of elements (counted by
// a [Counter] that all encodings of one file share). What comes back is an
// [Element]; its contents are walked with a [Reader], which cannot run out of
// the checked bytes. Contents are slices of the input. Only an octet string in
// pieces is copied, into a buffer no larger than its encoding.
//
// The reader is tolerant where BER is (length forms, pieces) and strict
// elsewhere. It does not look into primitive values that nobody asks for.
// Nothing here is safe for concurrent use, apart from reading an Element.
package ber

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math"
)

// Bounds of what is read. Real files stay far below both: a PKCS #12 file
// nests 10 deep and needs about 20 elements for each bag.
const (
	// MaxDepth is the deepest nesting inside one encoding.
	MaxDepth = 16
	// MaxElements is the number of elements that a [Counter] lets pass.
	MaxElements = 10_000
	// maxOIDLength bounds an object identifier in octets: turning a huge one
	// into digits costs quadratic time.
	maxOIDLength = 64
)

var (
	// ErrMalformed: the bytes are not what they have to be.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge: a bound of size, nesting or number is passed.
	ErrTooLarge = errors.New("too large")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Classes of tags (X.690 section 8.1.2.2), as they stand in the first octet.
const (
	Universal = 0x00
	Context   = 0x80
)

// Universal tags that this project meets.
const (
	TagInteger     = 2
	TagOctetString = 4
	TagOID         = 6
	TagUTF8String  = 12
	TagSequence    = 16
	TagSet         = 17
	TagBMPString   = 30
)

// Counter counts the elements of all encodings that make up one file. The zero
// value is ready and lets [MaxElements] pass.
type Counter struct{ used int }

// Element is one value with its tag. The zero value is no element of any kind.
type Element struct {
	Class       byte   // Universal, Context or another class, in the top two bits
	Tag         uint32 // tag number
	Constructed bool   // content is made of elements
	Content     []byte // content octets, without the end-of-contents octets
	Full        []byte // the whole encoding
}

// Is reports whether the element has the given class and tag number.
func (e Element) Is(class byte, tag uint32) bool {
	return e.Full != nil && e.Class == class && e.Tag == tag
}

// header is what precedes the content octets.
type header struct {
	class       byte
	tag         uint32
	constructed bool
	indefinite  bool
	size        int // octets of the header itself
	length      int // content octets; 0 when indefinite
}

// parseHeader reads identifier and length octets (X.690 sections 8.1.2 and
// 8.1.3) and makes sure that the content lies within data.
func parseHeader(data []byte) (header, error) {
	if len(data) < 2 {
		return header{}, malformed("element cut off")
	}
	h := header{class: data[0] & 0xC0, constructed: data[0]&0x20 != 0, tag: uint32(data[0] & 0x1F)}
	at := 1
	if h.tag == 0x1F { // tag number in the following octets, 7 bits each
		h.tag = 0
		for more := true; more; at++ {
			if at >= len(data) || at > 4 {
				return header{}, malformed("tag number cut off or above 2^28")
			}
			h.tag = h.tag<<7 | uint32(data[at]&0x7F)
			more = data[at]&0x80 != 0
		}
	}
	if at >= len(data) {
		return header{}, malformed("element cut off")
	}
	first := data[at]
	at++
	switch {
	case first < 0x80:
		h.length = int(first)
	case first == 0x80:
		if !h.constructed {
			return header{}, malformed("primitive element without a length")
		}
		h.indefinite = true
	case first == 0xFF:
		return header{}, malformed("reserved length form")
	default:
		for range first & 0x7F {
			if at >= len(data) {
				return header{}, malformed("length cut off")
			}
			n := int64(h.length)<<8 | int64(data[at])
			if n > int64(len(data)) {
				return header{}, malformed("element is longer than the data")
			}
			h.length = int(n)
			at++
		}
	}
	if h.length > len(data)-at {
		return header{}, malformed("element is longer than the data")
	}
	h.size = at
	return h, nil
}

// atEnd reports whether data starts with the end-of-contents octets.
func atEnd(data []byte) bool { return len(data) >= 2 && data[0] == 0 && data[1] == 0 }

// span returns the octets that the element at the start of data takes, after
// checking everything inside. A nil counter means it was checked before.
func span(data []byte, depth int, c *Counter) (int, error) {
	h, err := parseHeader(data)
	if err != nil {
		return 0, err
	}
	if c != nil {
		if c.used++; c.used > MaxElements {
			return 0, fmt.Errorf("%w: more than %d elements", ErrTooLarge, MaxElements)
		}
	}
	switch {
	case depth > MaxDepth:
		return 0, fmt.Errorf("%w: nested deeper than %d", ErrTooLarge, MaxDepth)
	case h.class == Universal && h.tag == 0:
		return 0, malformed("end of contents without a beginning")
	case !h.constructed:
		return h.size + h.length, nil
	case !h.indefinite && c == nil:
		return h.size + h.length, nil
	}
	rest := data[h.size:]
	if !h.indefinite {
		rest = rest[:h.length]
	}
	taken := 0
	for {
		if h.indefinite && atEnd(rest[taken:]) {
			return h.size + taken + 2, nil
		}
		if !h.indefinite && taken == len(rest) {
			return h.size + taken, nil
		}
		n, err := span(rest[taken:], depth+1, c)
		if err != nil {
			return 0, err
		}
		if h.class == Universal && h.tag == TagOctetString && rest[taken]&^0x20 != TagOctetString {
			return 0, malformed("octet string has a piece that is not one") // X.690 section 8.7.3.2
		}
		taken += n
	}
}

// Parse reads the one element that data must consist of and checks everything
// inside it, counting with c. The element aliases data. Errors are
// [ErrMalformed] and [ErrTooLarge].
func Parse(data []byte, c *Counter) (Element, error) {
	n, err := span(data, 1, c)
	if err != nil {
		return Element{}, err
	}
	if n != len(data) {
		return Element{}, malformed("%d octets follow the end", len(data)-n)
	}
	e, _ := element(data)
	return e, nil
}

// element cuts the first element off checked data.
func element(data []byte) (Element, []byte) {
	h, err := parseHeader(data)
	if err != nil {
		return Element{}, nil
	}
	n, err := span(data, 1, nil)
	if err != nil {
		return Element{}, nil
	}
	end := n
	if h.indefinite {
		end -= 2
	}
	return Element{Class: h.class, Tag: h.tag, Constructed: h.constructed, Content: data[h.size:end:end], Full: data[:n:n]}, data[n:]
}

// Inside returns a reader of the elements within a constructed element with the
// given class and tag number. what names the value in the error.
func (e Element) Inside(class byte, tag uint32, what string) (Reader, error) {
	if !e.Is(class, tag) || !e.Constructed {
		return Reader{}, malformed("%s expected", what)
	}
	return Reader{rest: e.Content}, nil
}

// Sequence returns a reader of the elements of a SEQUENCE.
func (e Element) Sequence(what string) (Reader, error) {
	return e.Inside(Universal, TagSequence, what)
}

// OctetString returns the octets of an OCTET STRING, which may come in pieces
// (X.690 section 8.7). It is a copy, made for this call, when copied is true;
// else it aliases the input.
func (e Element) OctetString(what string) (octets []byte, copied bool, err error) {
	if !e.Is(Universal, TagOctetString) {
		return nil, false, malformed("%s expected", what)
	}
	return e.ImplicitOctetString(what)
}

// ImplicitOctetString is OctetString for an element whose own tag replaces that
// of the OCTET STRING, as in EncryptedContentInfo (RFC 5652 section 6.1). The
// caller checks the tag.
func (e Element) ImplicitOctetString(what string) (octets []byte, copied bool, err error) {
	if !e.Constructed {
		return e.Content, false, nil
	}
	out := make([]byte, 0, len(e.Content))
	if out, err = joinPieces(out, e.Content, what); err != nil {
		clear(out)
		return nil, false, err
	}
	return out, true, nil
}

func joinPieces(out, content []byte, what string) ([]byte, error) {
	for r := (Reader{rest: content}); !r.Empty(); {
		piece := r.Next()
		if !piece.Is(Universal, TagOctetString) {
			return out, malformed("%s has a piece that is not an OCTET STRING", what)
		}
		if !piece.Constructed {
			out = append(out, piece.Content...)
			continue
		}
		var err error
		if out, err = joinPieces(out, piece.Content, what); err != nil {
			return out, err
		}
	}
	return out, nil
}

// OID is the content octets of an OBJECT IDENTIFIER, so that constants can be
// compared and switched on. The zero value is no identifier.
type OID string

// String returns the dotted form, "?" for octets that are no identifier.
func (o OID) String() string {
	der := append([]byte{TagOID, byte(len(o))}, o...)
	var id asn1.ObjectIdentifier
	if len(o) > maxOIDLength {
		return "?"
	}
	if _, err := asn1.Unmarshal(der, &id); err != nil {
		return "?"
	}
	return id.String()
}

// Reader walks the elements inside a checked one. The zero value is at its end.
type Reader struct{ rest []byte }

// Empty reports whether no element is left.
func (r *Reader) Empty() bool { return len(r.rest) == 0 }

// Next returns the next element; at the end the zero one, which is of no kind.
func (r *Reader) Next() Element {
	if r.Empty() {
		return Element{}
	}
	var e Element
	e, r.rest = element(r.rest)
	return e
}

// Peek reports whether the next element has the given class and tag number.
func (r *Reader) Peek(class byte, tag uint32) bool {
	if r.Empty() {
		return false
	}
	h, err := parseHeader(r.rest)
	return err == nil && h.class == class && h.tag == tag
}

// Sequence reads a SEQUENCE and returns a reader of its elements.
func (r *Reader) Sequence(what string) (Reader, error) { return r.Next().Sequence(what) }

// Explicit reads a context-specific tag around one element and returns that
// element.
func (r *Reader) Explicit(tag uint32, what string) (Element, error) {
	in, err := r.Next().Inside(Context, tag, what)
	if err != nil {
		return Element{}, err
	}
	e := in.Next()
	if e.Full == nil {
		return Element{}, malformed("%s is empty", what)
	}
	return e, in.End(what)
}

// OID reads an OBJECT IDENTIFIER of at most 64 octets.
func (r *Reader) OID(what string) (OID, error) {
	e := r.Next()
	if !e.Is(Universal, TagOID) || e.Constructed || len(e.Content) == 0 || e.Content[len(e.Content)-1]&0x80 != 0 {
		return "", malformed("%s: object identifier expected", what)
	}
	if len(e.Content) > maxOIDLength {
		return "", malformed("%s: object identifier of %d octets", what, len(e.Content))
	}
	return OID(e.Content), nil
}

// Int reads an INTEGER that is zero or more. Whatever does not fit comes back
// as [math.MaxInt64]: for a count that is to be bounded this is the same.
func (r *Reader) Int(what string) (int64, error) {
	e := r.Next()
	if !e.Is(Universal, TagInteger) || e.Constructed || len(e.Content) == 0 {
		return 0, malformed("%s: integer expected", what)
	}
	if e.Content[0]&0x80 != 0 {
		return 0, malformed("%s is negative", what)
	}
	var v int64
	for _, b := range e.Content {
		if v > math.MaxInt64>>8 {
			return math.MaxInt64, nil
		}
		v = v<<8 | int64(b)
	}
	return v, nil
}

// OctetString reads an OCTET STRING, see [Element.OctetString].
func (r *Reader) OctetString(what string) ([]byte, error) {
	octets, _, err := r.Next().OctetString(what)
	return octets, err
}

// End returns an error when elements are left.
func (r *Reader) End(what string) error {
	if !r.Empty() {
		return malformed("%s has more elements than defined", what)
	}
	return nil
}
