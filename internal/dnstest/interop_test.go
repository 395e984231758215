//go:build interop

package dnstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outcome is what is compared: RCODE, AD, the answer section without signatures, sorted.
type outcome struct {
	rcode  string
	ad     bool
	answer string
	ede    int
}

func ask(t *testing.T, server, name string, qtype uint16, cd bool) outcome {
	t.Helper()
	query := new(dns.Msg).SetQuestion(name, qtype)
	query.SetEdns0(4096, true)
	query.CheckingDisabled = cd
	reply, _, err := new(dns.Client).Exchange(query, server)
	if err == nil && reply.Truncated {
		reply, _, err = (&dns.Client{Net: "tcp"}).Exchange(query, server)
	}
	require.NoError(t, err, "%s %s", name, dns.TypeToString[qtype])
	o := outcome{rcode: dns.RcodeToString[reply.Rcode], ad: reply.AuthenticatedData, ede: -1}
	var lines []string
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype != dns.TypeRRSIG || qtype == dns.TypeRRSIG {
			rr.Header().Ttl = 0
			lines = append(lines, rr.String())
		}
	}
	slices.Sort(lines)
	o.answer = strings.ToLower(strings.Join(lines, "\n")) // compression may change the case of names
	if opt := reply.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if e, ok := option.(*dns.EDNS0_EDE); ok {
				o.ede = int(e.InfoCode)
			}
		}
	}
	return o
}

// questionTypes are asked of every name.
var questionTypes = []uint16{
	dns.TypeNSEC, dns.TypeA, dns.TypeMX, dns.TypeTXT, dns.TypeTLSA, dns.TypeDNAME, dns.TypeDS, dns.TypeDNSKEY, dns.TypeSOA,
	dns.TypeNS, dns.TypeCNAME,
}

// unasked are questions that say nothing about us: unbound answers them from what it happened to
// learn before.
var unasked = []struct {
	reason string
	is     func(f finding, qtype uint16) bool
}{
	{
		"unbound takes the DNAME above the name, or the unsigned CNAME made from it, for the answer itself, fails to find a signature for " +
			"the CNAME, and then holds the name for bogus for every other type too (RFC 6672 section 5.3.3 has that CNAME never signed)",
		func(f finding, qtype uint16) bool {
			return (qtype == dns.TypeCNAME || qtype == dns.TypeDNAME) && f.set != nil && f.set.rtype == dns.TypeDNAME && f.owner != f.name
		},
	},
	{
		"unbound follows the CNAME that it has in its cache instead of asking for the NSEC that stands beside it (RFC 4035 section 2.5)",
		func(f finding, qtype uint16) bool {
			return qtype == dns.TypeNSEC && f.set != nil && f.set.zone.find(f.name, dns.TypeCNAME).kind == answered
		},
	},
}

// extendedErrors are EDE codes (RFC 8914 section 4) that differ on purpose, ours and unbound's.
// They are hints, not verdicts.
var extendedErrors = map[[2]int]string{
	{12, 10}: "proofs left out: unbound misses a signature first, we name the cause, NSEC Missing",
	{12, 6}:  "proofs left out: unbound calls it bogus, we name the cause, NSEC Missing",
	{9, 6}:   "DS that matches no key: section 4.10 has DNSKEY Missing for it",
	{22, -1}: "a delegation to nowhere: unbound 1.17 gives no code",
	{6, 9}:   "a DNSKEY or DS set with bad signatures: unbound has no key then, we name the cause",
}

// allowed are answers in which we differ from unbound on purpose.
var allowed = []struct {
	reason string
	is     func(name string, ours, theirs outcome) bool
}{
	{
		"NSEC3 with more than 500 iterations: unbound calls the denial insecure, we refuse it; RFC 9276 section 3.2 permits both",
		func(name string, ours, theirs outcome) bool {
			return dns.IsSubDomain("iter501.com.", name) && ours.rcode == "SERVFAIL" && theirs.rcode != "SERVFAIL" && !theirs.ad
		},
	},
}

func TestAgainstUnbound(t *testing.T) {
	tree := sampleTree(t)
	authority, err := ServeAuthoritative(tree, "")
	require.NoError(t, err)
	defer authority.Close()
	front, err := ServeRecursive(tree, Validating, "")
	require.NoError(t, err)
	defer front.Close()
	theirs := UnboundFor(tree, authority.Addr()).Start(t).String()

	world := tree.current.Load()
	asked, verdicts := 0, make(map[string]int)
	skipped, excused := make([]int, len(unasked)), make([]int, len(allowed))
	named := make(map[[2]int]int)
	for _, name := range questionNames(tree) {
	question:
		for _, qtype := range questionTypes {
			for i, rule := range unasked {
				if rule.is(world.enter(name, qtype), qtype) {
					skipped[i]++
					continue question
				}
			}
			asked++
			got, want := ask(t, front.Addr().String(), name, qtype, false), ask(t, theirs, name, qtype, false)
			verdicts[fmt.Sprintf("%s ad=%t", want.rcode, want.ad)]++
			if got.rcode == want.rcode && got.ede != want.ede {
				codes := [2]int{got.ede, want.ede}
				assert.Contains(t, extendedErrors, codes, "%s %s", name, dns.TypeToString[qtype])
				named[codes]++
			}
			got.ede, want.ede = -1, -1
			if want.rcode == "SERVFAIL" {
				raw, theirRaw := ask(t, front.Addr().String(), name, qtype, true), ask(t, theirs, name, qtype, true)
				raw.ede, theirRaw.ede = -1, -1
				if raw != theirRaw {
					t.Errorf("%s %s with CD:\nours:    %+v\nunbound: %+v", name, dns.TypeToString[qtype], raw, theirRaw)
				}
			}
			if got == want {
				continue
			}
			explained := false
			for i, rule := range allowed {
				if rule.is(name, got, want) {
					excused[i]++
					explained = true
				}
			}
			if !explained {
				t.Errorf("%s %s:\nours:    %+v\nunbound: %+v", name, dns.TypeToString[qtype], got, want)
			}
		}
	}
	t.Logf("%d questions: %v", asked, verdicts)
	for codes, reason := range extendedErrors {
		t.Logf("%d with EDE %d, unbound %d: %s", named[codes], codes[0], codes[1], reason)
	}
	for i, rule := range unasked {
		require.NotZero(t, skipped[i], rule.reason)
		t.Logf("%d not asked: %s", skipped[i], rule.reason)
	}
	for i, rule := range allowed {
		require.NotZero(t, excused[i], rule.reason)
		t.Logf("%d differ: %s", excused[i], rule.reason)
	}
}
