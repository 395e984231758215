package dane

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
)

// A Record is the content of one TLSA resource record (RFC 6698 section 2).
//
// Any values are possible, also those that make the record unusable; Check
// tells. The zero value is "0 0 0" without data, which is unusable. Copies share
// Data.
type Record struct {
	Usage        Usage
	Selector     Selector
	MatchingType MatchingType
	Data         []byte // certificate association data: DER or a digest, any length
}

const (
	headerOctets = 3     // usage, selector, matching type (RFC 6698 section 2.1)
	maxRDATA     = 65535 // RDLENGTH has 16 bits (RFC 1035 section 3.2.1)
)

// ParseWire returns the record in rdata. Three octets are enough, since what is
// wrong with the values is reported later, by Check; fewer than three, or more
// than the 65,535 that a resource record can have, are a *SyntaxError. The data
// is copied.
func ParseWire(rdata []byte) (Record, error) {
	var r Record
	err := r.UnmarshalBinary(rdata)
	return r, err
}

// UnmarshalBinary is ParseWire into r, and reuses the capacity of r.Data: with
// enough of it nothing is allocated. After an error *r is the zero Record but
// for that capacity.
func (r *Record) UnmarshalBinary(rdata []byte) error {
	data := r.Data[:0]
	*r = Record{Data: data}
	if len(rdata) < headerOctets || len(rdata) > maxRDATA {
		return &SyntaxError{
			Input:  clip(hex.EncodeToString(rdata[:min(len(rdata), maxExcerpt)])),
			Offset: min(len(rdata), maxRDATA),
			Msg:    fmt.Sprintf("RDATA of %d octets; a TLSA record has %d to %d", len(rdata), headerOctets, maxRDATA),
		}
	}
	*r = Record{Usage(rdata[0]), Selector(rdata[1]), MatchingType(rdata[2]), append(data, rdata[headerOctets:]...)}
	return nil
}

// AppendWire appends the RDATA to b.
func (r Record) AppendWire(b []byte) []byte {
	b = append(b, byte(r.Usage), byte(r.Selector), byte(r.MatchingType))
	return append(b, r.Data...)
}

// MarshalBinary returns the RDATA. It does not fail.
func (r Record) MarshalBinary() ([]byte, error) {
	return r.AppendWire(make([]byte, 0, headerOctets+len(r.Data))), nil
}

// String returns the presentation form: three decimal numbers and the data in
// lower-case hex, "3 1 1 9f86d0...". ParseRecord reads it back.
func (r Record) String() string {
	b, _ := r.AppendText(make([]byte, 0, len("255 255 255 ")+2*len(r.Data)))
	return string(b)
}

// AppendText appends what String returns to b. It does not fail.
func (r Record) AppendText(b []byte) ([]byte, error) {
	b = strconv.AppendUint(b, uint64(r.Usage), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(r.Selector), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(r.MatchingType), 10)
	if len(r.Data) > 0 {
		b = append(b, ' ')
		b = hex.AppendEncode(b, r.Data)
	}
	return b, nil
}

// MarshalText returns what String returns. It does not fail.
func (r Record) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Equal reports whether both records have the same fields and octets.
func (r Record) Equal(other Record) bool {
	return r.Usage == other.Usage && r.Selector == other.Selector &&
		r.MatchingType == other.MatchingType && bytes.Equal(r.Data, other.Data)
}

// Compare orders records by usage, selector, matching type and data octets. It
// is a total order: 0 exactly for Equal records.
func (r Record) Compare(other Record) int {
	return cmp.Or(
		cmp.Compare(r.Usage, other.Usage),
		cmp.Compare(r.Selector, other.Selector),
		cmp.Compare(r.MatchingType, other.MatchingType),
		bytes.Compare(r.Data, other.Data),
	)
}
