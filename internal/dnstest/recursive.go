package dnstest

import "github.com/miekg/dns"

// MaxAliases is how many aliases a resolver follows in one reply.
const MaxAliases = 16

// Behaviour is the kind of resolver that [ServeRecursive] plays.
type Behaviour uint8

const (
	// Validating sets AD on what is Secure if the query has AD or DO (RFC 6840 section 5.8),
	// answers SERVFAIL with an extended error (RFC 8914) for what is Bogus, and lets CD have the
	// data without AD. Aliases without end are SERVFAIL.
	Validating Behaviour = iota
	// PassThrough never sets AD and never judges; with DO it hands on all signatures and proofs.
	// Aliases without end are answered with the first MaxAliases of them.
	PassThrough
	// Stripping is PassThrough that takes DO for nothing: no RRSIG, NSEC or NSEC3 is ever given
	// unless asked by type.
	Stripping
)

// ServeRecursive answers queries with RD for the whole tree on addr, UDP and TCP; "" is a free port
// of 127.0.0.1. It follows aliases from zone to zone. A delegation to a zone that the tree does not
// hold is SERVFAIL, a query without RD is REFUSED. It reads the tree itself and sends no queries,
// so that faults of authoritative servers do not reach it.
func ServeRecursive(tree *Tree, b Behaviour, addr string) (*Server, error) {
	return serve(addr, func(query *dns.Msg) *dns.Msg {
		return tree.current.Load().recursive(query, b)
	})
}

// resolution is the path from a question to its answer: any number of aliases, then something else.
type resolution struct {
	findings []finding
	endless  bool // a loop, or more than MaxAliases
}

// resolve follows aliases.
func (w *world) resolve(name string, t uint16) resolution {
	var r resolution
	seen := make(map[string]bool)
	for {
		f := w.enter(name, t)
		if f.kind == aliased && len(r.findings) == MaxAliases {
			r.endless = true
			return r
		}
		r.findings = append(r.findings, f)
		seen[name] = true
		if f.kind != aliased {
			return r
		}
		if name = f.target; seen[name] {
			r.endless = true
			return r
		}
	}
}

func (w *world) recursive(query *dns.Msg, b Behaviour) *dns.Msg {
	question := query.Question[0]
	if !query.RecursionDesired {
		return failure(query, dns.RcodeRefused)
	}
	if len(w.zones) == 0 {
		return failure(query, dns.RcodeServerFailure)
	}
	r := w.resolve(dns.CanonicalName(question.Name), question.Qtype)
	last := r.findings[len(r.findings)-1]
	switch {
	case last.kind == delegated:
		reply := recursion(failure(query, dns.RcodeServerFailure), query)
		explain(reply, dns.ExtendedErrorCodeNoReachableAuthority, "zone "+last.owner)
		return reply
	case r.endless && b == Validating:
		return recursion(failure(query, dns.RcodeServerFailure), query)
	}
	reply := recursion(begin(query), query)
	if b == Validating && !query.CheckingDisabled {
		v := r.verdict(w)
		if v.Security == Bogus {
			reply.Rcode = dns.RcodeServerFailure
			explain(reply, v.EDE, v.Reason)
			return reply
		}
		reply.AuthenticatedData = v.Security == Secure && (query.AuthenticatedData || wants(query))
	}
	do := wants(query) && b != Stripping
	answer, authority := newSection(do), newSection(do)
	for _, f := range r.findings {
		answer.addFound(f)
		authority.addDenial(f)
	}
	setRcode(reply, last.kind)
	reply.Answer, reply.Ns = answer.rrs, authority.rrs
	return reply
}

// recursion sets the bits of a resolver's reply.
func recursion(reply, query *dns.Msg) *dns.Msg {
	reply.RecursionAvailable = true
	reply.CheckingDisabled = query.CheckingDisabled
	return reply
}

// explain adds an extended error (RFC 8914) if the reply has EDNS.
func explain(reply *dns.Msg, code uint16, text string) {
	if opt := reply.IsEdns0(); opt != nil {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
	}
}
