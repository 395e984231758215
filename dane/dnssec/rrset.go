package dnssec

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"
)

// A signature is the RDATA of an RRSIG record (RFC 4034 section 3.1).
type signature struct {
	algorithm, labels     uint8
	originalTTL           uint32
	expiration, inception uint32
	tag                   uint16
	signer                wireName
	head, octets, rdata   []byte // head is what is signed of the RDATA; octets is the signature itself
}

// newSignature reads RRSIG RDATA, decompressed, and tells which type it covers.
func newSignature(data []byte) (s signature, covered Type, ok bool) {
	const fixed = 18
	if len(data) < fixed {
		return s, 0, false
	}
	end, ok := nameEnd(data, fixed)
	if !ok {
		return s, 0, false
	}
	s = signature{
		algorithm: data[2], labels: data[3],
		originalTTL: binary.BigEndian.Uint32(data[4:]),
		expiration:  binary.BigEndian.Uint32(data[8:]),
		inception:   binary.BigEndian.Uint32(data[12:]),
		tag:         binary.BigEndian.Uint16(data[16:]),
		head:        bytes.Clone(data[:end]), octets: data[end:], rdata: data,
	}
	s.signer = lowerName(s.head[fixed:])
	return s, Type(binary.BigEndian.Uint16(data)), true
}

// An rrset is all records of one owner and type in one section of a message, with the signatures over them.
type rrset struct {
	owner      wireName
	typ        Type
	ttl        uint32
	records    []resource // merged: no two have the same canonical data
	canonical  [][]byte   // the data of records
	signatures []signature

	tried   int  // signatures that have cost cryptography
	checked bool // what follows is the result for the zone by
	by      wireName
	valid   validity
	failed  *Error
}

// A validity is what a good signature says.
type validity struct {
	ttl      uint32
	expires  time.Time
	encloser wireName // of a wildcard expansion: the parent of the wildcard; "" = no expansion
}

// A section is the RRsets of one section of a message, in the order in which they begin there.
type section []*rrset

// newSection sorts records into RRsets. Records of other classes are left out.
func newSection(records []resource) section {
	type place struct {
		owner wireName
		typ   Type
	}
	var sets section
	index := make(map[place]*rrset)
	find := func(owner wireName, t Type) *rrset {
		set := index[place{owner, t}]
		if set == nil {
			set = &rrset{owner: owner, typ: t}
			index[place{owner, t}] = set
			sets = append(sets, set)
		}
		return set
	}
	for i := range records {
		r := &records[i]
		if r.class != classIN {
			continue
		}
		if r.typ != typeRRSIG {
			set := find(r.owner, r.typ)
			if len(set.records) == 0 || r.ttl < set.ttl { // RFC 2181 section 5.2: they should be equal
				set.ttl = r.ttl
			}
			set.records = append(set.records, *r)
		} else if s, covered, ok := newSignature(r.data); ok {
			set := find(r.owner, covered)
			if !slices.ContainsFunc(set.signatures, func(o signature) bool { return bytes.Equal(o.rdata, s.rdata) }) {
				set.signatures = append(set.signatures, s)
			}
		}
	}
	sets = slices.DeleteFunc(sets, func(set *rrset) bool { return len(set.records) == 0 })
	for _, set := range sets {
		set.merge()
	}
	return sets
}

// find returns the RRset of owner and type, nil if there is none.
func (s section) find(owner wireName, t Type) *rrset {
	for _, set := range s {
		if set.typ == t && set.owner == owner {
			return set
		}
	}
	return nil
}

// merge puts the records into canonical order and drops duplicates (RFC 4034 section 6.3).
func (set *rrset) merge() {
	type pair struct {
		record    resource
		canonical []byte
	}
	pairs := make([]pair, len(set.records))
	for i, r := range set.records {
		pairs[i] = pair{r, canonicalData(set.typ, r.data)}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return bytes.Compare(a.canonical, b.canonical) })
	pairs = slices.CompactFunc(pairs, func(a, b pair) bool { return bytes.Equal(a.canonical, b.canonical) })
	set.records, set.canonical = set.records[:0:0], make([][]byte, len(pairs))
	for i, p := range pairs {
		set.records = append(set.records, p.record)
		set.canonical[i] = p.canonical
	}
}

// signers returns who claims to have signed set: names that are holder or above it and not above top, deepest first,
// each once. Anything else cannot sign it (RFC 4035 section 5.3.1).
func (set *rrset) signers(holder, top wireName) []wireName {
	var names []wireName
	for _, s := range set.signatures {
		if holder.within(s.signer) && s.signer.within(top) && !slices.Contains(names, s.signer) {
			names = append(names, s.signer)
		}
	}
	slices.SortFunc(names, func(a, b wireName) int { return len(b) - len(a) })
	return names
}

// expandable reports whether a wildcard may stand for records of this type. The others say something about a name
// itself.
func expandable(t Type) bool {
	switch t {
	case typeNSEC, typeNSEC3, TypeDS, TypeDNSKEY, TypeSOA, TypeDNAME:
		return false
	}
	return true
}

