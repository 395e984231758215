package dnstest

import "github.com/miekg/dns"

// section collects records for one section of a reply, each set once.
type section struct {
	do   bool // with signatures
	seen map[setKey]bool
	rrs  []dns.RR
}

func newSection(do bool) *section { return &section{do: do, seen: make(map[setKey]bool)} }

// add adds a set under owner, which differs from the set's own for a wildcard expansion. ttl caps
// the TTL, 0 = as it is.
func (s *section) add(set *rrset, owner string, ttl uint32) {
	key := setKey{owner, set.rtype}
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	put := func(rr dns.RR) {
		c := dns.Copy(rr)
		c.Header().Name = owner
		if ttl > 0 {
			c.Header().Ttl = min(c.Header().Ttl, ttl)
		}
		s.rrs = append(s.rrs, c)
	}
	for _, rr := range set.rrs {
		put(rr)
	}
	if s.do {
		for _, sig := range set.sigs {
			put(sig)
		}
	}
}

// addFound adds what a finding has for the answer section: its set and, for a DNAME, the CNAME that
// follows from it (RFC 6672 section 3.1).
func (s *section) addFound(f finding) {
	if f.set == nil || f.kind == delegated {
		return
	}
	s.add(f.set, f.owner, 0)
	if f.target != "" && f.set.rtype == dns.TypeDNAME {
		s.rrs = append(s.rrs, &dns.CNAME{
			Hdr:    dns.RR_Header{Name: f.name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: f.set.rrs[0].Header().Ttl},
			Target: f.target,
		})
	}
}

// addDenial adds the SOA of a denial (RFC 2308 section 3) and, with DO, what the finding needs to
// be believed.
func (s *section) addDenial(f finding) {
	if f.kind == noData || f.kind == noName {
		s.add(f.zone.soa, f.zone.name, f.zone.denialTTL())
	}
	s.addProof(f)
}

func (s *section) addProof(f finding) {
	if !s.do || !f.proven || f.zone.opts.Flaw == NoDenial {
		return
	}
	for _, set := range f.proof.sets {
		s.add(set, set.name, 0)
	}
}

// wants reports whether the query asks for DNSSEC records (RFC 3225).
func wants(query *dns.Msg) bool {
	opt := query.IsEdns0()
	return opt != nil && opt.Do()
}

// setRcode sets the RCODE that follows from the last finding.
func setRcode(reply *dns.Msg, k kind) {
	switch k {
	case noName:
		reply.Rcode = dns.RcodeNameError
	case overlong:
		reply.Rcode = dns.RcodeYXDomain
	}
}
