package dane

import "fmt"

// ParseRecord reads the presentation form of the RDATA (RFC 6698 section 2.2):
//
//	3 1 1 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//	DANE-EE SPKI SHA2-256 ( 9F86D081 884C7D65 ... )
//	\# 35 030101 9f86d081...
//
// Each of the first three fields is a number from 0 to 255 or an acronym of RFC
// 7218 in any letter case. Hex digits may be of any case and split by blanks and
// line breaks; one pair of parentheses may enclose any part of the text, as in
// zone files. The last form is that of RFC 3597 section 5.
//
// The syntax is strict and anything else is a *SyntaxError. The values are not
// judged: an unknown usage or a digest of the wrong length is a record all the
// same, and Check says why it cannot be used.
func ParseRecord(s string) (Record, error) { return parseText(nil, s) }

// UnmarshalText is ParseRecord into r, and reuses the capacity of r.Data: with
// enough of it nothing is allocated. After an error *r is the zero Record but
// for that capacity.
func (r *Record) UnmarshalText(b []byte) error {
	data := r.Data[:0]
	rec, err := parseText(data, b)
	if err != nil {
		rec.Data = data
	}
	*r = rec
	return err
}

func parseText[T string | []byte](data []byte, s T) (Record, error) {
	p := parser[T]{s: s}
	rec, problem := p.record(data)
	if problem != "" {
		return Record{}, &SyntaxError{Input: clip(string(s[:min(len(s), maxInput)])), Offset: p.pos, Msg: problem}
	}
	return rec, nil
}

// maxInput is how much of a faulty text a SyntaxError keeps.
const maxInput = 1024

// parser goes through text of either type without copying it. On failure pos is
// where.
type parser[T string | []byte] struct {
	s      T
	pos    int
	opened bool // "(" seen
	closed bool // ")" seen
}

func (p *parser[T]) record(data []byte) (Record, string) {
	first, problem := p.token()
	if problem != "" {
		return Record{}, problem
	}
	if len(first) == 2 && first[0] == '\\' && first[1] == '#' {
		return p.unknown(data)
	}
	r := Record{}
	for i, field := range [...]struct {
		name    string
		value   *uint8
		names   []string
		private string
	}{
		{"usage", (*uint8)(&r.Usage), usageAcronyms[:], privateUsage},
		{"selector", (*uint8)(&r.Selector), selectorAcronyms[:], privateSelector},
		{"matching type", (*uint8)(&r.MatchingType), matchingAcronyms[:], privateMatching},
	} {
		word := first
		if i > 0 {
			if word, problem = p.token(); problem != "" {
				return Record{}, problem
			}
		}
		if len(word) == 0 {
			return Record{}, "the " + field.name + " is missing"
		}
		var ok bool
		if *field.value, ok = fieldValue(word, field.names, field.private); !ok {
			p.pos -= len(word)
			return Record{}, "the " + field.name + " is neither a number from 0 to 255 nor a known acronym"
		}
	}
	r.Data, problem = p.hex(data, maxRDATA-headerOctets)
	return r, problem
}

// unknown reads what follows "\#": the length of the RDATA and its octets (RFC
// 3597 section 5).
func (p *parser[T]) unknown(data []byte) (Record, string) {
	word, problem := p.token()
	if problem != "" {
		return Record{}, problem
	}
	size, ok := smallNumber(word, maxRDATA)
	if !ok || size < headerOctets {
		p.pos -= len(word)
		return Record{}, fmt.Sprintf(`after \# stands the length of the RDATA, %d to %d`, headerOctets, maxRDATA)
	}
	rdata, problem := p.hex(data, size)
	if problem == "" && len(rdata) != size {
		problem = fmt.Sprintf(`\# says %d octets, but there are %d`, size, len(rdata))
	}
	if problem != "" {
		return Record{}, problem
	}
	r := Record{Usage: Usage(rdata[0]), Selector: Selector(rdata[1]), MatchingType: MatchingType(rdata[2])}
	r.Data = rdata[:copy(rdata, rdata[headerOctets:])]
	return r, ""
}

// token returns the next word, empty at the end of the text.
func (p *parser[T]) token() (T, string) {
	if problem := p.space(); problem != "" {
		return p.s[:0], problem
	}
	start := p.pos
	for p.pos < len(p.s) && !isSpace(p.s[p.pos]) && p.s[p.pos] != '(' && p.s[p.pos] != ')' {
		p.pos++
	}
	return p.s[start:p.pos], ""
}

// space skips blanks, line breaks and parentheses.
func (p *parser[T]) space() string {
	for ; p.pos < len(p.s); p.pos++ {
		switch c := p.s[p.pos]; {
		case isSpace(c):
		case c == '(' && !p.opened:
			p.opened = true
		case c == ')' && p.opened && !p.closed:
			p.closed = true
		case c == '(' || c == ')':
			return "this parenthesis has no partner"
		default:
			return ""
		}
	}
	if p.opened && !p.closed {
		return "the parenthesis is not closed"
	}
	return ""
}

// hex reads octets up to the end of the text. Blanks may stand between any two
// digits, as zone file readers have it.
func (p *parser[T]) hex(data []byte, limit int) ([]byte, string) {
	var high byte
	half := false // high is waiting for the other half of its octet
	for {
		if p.pos == len(p.s) || !isHex(p.s[p.pos]) {
			if problem := p.space(); problem != "" {
				return nil, problem
			}
			if p.pos == len(p.s) {
				break
			}
		}
		digit, ok := hexDigit(p.s[p.pos])
		if !ok {
			return nil, "this is not a hex digit"
		}
		p.pos++
		if half = !half; half {
			high = digit << 4
			continue
		}
		if len(data) == limit {
			return nil, fmt.Sprintf("more than %d octets of data", limit)
		}
		data = append(data, high|digit)
	}
	if half {
		return nil, "odd number of hex digits"
	}
	return data, ""
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isHex(c byte) bool {
	_, ok := hexDigit(c)
	return ok
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
