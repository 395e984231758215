package dnssec

import (
	"encoding/binary"
	"time"
)

const (
	maxHops    = 16   // aliases per lookup; unbound and BIND stop at 11 and 17
	maxRecords = 2000 // records per RRset; a message of 64 KiB holds about 4,000 addresses
)

// A walk leads from a question along aliases to its answer. The aliases may all stand in one message or need several.
type walk struct {
	question Question
	at       wireName // where the walk has come to
	typ      Type
	seen     []wireName
	steps    []Step
	records  []Record
	outcome  Outcome // 0 while the walk has not come to its end
	ttl      time.Duration
}

func newWalk(q Question) *walk {
	name, _ := parseName(q.Name) // normal, hence readable
	return &walk{question: q, at: name, typ: q.Type, seen: []wireName{name}, ttl: 1<<63 - 1}
}

// follow goes on through m, a reply to (w.at, w.typ), as far as m leads. It sets w.outcome if m leads to the end, and
// leaves it at zero if m ends with an alias: then the target must be asked for. Records that are not on the way are
// ignored.
func (w *walk) follow(m *message) *Error {
	for hops := 0; ; hops++ {
		final, alias, problem := m.at(w.at, w.typ)
		switch {
		case problem != "":
			return w.fail(KindMalformed, problem)
		case alias.typ != 0:
			if err := w.hop(alias); err != nil {
				return err
			}
		case len(final) > 0:
			if m.rcode == rcodeNXDomain {
				return w.fail(KindMalformed, "NXDOMAIN, but there are records")
			}
			return w.found(final)
		case m.rcode == rcodeNXDomain: // RFC 6604 section 3: it is about the last name
			w.denied(NXDomain, m)
			return nil
		case hops == 0 || m.denialSOA(w.at) != nil:
			w.denied(NoData, m)
			return nil
		default:
			return nil
		}
	}
}

// hop takes one alias.
func (w *walk) hop(a aliasRecord) *Error {
	if len(w.steps) == maxHops {
		return w.fail(KindLoop, "more than 16 aliases")
	}
	ttl := time.Duration(a.ttl) * time.Second
	w.steps = append(w.steps, Step{
		From: w.at.String(), To: a.target.String(), Owner: a.owner.String(), Type: a.typ, TTL: ttl,
	})
	w.ttl = min(w.ttl, ttl)
	w.at = a.target
	for _, name := range w.seen {
		if name == w.at {
			return w.fail(KindLoop, "the aliases lead back to where they came by")
		}
	}
	w.seen = append(w.seen, w.at)
	return nil
}

// found ends the walk at an RRset. Records that stand there twice count once (RFC 2181 section 5).
func (w *walk) found(set []resource) *Error {
	if len(set) > maxRecords {
		return w.fail(KindLimit, "more than 2000 records")
	}
	seen := make(map[string]bool, len(set))
	w.records = make([]Record, 0, len(set))
	for i := range set {
		w.ttl = min(w.ttl, time.Duration(set[i].ttl)*time.Second)
		if !seen[string(set[i].data)] {
			seen[string(set[i].data)] = true
			w.records = append(w.records, Record{TTL: set[i].ttl, Data: set[i].data})
		}
	}
	w.outcome = Found
	return nil
}

// denied ends the walk at a denial. It lasts for the lesser of the TTL of the SOA record and its MINIMUM, and without
// one it is not kept at all (RFC 2308 section 5).
func (w *walk) denied(outcome Outcome, m *message) {
	w.outcome = outcome
	var ttl time.Duration
	if soa := m.denialSOA(w.at); soa != nil {
		minimum := binary.BigEndian.Uint32(soa.data[len(soa.data)-4:])
		ttl = time.Duration(min(soa.ttl, minimum)) * time.Second
	}
	w.ttl = min(w.ttl, ttl)
}

