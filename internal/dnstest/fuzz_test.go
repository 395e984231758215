package dnstest

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// FuzzReplies asks any name and type. Each reply must have a wire form and repeat the question, and
// AD must mean Secure.
func FuzzReplies(f *testing.F) {
	tree := sampleTree(f)
	for _, name := range []string{".", "mx.nsec.com.", `\000.com.`, "*.w.nsec3.net.", "a.*.w.nsec.com.", "x.dn.nsec.org.", "loop1.nsec.com.", "q.mx.lame.com."} {
		f.Add(name, uint16(dns.TypeA), true)
	}
	f.Add("expired.com.", uint16(dns.TypeDS), false)
	f.Fuzz(func(t *testing.T, name string, qtype uint16, do bool) {
		query := new(dns.Msg)
		query.Question = []dns.Question{{Name: dns.Fqdn(name), Qtype: qtype, Qclass: dns.ClassINET}}
		query.RecursionDesired = true
		query.SetEdns0(4096, do)
		wire, err := query.Pack()
		if err != nil || query.Unpack(wire) != nil {
			return // not a question that can arrive
		}
		w := tree.current.Load()
		v := tree.Verdict(query.Question[0].Name, qtype)
		for _, reply := range []*dns.Msg{
			w.authoritative(query, nil), w.recursive(query, Validating), w.recursive(query, PassThrough), w.recursive(query, Stripping),
		} {
			wire, err := pack(reply, dns.MaxMsgSize)
			require.NoError(t, err)
			require.NoError(t, new(dns.Msg).Unpack(wire))
			require.Equal(t, query.Question, reply.Question)
			if reply.AuthenticatedData {
				require.Equal(t, Secure, v.Security)
			}
			if v.Security == Bogus && reply.RecursionAvailable && reply.Rcode == dns.RcodeServerFailure {
				require.Empty(t, reply.Answer)
			}
		}
	})
}
