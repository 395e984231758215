package dnssec

import (
	"context"
	"encoding/binary"
	"slices"
	"time"
)

// A parsedReply is a reply whose records are sorted into RRsets. It belongs to one lookup.
type parsedReply struct {
	*message
	answers, proofs section // of the answer and the authority section
}

func newParsedReply(m *message) *parsedReply {
	return &parsedReply{m, newSection(m.answer), newSection(m.authority)}
}

// A verdict is what is known about an RRset or the lack of one.
type verdict struct {
	security   Security
	outcome    Outcome
	delegation bool // a zone begins at the name, and it is not signed or its DS records were not asked for
	optOut     bool
	ttl        uint32
	expires    time.Time
}

// A claim is something that only a proof makes credible: that there is no record of a type at a name, or, with an
// encloser, that name may be made from the wildcard below that.
type claim struct {
	name     wireName
	typ      Type
	encloser wireName
}

func (c claim) byNSEC(records []nsec) proof {
	if c.encloser != "" {
		return expandNSEC(records, c.name, c.encloser)
	}
	return proveNSEC(records, c.name, c.typ)
}

func (c claim) byNSEC3(chain hashedChain) (proof, *Error) {
	if c.encloser != "" {
		return expandNSEC3(chain, c.name, c.encloser)
	}
	return proveNSEC3(chain, c.name, c.typ)
}

// prove looks in the authority section of m for a proof of c by zone z, which is secure and above c.name. KindBogus
// says that there is none.
func (j *job) prove(m *parsedReply, z *zone, c claim) (verdict, *Error) {
	v, reason, failed := j.proveNSEC(m, z, c)
	if v.outcome == 0 && failed == nil {
		v, failed = j.proveNSEC3(m, z, c, reason)
	}
	if failed != nil || c.encloser != "" {
		return v, failed
	}
	// Nobody needs the SOA record to believe a denial, but it comes with the denial, and what is signed wrongly there
	// is signed wrongly.
	if soa := m.proofs.find(z.name, TypeSOA); soa != nil {
		valid, failed := j.verify(soa, z)
		if failed != nil {
			return verdict{}, failed
		}
		v.until(after(j.now, min(valid.ttl, j.minimum(soa))))
	}
	return v, nil
}

// minimum returns the last field of a SOA record, how long denials last (RFC 2308 section 4).
func (j *job) minimum(soa *rrset) uint32 {
	data := soa.records[0].data
	if len(soa.records) != 1 || len(data) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(data[len(data)-4:])
}

func (v *verdict) until(t time.Time) {
	if t.Before(v.expires) {
		v.expires = t
	}
}

// proveNSEC proves c with NSEC records. The proof is made first and its records are validated afterwards, so that
// others cost no cryptography. The outcome is 0 if there is no proof; then the second result says why.
func (j *job) proveNSEC(m *parsedReply, z *zone, c claim) (verdict, string, *Error) {
	records, count, reason := []nsec(nil), 0, "no proof"
	for _, set := range m.proofs {
		if set.typ != typeNSEC {
			continue
		}
		if count++; count > j.limits.NSECRecords { // to look for pairs among them is work that grows with the square
			return verdict{}, "", tooMuch(j.limits.NSECRecords, "NSEC records in one message")
		}
		if set.refuted(z) {
			reason = set.failed.Reason
		} else if n, ok := newNSEC(set, z.name); ok {
			records = append(records, n)
		}
	}
	for {
		p := c.byNSEC(records)
		if p.outcome == 0 {
			return verdict{}, reason, nil
		}
		v, wrong, failed := j.believe(p, z)
		if failed == nil || failed.Kind != KindBogus {
			return v, "", failed
		}
		reason = failed.Reason
		records = slices.DeleteFunc(records, func(n nsec) bool { return n.set == wrong })
	}
}

// believe validates the records of a proof. If one fails it is returned with the error.
func (j *job) believe(p proof, z *zone) (verdict, *rrset, *Error) {
	v := verdict{security: Secure, outcome: p.outcome, delegation: p.delegation, expires: after(j.now, maxSeconds)}
	for _, set := range p.used {
		valid, failed := j.verify(set, z)
		if failed != nil {
			return verdict{}, set, failed
		}
		v.until(valid.expires)
	}
	return v, nil, nil
}

// maxSeconds is more than any TTL that is kept.
const maxSeconds = 1 << 30

