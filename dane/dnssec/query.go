package dnssec

import (
	"crypto/rand"
	"encoding/binary"
)

// A query is a question as it goes to a server.
type query struct {
	name wireName
	typ  Type
	ad   bool // AD bit: "tell me whether you have validated" (RFC 6840 section 5.7)
	cd   bool // CD bit: "do not validate" (RFC 4035 section 3.2.2)
	do   bool // DO bit: "send signatures" (RFC 3225)
}

// A sentQuery is one message that carries a query, and what a reply to it must look like.
type sentQuery struct {
	octets   []byte
	question []byte // part of octets: name, type and class
}

// newMessage writes q as a message with a fresh random ID; udpSize 0 leaves EDNS out. With mixCase each letter of the
// name is upper or lower case at random.
func (q query) newMessage(udpSize uint16, mixCase bool) sentQuery {
	var id [2]byte
	rand.Read(id[:]) // never fails
	flags := uint16(flagRD)
	if q.ad {
		flags |= flagAD
	}
	if q.cd {
		flags |= flagCD
	}
	b := make([]byte, 0, headerOctets+len(q.name)+4+11)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, 0, 1, 0, 0, 0, 0, 0, 0)
	b = append(b, q.name...)
	if mixCase {
		mix(b[headerOctets:])
	}
	b = binary.BigEndian.AppendUint16(b, uint16(q.typ))
	b = binary.BigEndian.AppendUint16(b, classIN)
	end := len(b)
	if udpSize > 0 { // RFC 6891 section 6.1.2
		b[11] = 1
		b = append(b, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(typeOPT))
		b = binary.BigEndian.AppendUint16(b, udpSize)
		var ttl uint32
		if q.do {
			ttl = 1 << 15
		}
		b = binary.BigEndian.AppendUint32(b, ttl)
		b = append(b, 0, 0)
	}
	return sentQuery{octets: b, question: b[headerOctets:end]}
}

// mix sets the case of each letter of a lower case wire name by a random bit. Length octets are no letters.
func mix(name []byte) {
	bits := make([]byte, len(name))
	rand.Read(bits)
	for i, c := range name {
		if 'a' <= c && c <= 'z' && bits[i]&1 == 0 {
			name[i] = c - 'a' + 'A'
		}
	}
}

// echo says how far a datagram is a reply to a query.
type echo uint8

const (
	echoNone   echo = iota // no reply to this query
	echoHeader             // ID and header fit, but an error code is all there is: old servers answer EDNS like this
	echoCase               // a reply, if the case of the name does not matter
	echoExact              // a reply
)

// match compares the header and question of a datagram with the query. It comes before any parsing: what is not a
// reply to our question is not looked at any further.
func (s sentQuery) match(b []byte) echo {
	if len(b) < headerOctets || b[0] != s.octets[0] || b[1] != s.octets[1] {
		return echoNone
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&flagQR == 0 || flags&maskOpcode != 0 {
		return echoNone
	}
	if len(b) == headerOctets && flags&maskRcode != 0 && binary.BigEndian.Uint64(b[4:]) == 0 {
		return echoHeader
	}
	if binary.BigEndian.Uint16(b[4:]) != 1 || len(b)-headerOctets < len(s.question) {
		return echoNone
	}
	got := b[headerOctets : headerOctets+len(s.question)]
	if string(got) == string(s.question) {
		return echoExact
	}
	name := len(s.question) - 4
	for i, c := range got {
		want := s.question[i]
		if c != want && (i >= name || lower(c) != lower(want)) {
			return echoNone
		}
	}
	return echoCase
}

// truncated reports whether the TC bit is set. b has a whole header.
func truncated(b []byte) bool { return binary.BigEndian.Uint16(b[2:])&flagTC != 0 }
