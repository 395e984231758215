package dnstest

import (
	"strings"

	"github.com/miekg/dns"
)

// kind is what one zone says to one question.
type kind uint8

const (
	answered  kind = iota // the set is there
	aliased               // a CNAME is there, or a DNAME above
	noData                // the name is there, the type is not
	noName                // the name is not there
	delegated             // the name belongs to a zone below
	overlong              // a DNAME made a name beyond 255 octets
)

// finding is the reply of one zone to one question.
type finding struct {
	zone   *signedZone
	kind   kind
	name   string // asked
	set    *rrset // answered, aliased: what is there; delegated: the NS set
	owner  string // name under which set is given: not its own for a wildcard
	target string // the name that an alias leads to
	ds     *rrset // delegated: the DS set, if any
	proof  proof
	proven bool // the reply needs proof to be believed
}

// find answers as the name server of the zone would (RFC 1034 section 4.3.2, RFC 4035 section 3.1,
// RFC 6672 section 3.2).
func (s *signedZone) find(name string, t uint16) finding {
	f := finding{zone: s, name: name, owner: name}
	encloser := s.nodes[s.name]
	labels := dns.SplitDomainName(name)
	for i := len(labels) - dns.CountLabel(s.name); ; i-- {
		if i < 0 {
			break
		}
		at := s.name
		if i < len(labels) {
			at = strings.Join(labels[i:], ".") + "."
		}
		n := s.nodes[at]
		if n == nil {
			return s.findWildcard(f, t, encloser.name)
		}
		encloser = n
		if n.cut && (i > 0 || t != dns.TypeDS) {
			f.kind, f.set, f.owner, f.ds = delegated, n.sets[dns.TypeNS], n.name, n.sets[dns.TypeDS]
			if f.ds == nil && s.denial != nil {
				f.proof, f.proven = s.denial.at(n.name), true
			}
			return f
		}
		if d := n.sets[dns.TypeDNAME]; d != nil && i > 0 {
			f.kind, f.set, f.owner = aliased, d, n.name
			f.target = strings.Join(labels[:i], ".") + "."
			if to := dns.CanonicalName(d.rrs[0].(*dns.DNAME).Target); to != "." {
				f.target += to
			}
			switch _, ok := dns.IsDomainName(f.target); {
			case !ok:
				f.kind, f.target = overlong, ""
			case t == dns.TypeCNAME:
				f.kind = answered // by the CNAME that follows from the DNAME
			}
			return f
		}
	}
	if s.fill(&f, encloser, t) || s.denial == nil {
		return f
	}
	f.proof, f.proven = s.denial.at(name), true
	return f
}

// fill answers from n, which is at the name or the wildcard for it. It reports whether there is a
// set to give.
func (s *signedZone) fill(f *finding, n *node, t uint16) bool {
	if set := n.sets[t]; set != nil {
		f.kind, f.set = answered, set
		return true
	}
	if set := n.sets[dns.TypeCNAME]; set != nil {
		f.kind, f.set, f.target = aliased, set, dns.CanonicalName(set.rrs[0].(*dns.CNAME).Target)
		return true
	}
	f.kind = noData
	return false
}

// findWildcard answers for a name that is not there.
func (s *signedZone) findWildcard(f finding, t uint16, encloser string) finding {
	wild := s.nodes[wildcardOf(encloser)]
	f.proven = s.denial != nil
	switch {
	case wild == nil:
		if f.kind = noName; f.proven {
			f.proof = s.denial.nothing(f.name, encloser)
		}
	case s.fill(&f, wild, t):
		if f.proven {
			f.proof = s.denial.absent(f.name, encloser)
		}
	case f.proven:
		f.proof = s.denial.wildcardAt(f.name, encloser)
	}
	return f
}

// enter returns the finding of the zone that name belongs to, reached from the root by delegations.
// A delegation to a zone that the tree does not hold is returned as it is.
func (w *world) enter(name string, t uint16) finding {
	z := w.zones["."]
	for {
		f := z.find(name, t)
		next := w.zones[f.owner]
		if f.kind != delegated || next == nil {
			return f
		}
		z = next
	}
}