func (w *walk) fail(kind Kind, reason string) *Error {
	return &Error{
		Kind: kind, Name: w.question.Name, Type: w.question.Type, At: w.at.String(), Reason: reason, EDE: noEDE,
	}
}

// answer makes the Answer of a walk that has come to its end. The security of its parts is left to the caller.
func (w *walk) answer(now time.Time) *Answer {
	return &Answer{
		Name: w.question.Name, Type: w.question.Type, Outcome: w.outcome, Canonical: w.at.String(),
		Chain: w.steps, Records: w.records, Expires: now.Add(w.ttl),
	}
}

// An aliasRecord is a CNAME or DNAME as it applies to one name. Type 0 means that there is none.
type aliasRecord struct {
	typ           Type
	owner, target wireName // target with the DNAME applied
	ttl           uint32
}

// at finds what the answer section says about (name, t): the RRset, or an alias to follow, or neither. The last result
// says what contradiction there is in it; it is empty if there is none.
func (m *message) at(name wireName, t Type) (final []resource, alias aliasRecord, problem string) {
	var cname, dname *resource
	for i := range m.answer {
		r := &m.answer[i]
		if r.class != classIN {
			continue
		}
		if r.owner == name && r.typ == t {
			final = append(final, *r)
		}
		switch {
		case r.typ == TypeCNAME && r.owner == name && t != TypeCNAME:
			if cname != nil && !sameTarget(cname, r) {
				return nil, alias, "several CNAME records at one name"
			}
			cname = r
		case r.typ == TypeDNAME && name.below(r.owner):
			switch {
			case dname == nil || len(r.owner) < len(dname.owner): // the highest one hides the others
				dname = r
			case r.owner == dname.owner && !sameTarget(dname, r):
				return nil, alias, "several DNAME records at one name"
			}
		}
	}
	switch {
	case dname != nil && (t != TypeCNAME || len(final) == 0):
		alias, problem = applyDNAME(name, dname, cname)
		return nil, alias, problem
	case cname != nil && len(final) > 0:
		return nil, alias, "a CNAME record next to other data" // RFC 2181 section 10.1
	case cname != nil:
		target, ok := wholeName(cname.data)
		if !ok {
			return nil, alias, "a CNAME record without a readable target"
		}
		return nil, aliasRecord{TypeCNAME, name, target, cname.ttl}, ""
	}
	return final, alias, ""
}

// applyDNAME makes the alias for name. A CNAME made from it by the server adds nothing, but it must agree.
func applyDNAME(name wireName, dname, cname *resource) (aliasRecord, string) {
	suffix, ok := wholeName(dname.data)
	if !ok {
		return aliasRecord{}, "a DNAME record without a readable target"
	}
	target, ok := name.substitute(dname.owner, suffix)
	if !ok {
		return aliasRecord{}, "a DNAME record makes the name too long" // RFC 6672 section 2.2
	}
	if cname != nil {
		if made, ok := wholeName(cname.data); !ok || made != target {
			return aliasRecord{}, "the CNAME record is not what the DNAME record says"
		}
	}
	return aliasRecord{TypeDNAME, dname.owner, target, dname.ttl}, ""
}

func sameTarget(a, b *resource) bool {
	x, ok := wholeName(a.data)
	y, ok2 := wholeName(b.data)
	return ok && ok2 && x == y
}

// denialSOA returns the SOA record that comes with a denial of name: that of its zone. It is whole.
func (m *message) denialSOA(name wireName) *resource {
	for i := range m.authority {
		r := &m.authority[i]
		if r.typ != TypeSOA || r.class != classIN || r.owner != name && !name.below(r.owner) {
			continue
		}
		const fixed = 5 * 4 // serial to MINIMUM, RFC 1035 section 3.3.13
		_, end, err := appendName(nil, r.data, 0)
		if err != nil {
			continue
		}
		if _, end, err = appendName(nil, r.data, end); err == nil && len(r.data)-end == fixed {
			return r
		}
	}
	return nil
}
