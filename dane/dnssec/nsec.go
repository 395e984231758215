package dnssec

// A typeBitmap is the list of types in an NSEC or NSEC3 record, as it stands there (RFC 4034 section 4.1.2).
type typeBitmap []byte

// valid reports whether the blocks are well formed and in order, so that no type can be hidden.
func (b typeBitmap) valid() bool {
	last := -1
	for len(b) > 0 {
		if len(b) < 2 {
			return false
		}
		window, size := int(b[0]), int(b[1])
		if window <= last || size < 1 || size > 32 || len(b) < 2+size {
			return false
		}
		last, b = window, b[2+size:]
	}
	return true
}

// has reports whether t is listed.
func (b typeBitmap) has(t Type) bool {
	for len(b) >= 2 {
		window, size := b[0], int(b[1])
		if block := int(t & 0xFF); window == byte(t>>8) {
			return block/8 < size && b[2+block/8]&(0x80>>(block%8)) != 0
		}
		b = b[2+size:]
	}
	return false
}

// cut reports whether the name is a delegation, seen from above it: what the parent says there is about its own side
// only (RFC 6840 section 4.1).
func (b typeBitmap) cut() bool { return b.has(TypeNS) && !b.has(TypeSOA) }

// lacks reports whether the bitmap, that of name itself or of a wildcard for it, shows that there is no t (RFC 6840
// sections 4.3 and 4.4). Where a zone begins the parent answers for DS, the zone itself for everything else.
func (b typeBitmap) lacks(name wireName, t Type) bool {
	switch {
	case b.has(t) || b.has(TypeCNAME):
		return false
	case t == TypeDS:
		return !b.has(TypeSOA) || name == rootName
	}
	return !b.cut()
}

// An nsec is an NSEC record (RFC 4034 section 4.1) of a zone.
type nsec struct {
	owner, next wireName
	types       typeBitmap
	set         *rrset
}

// newNSEC reads the record of a set of a zone. Two records at one name contradict each other, so neither counts.
func newNSEC(set *rrset, zone wireName) (nsec, bool) {
	if len(set.records) != 1 || !set.owner.within(zone) {
		return nsec{}, false
	}
	data := set.records[0].data
	end, ok := nameEnd(data, 0)
	if !ok {
		return nsec{}, false
	}
	n := nsec{owner: set.owner, next: lowerName(append([]byte(nil), data[:end]...)), types: data[end:], set: set}
	// The last record of a zone leads back to the apex; no other one leads back.
	forward := compareNames(n.owner, n.next) < 0 || n.next == zone
	return n, n.next.within(zone) && forward && n.types.valid()
}

// covers reports whether there is no record at name, a name of the same zone, because it lies between the owner and the
// next name. A record at a delegation or DNAME above name says nothing: what is there belongs to another zone, or to
// nobody (RFC 6840 section 4.1).
func (n nsec) covers(name wireName) bool {
	if name.below(n.owner) && (n.types.cut() || n.types.has(TypeDNAME)) {
		return false
	}
	return compareNames(n.owner, name) < 0 &&
		(compareNames(name, n.next) < 0 || compareNames(n.next, n.owner) <= 0)
}

// encloser returns the deepest name above or at name that exists, given that n covers name (RFC 4035 section 5.4):
// everything above an existing name exists.
func (n nsec) encloser(name wireName) wireName {
	a, b := commonAncestor(n.owner, name), commonAncestor(n.next, name)
	if len(a) > len(b) {
		return a
	}
	return b
}

// A proof is what denial records show about a name and type.
type proof struct {
	outcome    Outcome // NoData or NXDomain; 0 = nothing is shown
	delegation bool    // another zone begins at the name
	optOut     bool    // an opt-out span covers the name or one above it: there may be unsigned delegations
	used       []*rrset
}

// proveNSEC says what records, all of zone, show about the existence of t at name (RFC 4035 section 5.4).
func proveNSEC(records []nsec, name wireName, t Type) proof {
	for _, n := range records {
		if n.owner == name && n.types.lacks(name, t) {
			return proof{outcome: NoData, delegation: n.types.cut(), used: []*rrset{n.set}}
		}
	}
	for _, n := range records {
		if !n.covers(name) {
			continue
		}
		if n.next.below(name) { // an empty non-terminal: names below exist
			return proof{outcome: NoData, used: []*rrset{n.set}}
		}
		wildcard := n.encloser(name).wildcard()
		for _, w := range records {
			switch {
			case w.owner == wildcard && w.types.lacks(wildcard, t),
				w.covers(wildcard) && w.next.below(wildcard): // the wildcard itself is an empty non-terminal
				return proof{outcome: NoData, used: []*rrset{n.set, w.set}}
			case w.covers(wildcard):
				return proof{outcome: NXDomain, used: []*rrset{n.set, w.set}}
			}
		}
	}
	return proof{}
}

// expandNSEC says whether records show that name was rightly made from the wildcard below encloser: nothing closer to
// it exists (RFC 4035 section 5.3.4).
func expandNSEC(records []nsec, name, encloser wireName) proof {
	for _, n := range records {
		if n.covers(name) && n.encloser(name) == encloser {
			return proof{outcome: NXDomain, used: []*rrset{n.set}}
		}
	}
	return proof{}
}
