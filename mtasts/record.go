package mtasts

import (
	"iter"
	"strings"
)

const (
	recordVersion = "v=STSv1"
	maxID         = 32 // sts-id in octets (RFC 8461 section 3.1)
)

// Record is a TXT record of MTA-STS (RFC 8461 section 3.1): the sign that a
// domain has a policy, and an id that changes whenever the policy does.
type Record struct {
	// ID is 1 to 32 letters and digits, compared octet for octet. Ids have no
	// order.
	ID  string
	raw string
}

// String returns the record in canonical form, without extensions.
func (r Record) String() string { return recordVersion + "; id=" + r.ID + ";" }

// Extensions yields the well-formed fields that RFC 8461 does not define, name
// and value, the first of each name.
func (r Record) Extensions() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		seen := map[string]struct{}{"v": {}, "id": {}}
		_, rest, more := strings.Cut(r.raw, ";")
		for more {
			var field string
			field, rest, more = strings.Cut(rest, ";")
			name, value, ok := splitField(trimBlankRight(trimBlankLeft(field)))
			if _, twice := seen[name]; !ok || twice {
				continue
			}
			seen[name] = struct{}{}
			if !yield(name, value) {
				return
			}
		}
	}
}

// Record reads one TXT record. The error is a *SyntaxError that matches
// ErrRecordSyntax.
//
// The first id counts: a record whose first id is malformed is invalid whatever
// follows. Tolerant mode also accepts empty fields, blanks and line ends after
// the last field, and any malformed field that is not v or id.
func (p Parser) Record(s string) (Record, error) {
	for i := 0; i < len(s); i++ {
		if s[i] == 0 || s[i] >= 0x80 {
			return Record{}, recordError(RecordOctet, i, s[i:i+1])
		}
	}
	if !strings.HasPrefix(s, recordVersion) {
		return Record{}, recordError(RecordVersion, 0, s)
	}
	record := Record{raw: s}
	var seen map[string]struct{} // names so far, for warnings alone
	if p.Warn != nil {
		seen = map[string]struct{}{"v": {}}
	}
	end := strings.IndexByte(s, ';')
	if end < 0 || trimBlankRight(s[len(recordVersion):end]) != "" {
		return Record{}, recordError(RecordVersion, 0, s)
	}
	haveID := false
	for end < len(s) { // s[end] is a semicolon
		start := end + 1
		if n := strings.IndexByte(s[start:], ';'); n >= 0 {
			end = start + n
		} else {
			end = len(s)
		}
		for start < end && isBlank(s[start]) {
			start++
		}
		field := trimBlankRight(s[start:end])
		if end == len(s) { // after the last semicolon: nothing, or a field and nothing
			bare := strings.TrimRight(field, "\r\n\t ")
			if trailing := s[start+len(bare) : end]; trailing != "" && (bare != "" || strings.ContainsAny(trailing, "\r\n")) {
				if p.Mode == Strict {
					return Record{}, recordError(RecordTrailing, start+len(bare), trailing)
				}
				p.warn(WarnTrailing, 1, start+len(bare)+1, "", trailing)
			}
			if field = bare; field == "" {
				break
			}
		}
		if field == "" {
			if p.Mode == Strict {
				return Record{}, recordError(RecordEmptyField, start, "")
			}
			p.warn(WarnEmptyField, 1, start+1, "", "")
			continue
		}
		if id, ok := strings.CutPrefix(field, "id="); ok && !haveID {
			if !validID(id) {
				return Record{}, recordError(RecordID, start, field)
			}
			record.ID, haveID = id, true
			if p.Warn != nil {
				seen["id"] = struct{}{}
			}
			continue
		}
		name, _, ok := splitField(field)
		if !ok {
			name, _, _ = strings.Cut(field, "=")
			if p.Mode == Strict || name == "id" || name == "v" {
				return Record{}, recordError(RecordField, start, field)
			}
			p.warn(WarnFieldIgnored, 1, start+1, name, field)
			continue
		}
		if p.Warn != nil {
			code := WarnUnknownField
			if _, twice := seen[name]; twice {
				code = WarnDuplicateField
			}
			seen[name] = struct{}{}
			p.warn(code, 1, start+1, name, field)
		}
	}
	if !haveID {
		return Record{}, recordError(RecordMissingID, len(s), "id")
	}
	return record, nil
}

func recordError(code ErrorCode, offset int, field string) error {
	return &SyntaxError{Code: code, Line: 1, Col: offset + 1, Field: field}
}

// splitField splits an extension field of a record: sts-ext-name "="
// sts-ext-value (RFC 8461 section 3.1).
func splitField(field string) (name, value string, ok bool) {
	n := nameLength(field)
	if n == 0 || n+1 >= len(field) || field[n] != '=' {
		return "", "", false
	}
	for i := n + 1; i < len(field); i++ {
		if class[field[i]]&isValue == 0 {
			return "", "", false
		}
	}
	return field[:n], field[n+1:], true
}

func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := 0; i < len(id); i++ {
		if class[id[i]]&isAlnum == 0 {
			return false
		}
	}
	return true
}

// SelectRecord picks the MTA-STS record among the TXT records at _mta-sts and
// reads it (RFC 8461 section 3.1). Each element of rrs is one record, its
// strings joined. The error matches ErrNoRecord, ErrMultipleRecords or
// ErrRecordSyntax.
//
// A record of something else, such as an SPF record that a DNS wildcard puts
// there, is passed over. Two records that begin as MTA-STS records are too many
// even if only one of them can be read.
func SelectRecord(rrs []string, m Mode) (Record, error) {
	return Parser{Mode: m}.selectRecord(rrs)
}

func (p Parser) selectRecord(rrs []string) (Record, error) {
	if len(rrs) == 1 {
		after, ok := strings.CutPrefix(rrs[0], recordVersion)
		if !ok || after == "" || after[0] != ';' && !isBlank(after[0]) {
			return Record{}, ErrNoRecord
		}
		return p.Record(rrs[0])
	}
	found, count := "", 0
	for _, rr := range rrs {
		if strings.HasPrefix(rr, recordVersion+";") {
			found = rr
			count++
		}
	}
	switch count {
	case 0:
		return Record{}, ErrNoRecord
	case 1:
		return p.Record(found)
	}
	return Record{}, ErrMultipleRecords
}
