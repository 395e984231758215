package dnstest

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// When AD is set, RFC 6840 section 5.8, and what CD gives, RFC 4035 section 3.2.2.
func TestValidatingBits(t *testing.T) {
	front, err := ServeRecursive(sampleTree(t), Validating, "")
	require.NoError(t, err)
	defer front.Close()
	for _, tt := range []struct {
		why        string
		name       string
		ad, do, cd bool
		rcode      int
		wantAD     bool
		answers    int
		signatures int
	}{
		{"AD asks for AD", "nsec.com.", true, false, false, 0, true, 1, 0},
		{"so does DO, with signatures", "nsec.com.", false, true, false, 0, true, 1, 1},
		{"neither: no AD", "nsec.com.", false, false, false, 0, false, 1, 0},
		{"CD: nothing is judged", "nsec.com.", true, true, true, 0, false, 1, 1},
		{"bogus", "badsig.com.", true, false, false, dns.RcodeServerFailure, false, 0, 0},
		{"bogus without AD and DO", "badsig.com.", false, false, false, dns.RcodeServerFailure, false, 0, 0},
		{"CD gives bogus data", "badsig.com.", false, true, true, 0, false, 1, 1},
		{"CD gives data without keys", "nokeys.com.", false, true, true, 0, false, 1, 0},
		{"insecure", "unsigned.com.", true, true, false, 0, false, 1, 0},
	} {
		query := new(dns.Msg).SetQuestion(tt.name, dns.TypeMX)
		query.AuthenticatedData, query.CheckingDisabled = tt.ad, tt.cd
		if tt.do {
			query.SetEdns0(4096, true)
		}
		reply := exchange(t, front.Addr(), query)
		require.Equal(t, tt.rcode, reply.Rcode, tt.why)
		require.Equal(t, tt.wantAD, reply.AuthenticatedData, tt.why)
		require.Equal(t, tt.cd, reply.CheckingDisabled, tt.why)
		require.Len(t, reply.Answer, tt.answers+tt.signatures, tt.why)
		require.Equal(t, tt.signatures, signatures(reply.Answer), tt.why)
	}
	query := question("nsec.com.", dns.TypeMX)
	query.RecursionDesired = false
	require.Equal(t, dns.RcodeRefused, exchange(t, front.Addr(), query).Rcode, "a resolver is asked with RD")
}

func TestPassThroughAndStripping(t *testing.T) {
	tree := sampleTree(t)
	pass, err := ServeRecursive(tree, PassThrough, "")
	require.NoError(t, err)
	defer pass.Close()
	strip, err := ServeRecursive(tree, Stripping, "")
	require.NoError(t, err)
	defer strip.Close()
	for _, tt := range []struct {
		why                   string
		name                  string
		qtype                 uint16
		rcode                 int
		answer, authority     string
		strippedAuthority     string
		answerSigs, authoSigs int
	}{
		{"data", "nsec.com.", dns.TypeMX, 0, "MX", "", "", 1, 0},
		{"bogus data is handed on", "expired.com.", dns.TypeMX, 0, "MX", "", "", 1, 0},
		{"keys", ".", dns.TypeDNSKEY, 0, "DNSKEY DNSKEY", "", "", 1, 0},
		{"denial", "none.of.ent.nsec3.com.", dns.TypeA, dns.RcodeNameError, "", "SOA NSEC3 NSEC3 NSEC3", "SOA", 0, 4},
		{"a chain from zone to zone", "a-s3.hops.net.", dns.TypeA, 0, "CNAME CNAME A", "", "", 3, 0},
		{"an alias to a wildcard, with its proof", "towild.nsec.com.", dns.TypeA, 0, "CNAME A", "NSEC", "", 2, 1},
		{"no DS, asked by a validator", "unsigned.com.", dns.TypeDS, 0, "", "SOA NSEC", "SOA", 0, 2},
		{"DS", "nsec.com.", dns.TypeDS, 0, "DS", "", "", 1, 0},
	} {
		reply := exchange(t, pass.Addr(), question(tt.name, tt.qtype))
		require.Equal(t, tt.rcode, reply.Rcode, tt.why)
		require.False(t, reply.AuthenticatedData, tt.why)
		require.Equal(t, tt.answer, types(reply.Answer), tt.why)
		require.Equal(t, tt.authority, types(reply.Ns), tt.why)
		require.Equal(t, tt.answerSigs, signatures(reply.Answer), tt.why)
		require.Equal(t, tt.authoSigs, signatures(reply.Ns), tt.why)

		reply = exchange(t, strip.Addr(), question(tt.name, tt.qtype))
		require.Equal(t, tt.rcode, reply.Rcode, tt.why)
		require.False(t, reply.AuthenticatedData, tt.why)
		require.Equal(t, tt.answer, types(reply.Answer), tt.why)
		require.Equal(t, tt.strippedAuthority, types(reply.Ns), tt.why)
		require.Zero(t, signatures(reply.Answer)+signatures(reply.Ns), tt.why)
	}
}

func TestAliasLimit(t *testing.T) {
	tree := NewTree(Options{})
	z := tree.Zone("example.", ZoneOptions{}, "a0 A 127.0.0.1", "self CNAME self")
	for i := 1; i <= MaxAliases+1; i++ {
		z.Add(fmt.Sprintf("a%d CNAME a%d", i, i-1))
	}
	require.NoError(t, tree.Sign())
	validating, err := ServeRecursive(tree, Validating, "")
	require.NoError(t, err)
	defer validating.Close()
	pass, err := ServeRecursive(tree, PassThrough, "")
	require.NoError(t, err)
	defer pass.Close()
	for _, tt := range []struct {
		name    string
		rcode   int
		answers int // of the pass-through resolver
	}{
		{fmt.Sprintf("a%d.example.", MaxAliases), dns.RcodeSuccess, MaxAliases + 1},
		{fmt.Sprintf("a%d.example.", MaxAliases+1), dns.RcodeServerFailure, MaxAliases},
		{"self.example.", dns.RcodeServerFailure, 1},
	} {
		query := new(dns.Msg).SetQuestion(tt.name, dns.TypeA)
		require.Equal(t, tt.rcode, exchange(t, validating.Addr(), query).Rcode, tt.name)
		reply := exchange(t, pass.Addr(), query)
		require.Equal(t, dns.RcodeSuccess, reply.Rcode, tt.name)
		require.Len(t, reply.Answer, tt.answers, tt.name)
	}
}
