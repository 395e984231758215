package dnssec

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
)

// What NSEC3 records may hold (RFC 5155 sections 3.1 and 11).
const (
	nsec3SHA1        = 1 // the only hash algorithm
	nsec3OptOut      = 1 // the only flag
	nsec3LabelOctets = 32
)

type nsec3Hash [sha1.Size]byte

// An nsec3 is an NSEC3 record (RFC 5155 section 3.2).
type nsec3 struct {
	hash, next nsec3Hash
	optOut     bool
	params     nsec3Params
	types      typeBitmap
	set        *rrset
}

// nsec3Params are what a name is hashed with.
type nsec3Params struct {
	iterations uint16
	salt       string
}

// newNSEC3 reads the record of a set of a zone. Records with another hash algorithm or unknown flags are ignored (RFC
// 5155 sections 8.1 and 8.2).
func newNSEC3(set *rrset, zone wireName) (nsec3, bool) {
	if len(set.records) != 1 {
		return nsec3{}, false
	}
	n := nsec3{set: set}
	if up, ok := set.owner.parent(); !ok || up != zone || !n.hash.decode(set.owner.label(0)) {
		return n, false
	}
	const fixed = 5 // algorithm, flags, iterations, salt length
	data := set.records[0].data
	if len(data) < fixed || data[0] != nsec3SHA1 || data[1]&^nsec3OptOut != 0 {
		return n, false
	}
	n.optOut = data[1]&nsec3OptOut != 0
	n.params.iterations = binary.BigEndian.Uint16(data[2:])
	salt, data := int(data[4]), data[fixed:]
	if len(data) < salt+1+sha1.Size || data[salt] != sha1.Size {
		return n, false
	}
	n.params.salt = string(data[:salt])
	copy(n.next[:], data[salt+1:])
	n.types = data[salt+1+sha1.Size:]
	return n, n.types.valid()
}

// decode reads base32hex without padding, in lower case as in wire names (RFC 4648 section 7).
func (h *nsec3Hash) decode(label string) bool {
	if len(label) != nsec3LabelOctets {
		return false
	}
	var bits uint64
	for i := range len(label) {
		c := label[i]
		switch {
		case digit(c):
			c -= '0'
		case 'a' <= c && c <= 'v':
			c -= 'a' - 10
		default:
			return false
		}
		bits = bits<<5 | uint64(c)
		if i%8 == 7 { // 40 bits
			for k := range 5 {
				h[i/8*5+k] = byte(bits >> (32 - 8*k))
			}
			bits = 0
		}
	}
	return true
}

// hashName hashes a name (RFC 5155 section 5).
func hashName(name wireName, p nsec3Params) nsec3Hash {
	salted := append([]byte(name), p.salt...)
	h := sha1.Sum(salted)
	again := make([]byte, len(h)+len(p.salt))
	copy(again[len(h):], p.salt)
	for range p.iterations {
		copy(again, h[:])
		h = sha1.Sum(again)
	}
	return h
}

// covers reports whether h lies between the hashes of n; the last record of a zone leads back to the first.
func (n nsec3) covers(h nsec3Hash) bool {
	after := bytes.Compare(n.hash[:], h[:]) < 0
	before := bytes.Compare(h[:], n.next[:]) < 0
	if bytes.Compare(n.hash[:], n.next[:]) < 0 {
		return after && before
	}
	return h != n.hash && (after || before)
}

// A hashedChain is NSEC3 records of one zone with the same parameters, and a way to hash names with these.
type hashedChain struct {
	zone    wireName
	records []nsec3
	hash    func(wireName) (nsec3Hash, *Error) // the error is KindLimit
}

// matching returns the record of name, nil if there is none among these.
func (c hashedChain) matching(name wireName) (*nsec3, *Error) {
	h, failed := c.hash(name)
	if failed != nil {
		return nil, failed
	}
	for i := range c.records {
		if c.records[i].hash == h {
			return &c.records[i], nil
		}
	}
	return nil, nil
}

// covering returns a record that shows that name does not exist, nil if there is none among these. Of several, one
// without opt-out is returned: it shows more.
func (c hashedChain) covering(name wireName) (*nsec3, *Error) {
	h, failed := c.hash(name)
	if failed != nil {
		return nil, failed
	}
	var found *nsec3
	for i := range c.records {
		if n := &c.records[i]; n.covers(h) && (found == nil || found.optOut) {
			found = n
		}
	}
	return found, nil
}

// An enclosure is the closest encloser proof of RFC 5155 section 8.3: a name that exists, and the record that covers
// the one below it on the way to the name in question.
type enclosure struct {
	encloser     wireName
	match, cover *nsec3
}

// enclose looks for the closest encloser of name, a name of the zone that has no record itself.
func (c hashedChain) enclose(name wireName) (enclosure, bool, *Error) {
	for next := name; next != c.zone; {
		up, _ := next.parent()
		match, failed := c.matching(up)
		if failed != nil {
			return enclosure{}, false, failed
		}
		if match == nil {
			next = up
			continue
		}
		if match.types.cut() || match.types.has(TypeDNAME) { // what is below is not this zone's
			return enclosure{}, false, nil
		}
		cover, failed := c.covering(next)
		return enclosure{up, match, cover}, cover != nil, failed
	}
	return enclosure{}, false, nil
}

// proveNSEC3 says what the chain shows about the existence of t at name (RFC 5155 sections 8.4 to 8.7).
func proveNSEC3(c hashedChain, name wireName, t Type) (proof, *Error) {
	match, failed := c.matching(name)
	if failed != nil {
		return proof{}, failed
	}
	if match != nil {
		if !match.types.lacks(name, t) {
			return proof{}, nil
		}
		return proof{outcome: NoData, delegation: match.types.cut(), used: []*rrset{match.set}}, nil
	}
	e, ok, failed := c.enclose(name)
	if !ok || failed != nil {
		return proof{}, failed
	}
	p := proof{optOut: e.cover.optOut, used: []*rrset{e.match.set, e.cover.set}}
	wildcard := e.encloser.wildcard()
	match, failed = c.matching(wildcard)
	if failed != nil {
		return proof{}, failed
	}
	if match != nil {
		if !match.types.lacks(wildcard, t) {
			return proof{}, nil
		}
		p.outcome, p.used = NoData, append(p.used, match.set)
		return p, nil
	}
	cover, failed := c.covering(wildcard)
	switch {
	case failed != nil:
		return proof{}, failed
	case cover != nil:
		p.outcome, p.used = NXDomain, append(p.used, cover.set)
		return p, nil
	case t == TypeDS && p.optOut: // section 8.6: the wildcard does not matter
		p.outcome = NoData
		return p, nil
	}
	return proof{}, nil
}

// expandNSEC3 says whether the chain shows that name was rightly made from the wildcard below encloser: the next closer
// name does not exist (RFC 5155 section 8.8).
func expandNSEC3(c hashedChain, name, encloser wireName) (proof, *Error) {
	cover, failed := c.covering(name.last(encloser.labels() + 1))
	if cover == nil || failed != nil {
		return proof{}, failed
	}
	return proof{outcome: NXDomain, optOut: cover.optOut, used: []*rrset{cover.set}}, nil
}
