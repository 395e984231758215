package dnssec

import (
	"encoding/binary"
	"errors"
	"math"
)

// A message is a parsed reply. The octets it was read from are not referenced.
type message struct {
	rcode     int  // with the upper bits of EDNS (RFC 6891 section 6.1.3)
	ad        bool // Authentic Data (RFC 4035 section 3.2.3); means nothing by itself
	aa, ra    bool
	ede       int // first extended error (RFC 8914), noEDE if none
	answer    []resource
	authority []resource
}

// A resource is one record of a message.
type resource struct {
	owner wireName
	typ   Type
	class uint16
	ttl   uint32
	data  []byte // as Record.Data
}

// Header bits and codes (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
const (
	headerOctets = 12

	flagQR     = 1 << 15
	flagAA     = 1 << 10
	flagTC     = 1 << 9
	flagRD     = 1 << 8
	flagRA     = 1 << 7
	flagAD     = 1 << 5
	flagCD     = 1 << 4
	maskOpcode = 0xF << 11
	maskRcode  = 0xF

	classIN = 1

	rcodeSuccess  = 0
	rcodeFormErr  = 1
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeNotImp   = 4
	rcodeRefused  = 5

	optionEDE = 15 // RFC 8914 section 2
)

var (
	errShort    = errors.New("the message ends before the records it announces")
	errTrailing = errors.New("octets follow the last record")
	errName     = errors.New("a domain name cannot be read")
	errOPT      = errors.New("more than one OPT record, or one that is malformed or misplaced")
	errSections = errors.New("not exactly one question")
)

// parseMessage reads a whole message: every section with exactly as many records as the header counts, each readable,
// and nothing after them. Anything less is an error, and nothing of the message is used: half a message may be a
// forged or a cut one. Of the additional section only OPT is looked at.
func parseMessage(b []byte) (*message, error) {
	if len(b) < headerOctets {
		return nil, errShort
	}
	flags := binary.BigEndian.Uint16(b[2:])
	m := &message{
		rcode: int(flags & maskRcode),
		ad:    flags&flagAD != 0, aa: flags&flagAA != 0, ra: flags&flagRA != 0,
		ede: noEDE,
	}
	if binary.BigEndian.Uint16(b[4:]) != 1 {
		return nil, errSections
	}
	p := parser{msg: b, off: headerOctets}
	if err := p.question(); err != nil {
		return nil, err
	}
	var err error
	if m.answer, err = p.section(int(binary.BigEndian.Uint16(b[6:]))); err != nil {
		return nil, err
	}
	if m.authority, err = p.section(int(binary.BigEndian.Uint16(b[8:]))); err != nil {
		return nil, err
	}
	additional, err := p.section(int(binary.BigEndian.Uint16(b[10:])))
	if err != nil {
		return nil, err
	}
	if p.off != len(b) {
		return nil, errTrailing
	}
	for _, section := range [][]resource{m.answer, m.authority} {
		for i := range section {
			if section[i].typ == typeOPT {
				return nil, errOPT
			}
		}
	}
	seen := false
	for i := range additional {
		if additional[i].typ != typeOPT {
			continue
		}
		if seen || !m.readOPT(&additional[i]) { // RFC 6891 section 6.1.1: one at most
			return nil, errOPT
		}
		seen = true
	}
	return m, nil
}

// readOPT takes the upper bits of the RCODE and the first extended error from an OPT record.
func (m *message) readOPT(opt *resource) bool {
	if opt.owner != rootName {
		return false
	}
	m.rcode |= int(opt.ttl>>24) << 4
	for data := opt.data; len(data) > 0; {
		if len(data) < 4 {
			return false
		}
		code, size := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if len(data)-4 < size {
			return false
		}
		if code == optionEDE && size >= 2 && m.ede == noEDE {
			m.ede = int(binary.BigEndian.Uint16(data[4:]))
		}
		data = data[4+size:]
	}
	return true
}

// A parser walks through a message.
type parser struct {
	msg  []byte
	off  int
	name []byte   // scratch space for owner names
	last wireName // the owner read last: records of one set share the string
}

func (p *parser) question() error {
	var err error
	if _, p.off, err = appendName(nil, p.msg, p.off); err != nil {
		return err
	}
	if p.off += 4; p.off > len(p.msg) {
		return errShort
	}
	return nil
}