// verify looks for one good signature of z over set. One is enough, whatever the algorithm (RFC 6840 section 5.11). An
// error with KindBogus says that there is none.
func (j *job) verify(set *rrset, z *zone) (validity, *Error) {
	if set.checked && set.by == z.name {
		return set.valid, set.failed
	}
	valid, failed := j.tryAll(set, z)
	set.checked, set.by, set.valid, set.failed = true, z.name, valid, failed
	return valid, failed
}

// refuted reports whether z is known to have no good signature over set.
func (set *rrset) refuted(z *zone) bool { return set.checked && set.by == z.name && set.failed != nil }

func (j *job) tryAll(set *rrset, z *zone) (validity, *Error) {
	if len(set.records) > j.limits.Records {
		return validity{}, tooMuch(j.limits.Records, "records in one RRset")
	}
	reason := "no signature by zone " + z.name.String()
	for i := range set.signatures {
		s := &set.signatures[i]
		problem := j.implausible(set, s, z)
		if problem == "" {
			good, failed := j.try(set, s, z)
			if failed != nil {
				return validity{}, failed
			}
			if good {
				return set.validity(s, j.now), nil
			}
			problem = "signature wrong"
		}
		if s.signer == z.name {
			reason = problem
		}
	}
	return validity{}, j.bogus(set.owner, set.typ.String()+" records: "+reason)
}

// implausible says why s cannot be a signature of z over set, without any cryptography (RFC 4035 section 5.3.1).
func (j *job) implausible(set *rrset, s *signature, z *zone) string {
	owner := set.owner.signedLabels()
	now := uint32(j.now.Unix())
	switch {
	case s.signer != z.name || !set.owner.within(s.signer):
		return "signed by another zone"
	case set.typ == TypeDS && set.owner == s.signer && set.owner != rootName:
		return "DS records signed by their own zone"
	case int(s.labels) > owner:
		return "signed for a longer name"
	case int(s.labels) < s.signer.signedLabels():
		return "signed as a wildcard above the zone"
	case int(s.labels) < owner && !expandable(set.typ):
		return "expanded from a wildcard"
	case int32(s.expiration-s.inception) < 0: // serial arithmetic, RFC 4034 section 3.1.5
		return "signature ends before it begins"
	case int32(now-s.inception) < 0:
		return "signature not yet valid"
	case int32(s.expiration-now) < 0:
		return "signature expired"
	case !j.v.known.signature(s.algorithm):
		return "signature of an unsupported algorithm"
	}
	return ""
}

// try does the cryptography: each key that may have made s. Tags collide, so there can be several.
func (j *job) try(set *rrset, s *signature, z *zone) (bool, *Error) {
	var data, digest []byte
	keys := 0
	for _, k := range z.keys {
		if k.tag != s.tag || k.algorithm != s.algorithm {
			continue
		}
		if keys == 0 {
			if failed := spend(&set.tried, j.limits.Signatures, "signatures over one RRset"); failed != nil {
				return false, failed
			}
			data = set.signedData(s)
			if hash := signatureHash(s.algorithm); hash != 0 {
				h := hash.New()
				h.Write(data)
				digest = h.Sum(nil)
			}
		}
		if failed := spend(&keys, j.limits.Keys, "keys with one tag"); failed != nil {
			return false, failed
		}
		if failed := spend(&j.spent.verifications, j.limits.Verifications, "signature verifications"); failed != nil {
			return false, failed
		}
		if k.verify(data, digest, s.octets) {
			return true, nil
		}
		if failed := spend(&j.spent.failed, j.limits.FailedVerifications, "signatures that are wrong"); failed != nil {
			return false, failed
		}
	}
	return false, nil
}

// signedData returns what s was made over (RFC 4034 section 3.1.8.1, RFC 4035 section 5.3.2).
func (set *rrset) signedData(s *signature) []byte {
	owner := set.owner
	if encloser := set.expandedFrom(s); encloser != "" {
		owner = encloser.wildcard()
	}
	size := len(s.head)
	for _, data := range set.canonical {
		size += len(owner) + 10 + len(data)
	}
	signed := append(make([]byte, 0, size), s.head...)
	for _, data := range set.canonical {
		signed = append(signed, owner...)
		signed = binary.BigEndian.AppendUint16(signed, uint16(set.typ))
		signed = binary.BigEndian.AppendUint16(signed, classIN)
		signed = binary.BigEndian.AppendUint32(signed, s.originalTTL)
		signed = binary.BigEndian.AppendUint16(signed, uint16(len(data)))
		signed = append(signed, data...)
	}
	return signed
}

// expandedFrom returns the parent of the wildcard that s was made for, "" if it was made for the owner itself.
func (set *rrset) expandedFrom(s *signature) wireName {
	if int(s.labels) == set.owner.signedLabels() {
		return ""
	}
	return set.owner.last(int(s.labels))
}

// validity says what s, a good signature at the time now, means for set. No TTL counts that is above the one signed, or
// that outlives the signature (RFC 4035 section 5.3.3).
func (set *rrset) validity(s *signature, now time.Time) validity {
	left := s.expiration - uint32(now.Unix())
	ttl := min(set.ttl, s.originalTTL, left)
	return validity{ttl: ttl, expires: after(now, ttl), encloser: set.expandedFrom(s)}
}

// after returns the time ttl seconds after now.
func after(now time.Time, ttl uint32) time.Time { return now.Add(time.Duration(ttl) * time.Second) }
