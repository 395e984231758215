package dnstest

import (
	"slices"

	"github.com/miekg/dns"
)

// ServeAuthoritative serves zones of the tree on addr, UDP and TCP, as their name server: those
// named, or all of them if none is. "" is a free port of 127.0.0.1. A query is answered from the
// deepest zone served that holds the name, a query for DS from the zone above the cut; what is
// delegated to a zone not served is a referral. Questions outside get REFUSED. Aliases are followed
// inside one zone only. The server always answers from the last [Tree.Sign].
func ServeAuthoritative(tree *Tree, addr string, zones ...string) (*Server, error) {
	served := make([]string, len(zones))
	for i, name := range zones {
		served[i] = dns.CanonicalName(name)
	}
	return serve(addr, func(query *dns.Msg) *dns.Msg {
		return tree.current.Load().authoritative(query, served)
	})
}

// host returns the zone that a server of zones served (all if empty) answers from.
func (w *world) host(name string, t uint16, served []string) *signedZone {
	var apex *signedZone
	for up := name; up != ""; up = parentName(up) {
		z := w.zones[up]
		switch {
		case z == nil || len(served) > 0 && !slices.Contains(served, up):
		case t == dns.TypeDS && up == name:
			apex = z // the DS is at the parent (RFC 4035 section 3.1.4.1); without the parent the child can only deny it
		default:
			return z
		}
	}
	return apex
}

func (w *world) authoritative(query *dns.Msg, served []string) *dns.Msg {
	question := query.Question[0]
	name := dns.CanonicalName(question.Name)
	z := w.host(name, question.Qtype, served)
	if z == nil {
		return failure(query, dns.RcodeRefused)
	}
	reply := begin(query)
	do := wants(query)
	answer, authority := newSection(do), newSection(do)
	seen := map[string]bool{}
	for first := true; ; first = false {
		f := z.find(name, question.Qtype)
		seen[name] = true
		answer.addFound(f)
		if f.kind == delegated {
			if first {
				refer(reply, authority, f)
			}
			break
		}
		if first {
			reply.Authoritative = true
		}
		authority.addDenial(f)
		setRcode(reply, f.kind)
		if name = f.target; f.kind != aliased || !under(name, z.name) || seen[name] {
			break
		}
	}
	reply.Answer, reply.Ns = answer.rrs, authority.rrs
	return reply
}

// refer makes reply a referral: NS, DS or the proof that there is none, glue (RFC 4035 section 3.1.4).
func refer(reply *dns.Msg, authority *section, f finding) {
	authority.add(f.set, f.owner, 0)
	if f.ds != nil && authority.do {
		authority.add(f.ds, f.owner, 0)
	}
	authority.addProof(f)
	for _, rr := range f.set.rrs {
		host := f.zone.nodes[dns.CanonicalName(rr.(*dns.NS).Ns)]
		if host == nil {
			continue
		}
		for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if set := host.sets[t]; set != nil {
				reply.Extra = append(reply.Extra, set.rrs...)
			}
		}
	}
}
