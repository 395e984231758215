//go:build interop

package dnssec

import (
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// fromDelv are all ways in which we may differ from delv, and why. Each must occur.
var fromDelv = []difference{
	optOutDenial,
	{
		"more than 500 NSEC3 iterations: delv calls the denial insecure, we refuse it; RFC 9276 section 3.2 permits both",
		func(q Question, _ *Answer, ours, theirs opinion) bool {
			return dns.IsSubDomain("iter501.com.", q.Name) && ours.Verdict == "error" && theirs.Verdict == "insecure"
		},
	},
	{
		"algorithm 7 and DS digest 1 use SHA-1: delv still validates them, we do so only with AllowSHA1 (RFC 9905)",
		func(q Question, _ *Answer, ours, theirs opinion) bool {
			return (dns.IsSubDomain("alg7.com.", q.Name) || dns.IsSubDomain("digest1.com.", q.Name)) &&
				ours.Verdict == "insecure" && theirs.Verdict == "secure"
		},
	},
	{
		"algorithm 16, Ed448: delv validates it and finds the random signatures of this zone wrong; for us the zone is insecure (RFC 4035 section 5.2)",
		func(q Question, _ *Answer, ours, theirs opinion) bool {
			return dns.IsSubDomain("alg16.com.", q.Name) && ours.Verdict == "insecure" && theirs.Verdict == "error"
		},
	},
	{
		"a denial whose SOA record has a bad signature: delv warns and goes on, we refuse it, and so does unbound",
		func(q Question, _ *Answer, ours, theirs opinion) bool {
			return dns.IsSubDomain("spoiled3.com.", q.Name) && ours.Verdict == "error" && theirs.Verdict == "secure"
		},
	},
}

// optOutDenial is what delv alone sees otherwise.
var optOutDenial = difference{
	"a denial in an opt-out span: delv calls it secure; RFC 5155 section 9.2 has it insecure",
	func(_ Question, a *Answer, ours, theirs opinion) bool {
		return ours.Verdict == "insecure" && theirs.Verdict == "secure" && a.OptOut
	},
}

// belowDNAMEForDelv shows only when delv is asked for every type.
var belowDNAMEForDelv = difference{
	"below a DNAME: delv takes the DNAME for the answer to a question for DNAME, and follows it when asked for CNAME; we follow it for DNAME, and give the " +
		"CNAME made from it, which is the owner's own (RFC 6672 section 3.1), for CNAME",
	func(q Question, _ *Answer, _, _ opinion) bool {
		return belowDNAME(q.Name) && (q.Type == TypeCNAME || q.Type == TypeDNAME)
	},
}

// privateKeys shows only when delv is asked for every type.
var privateKeys = difference{
	"algorithm 253 begins a key with a domain name: delv cannot print the random one of this zone and gives up; nobody uses it to validate",
	func(q Question, _ *Answer, ours, theirs opinion) bool {
		return q.Name == "alg253.com." && q.Type == TypeDNSKEY && ours.Verdict == "insecure" && theirs.Verdict == "error"
	},
}

// The third opinion: delv of BIND, over the same server as we.
func TestAgainstDelv(t *testing.T) {
	tree, names := sampleTree(t)
	server := serve(t, tree, dnstest.PassThrough)
	v := newTestValidator(t, tree, nil, server.Addr())
	differences := fromDelv
	if everyDelv {
		differences = append(slices.Clone(fromDelv), belowDNAMEForDelv, privateKeys)
	}
	againstDelv(t, v, newDelv(t, tree.RootAnchor(), server.Addr()), forDelv(names, 7), differences)
}