func (p *parser) section(count int) ([]resource, error) {
	const minRecord = 1 + 10 // root owner, type, class, TTL, RDLENGTH
	if count == 0 {
		return nil, nil
	}
	if count > (len(p.msg)-p.off)/minRecord { // before anything is allocated for records that cannot be there
		return nil, errShort
	}
	records := make([]resource, count)
	for i := range records {
		if err := p.record(&records[i]); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func (p *parser) record(r *resource) error {
	name, off, err := appendName(p.name[:0], p.msg, p.off)
	if err != nil {
		return err
	}
	p.name = name
	for i, c := range name {
		name[i] = lower(c)
	}
	if string(name) != string(p.last) {
		p.last = wireName(name)
	}
	r.owner = p.last
	if len(p.msg)-off < 10 {
		return errShort
	}
	head := p.msg[off:]
	r.typ = Type(binary.BigEndian.Uint16(head))
	r.class = binary.BigEndian.Uint16(head[2:])
	r.ttl = binary.BigEndian.Uint32(head[4:])
	if r.ttl > math.MaxInt32 && r.typ != typeOPT {
		r.ttl = 0 // RFC 2181 section 8
	}
	size := int(binary.BigEndian.Uint16(head[8:]))
	off += 10
	if len(p.msg)-off < size {
		return errShort
	}
	p.off = off + size
	r.data, err = readData(p.msg, off, p.off, r.typ)
	return err
}

// nameLayout says where names are in the RDATA of a type: fixed octets before, how many names. What follows them is not
// looked at.
type nameLayout struct{ before, names int }

// layoutOf returns the layout for the types that may carry compressed names: those of RFC 1035 and the list of RFC
// 3597 section 4, and those that must not but might (RFC 4034, RFC 6672). Every other type is opaque.
func layoutOf(t Type) nameLayout {
	switch t {
	case TypeNS, 3, 4, TypeCNAME, 7, 8, 9, TypePTR, TypeDNAME: // 3, 4: MD, MF; 7 to 9: MB, MG, MR
		return nameLayout{0, 1}
	case typeNXT, typeNSEC:
		return nameLayout{0, 1}
	case TypeSOA, 14, 17: // MINFO, RP
		return nameLayout{0, 2}
	case TypeMX, 18, 21, 36: // AFSDB, RT, KX
		return nameLayout{2, 1}
	case 26: // PX
		return nameLayout{2, 2}
	case 33: // SRV
		return nameLayout{6, 1}
	case typeSIG, typeRRSIG:
		return nameLayout{18, 1}
	}
	return nameLayout{}
}

// typeNAPTR has three character-strings of its own length before the name (RFC 3403 section 4.1).
const typeNAPTR Type = 35

// readData copies the RDATA at msg[start:end] with its names decompressed. RDATA too short to reach its names is
// copied as it is: whoever parses it sees that. A name that cannot be read, or runs past the end, is an error.
func readData(msg []byte, start, end int, t Type) ([]byte, error) {
	layout := layoutOf(t)
	if t == typeNAPTR {
		layout = nameLayout{4, 1}
		for range 3 {
			if start+layout.before < end {
				layout.before += 1 + int(msg[start+layout.before])
			}
		}
	}
	off := start + layout.before
	if layout.names == 0 || off >= end {
		return append([]byte(nil), msg[start:end]...), nil
	}
	data := append(make([]byte, 0, end-start+16), msg[start:off]...)
	for range layout.names {
		if off >= end {
			break
		}
		var err error
		if data, off, err = appendName(data, msg, off); err != nil {
			return nil, err
		}
		if off > end {
			return nil, errName
		}
	}
	return append(data, msg[off:end]...), nil
}

// appendName appends the name at msg[off:], decompressed and with its case kept, to dst. It returns the offset after
// the name where it stands.
func appendName(dst, msg []byte, off int) (name []byte, next int, err error) {
	start, limit := len(dst), off
	for {
		if off >= len(msg) {
			return nil, 0, errName
		}
		switch c := int(msg[off]); {
		case c == 0:
			if next == 0 {
				next = off + 1
			}
			if len(dst)-start+1 > maxNameOctets {
				return nil, 0, errName
			}
			return append(dst, 0), next, nil
		case c <= maxLabelOctets:
			if len(msg)-off < 1+c || len(dst)-start+1+c >= maxNameOctets {
				return nil, 0, errName
			}
			dst = append(dst, msg[off:off+1+c]...)
			off += 1 + c
		case c >= 0xC0:
			if len(msg)-off < 2 {
				return nil, 0, errName
			}
			if next == 0 {
				next = off + 2
			}
			// RFC 1035 section 4.1.4: a pointer is to a prior occurrence. Each one must lead further back than
			// the start of what is being read, so there can be no circle.
			off = c&0x3F<<8 | int(msg[off+1])
			if off >= limit || off < headerOctets {
				return nil, 0, errName
			}
			limit = off
		default: // 0x40 and 0x80 are no label types (RFC 6891 section 5)
			return nil, 0, errName
		}
	}
}