// proveNSEC3 proves c with NSEC3 records. All of the zone are validated before anything that they say is looked at:
// hashing for a forged iteration count is work for nothing, and an insecure denial may only be the zone's own fault.
// reason is why there is no other proof.
func (j *job) proveNSEC3(m *parsedReply, z *zone, c claim, reason string) (verdict, *Error) {
	chains, count := []hashedChain(nil), 0
	for _, set := range m.proofs {
		if set.typ != typeNSEC3 {
			continue
		}
		if count++; count > j.limits.NSEC3Records {
			return verdict{}, tooMuch(j.limits.NSEC3Records, "NSEC3 records in one message")
		}
		n, ok := newNSEC3(set, z.name)
		if !ok {
			continue
		}
		if _, failed := j.verify(set, z); failed != nil {
			if failed.Kind != KindBogus {
				return verdict{}, failed
			}
			reason = failed.Reason
			continue
		}
		i := slices.IndexFunc(chains, func(c hashedChain) bool { return c.records[0].params == n.params })
		if i < 0 {
			i = len(chains)
			hash := func(name wireName) (nsec3Hash, *Error) { return j.hash(name, n.params) }
			chains = append(chains, hashedChain{zone: z.name, hash: hash})
		}
		chains[i].records = append(chains[i].records, n)
	}
	if c.encloser != "" && reason == "no proof" {
		reason = "no proof that the wildcard applies"
	}
	var costly *hashedChain
	for i := range chains {
		switch n := chains[i].records[0]; {
		case n.params.iterations > maxInsecureIterations:
			reason = "more than 500 NSEC3 iterations"
			continue
		case n.params.iterations > maxIterations:
			costly = &chains[i]
			continue
		}
		p, failed := c.byNSEC3(chains[i])
		if failed != nil {
			return verdict{}, failed
		}
		if p.outcome == 0 {
			continue
		}
		v, _, failed := j.believe(p, z)
		if p.optOut && failed == nil { // RFC 5155 section 9.2
			v.security, v.optOut = Insecure, true
			v.outcome = m.outcome()
		}
		return v, failed
	}
	if costly != nil { // RFC 9276 section 3.2
		v, _, failed := j.believe(proof{used: []*rrset{costly.records[0].set}}, z)
		v.security, v.outcome = Insecure, m.outcome()
		return v, failed
	}
	return verdict{}, j.bogus(c.name, c.typ.String()+" denied: "+reason)
}

// outcome is the denial that the RCODE states. It is not signed and counts only where nothing is.
func (m *message) outcome() Outcome {
	if m.rcode == rcodeNXDomain {
		return NXDomain
	}
	return NoData
}

// hash hashes a name once per lookup.
func (j *job) hash(name wireName, p nsec3Params) (nsec3Hash, *Error) {
	k := hashedName{name, p}
	if h, ok := j.hashes[k]; ok {
		return h, nil
	}
	if failed := spend(&j.spent.hashes, j.limits.Hashes, "NSEC3 hashes"); failed != nil {
		return nsec3Hash{}, failed
	}
	if failed := spend(&j.spent.messageHashes, j.limits.MessageHashes, "NSEC3 hashes for one message"); failed != nil {
		return nsec3Hash{}, failed
	}
	h := hashName(name, p)
	j.hashes[k] = h
	return h, nil
}

type hashedName struct {
	name   wireName
	params nsec3Params
}

// deny judges that m, a reply about (name, t), has no such records.
func (j *job) deny(ctx context.Context, m *parsedReply, name wireName, t Type) (verdict, *Error) {
	holder := holderOf(name, t)
	start := j.v.anchors.above(holder)
	reason := "it is not signed"
	if start.secure() {
		for _, signer := range m.proofs.denialSigners(holder, start.zone) {
			z, failed := j.zoneOf(ctx, signer)
			if failed != nil {
				return verdict{}, failed
			}
			if z.security != Secure {
				return j.unsignedDenial(m, name, z), nil
			}
			if z.name != signer {
				continue
			}
			v, failed := j.prove(m, z, claim{name: name, typ: t})
			if failed == nil || failed.Kind != KindBogus {
				return v, failed
			}
			reason = failed.Reason
		}
	}
	z, failed := j.zoneOf(ctx, holder)
	if failed != nil {
		return verdict{}, failed
	}
	if z.security != Secure {
		return j.unsignedDenial(m, name, z), nil
	}
	return verdict{}, j.bogus(name, "the denial of "+t.String()+" in the secure zone "+z.name.String()+" fails: "+reason)
}

// denialSigners returns who claims to have signed the records of a denial, deepest first; see rrset.signers.
func (s section) denialSigners(holder, top wireName) []wireName {
	var all rrset
	for _, set := range s {
		if set.typ == typeNSEC || set.typ == typeNSEC3 {
			all.signatures = append(all.signatures, set.signatures...)
		}
	}
	return all.signers(holder, top)
}

// unsignedDenial is the verdict on a denial in a zone that is not secure: what m says. It lasts as long as its SOA
// record says, and without one not at all (RFC 2308 section 5).
func (j *job) unsignedDenial(m *parsedReply, name wireName, z *zone) verdict {
	v := verdict{security: z.security, outcome: m.outcome(), expires: j.now}
	if soa := m.denialSOA(name); soa != nil {
		minimum := binary.BigEndian.Uint32(soa.data[len(soa.data)-4:])
		v.expires = after(j.now, min(soa.ttl, minimum))
	}
	return v
}

// holderOf returns the name whose zone has the records of type t at name: DS records belong to the zone above.
func holderOf(name wireName, t Type) wireName {
	if t == TypeDS {
		name, _ = name.parent()
	}
	return name
}
