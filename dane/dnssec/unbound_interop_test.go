//go:build interop

package dnssec

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// fromUnbound are all ways in which we may differ from unbound, and why. Each must occur, or it is out of date.
var fromUnbound = []difference{
	{
		"more than 500 NSEC3 iterations: unbound calls the denial insecure, we refuse it; RFC 9276 section 3.2 permits both",
		func(q Question, _ *Answer, ours, theirs opinion) bool {
			return dns.IsSubDomain("iter501.com.", q.Name) && ours.Verdict == "error" && theirs.Verdict == "insecure"
		},
	},
	{
		"algorithm 7 and DS digest 1 use SHA-1: unbound still validates them, we do so only with AllowSHA1 (RFC 9905)",
		func(q Question, _ *Answer, ours, theirs opinion) bool {
			return (dns.IsSubDomain("alg7.com.", q.Name) || dns.IsSubDomain("digest1.com.", q.Name)) && ours.Verdict == "insecure" && theirs.Verdict == "secure"
		},
	},
	{
		"algorithm 16, Ed448: unbound validates it and finds the random signatures of this zone wrong; RFC 8624 section 3.1 leaves it optional, " +
			"so for us the zone is insecure (RFC 4035 section 5.2)",
		func(q Question, _ *Answer, ours, theirs opinion) bool {
			return dns.IsSubDomain("alg16.com.", q.Name) && ours.Verdict == "insecure" && theirs.Verdict == "error"
		},
	},
	unsignedCNAME,
	unsignedInsecureCNAME,
	unjudgedTarget,
}

// unsignedCNAME is how unbound stumbles over what it makes from a DNAME.
var unsignedCNAME = difference{
	"below a DNAME, asked for CNAME or DNAME: unbound takes the unsigned CNAME made from the DNAME for the answer, fails to find a signature, and " +
		"then refuses the name for other types too; RFC 6672 section 5.3.1 has that CNAME never signed",
	func(q Question, _ *Answer, ours, theirs opinion) bool {
		return belowDNAME(q.Name) && theirs.Verdict == "error" && ours.Verdict != "error"
	},
}

// unsignedInsecureCNAME is the same where it takes lack of proof for lack of security.
var unsignedInsecureCNAME = difference{
	"the same where the zone has so many NSEC3 iterations that denials are insecure: unbound takes the unsigned CNAME for insecure; the DNAME is signed",
	func(q Question, _ *Answer, ours, theirs opinion) bool {
		return belowDNAME(q.Name) && q.Type == TypeCNAME && (strings.Contains(q.Name, ".iter") || strings.Contains(q.Name, ".many.")) &&
			ours.Verdict == "secure" && theirs.Verdict == "insecure" && ours.Records == theirs.Records
	},
}

// unjudgedTarget is what unbound then lets pass.
var unjudgedTarget = difference{
	"below a DNAME, asked for DNAME, in an unsigned zone that leads to a bogus one: unbound does not judge the denial at the target; nothing after an insecure " +
		"alias is excused (RFC 4035 section 5 knows no such exception)",
	func(q Question, _ *Answer, ours, theirs opinion) bool {
		return belowDNAME(q.Name) && q.Type == TypeDNAME && strings.Contains(q.Name, ".b-dn.") && ours.Verdict == "error" && theirs.Verdict == "insecure"
	},
}

func belowDNAME(name string) bool {
	return strings.Contains(name, ".dn.") || strings.Contains(name, "-dn.")
}

// moreQuestions are n questions for names that nobody thought of.
func moreQuestions(names []string, n int) []Question {
	random := rand.New(rand.NewPCG(1, 2))
	questions := make([]Question, n)
	for i := range questions {
		name := names[random.IntN(len(names))]
		for range 1 + random.IntN(3) {
			labels := []string{"mx", "*", "w", "a", "zz", "_tcp", "ent", "child", "dn", "0", "-"}
			if longer := labels[random.IntN(len(labels))] + "." + strings.TrimPrefix(name, "."); len(longer) < 200 {
				name = longer
			}
		}
		questions[i] = Question{dns.CanonicalName(name), sampleTypes[random.IntN(len(sampleTypes))]}
	}
	return questions
}

// We and unbound over the same authoritative server, in which zones have every fault.
func TestAgainstUnbound(t *testing.T) {
	tree, names := sampleTree(t)
	authority, err := dnstest.ServeAuthoritative(tree, "")
	require.NoError(t, err)
	t.Cleanup(func() { authority.Close() })
	reference := dnstest.UnboundFor(tree, authority.Addr())
	plain := reference
	plain.PassThrough = true
	theirs, through := reference.Start(t), plain.Start(t)
	questions := append(everyType(names), moreQuestions(names, 2000)...)
	againstUnboundEachWay(t, tree.RootAnchor(), theirs, through, questions, fromUnbound, nil)
}
