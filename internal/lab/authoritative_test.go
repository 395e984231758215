package lab

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// TestAuthoritative: the name server of the world answers for the root and for
// every zone, signed, over UDP and TCP, and does not resolve.
func TestAuthoritative(t *testing.T) {
	l, err := Start(World{Domains: []Domain{{Name: "partner.example", DNSSEC: Signed,
		Hosts: []Host{{Name: "mx.partner.example", TLSA: []TLSA{TLSAMatch}}}}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	for _, network := range []string{"udp", "tcp"} {
		for name, qtype := range map[string]uint16{
			".":                            dns.TypeDNSKEY,
			"example.":                     dns.TypeSOA,
			"_25._tcp.mx.partner.example.": dns.TypeTLSA,
		} {
			q := new(dns.Msg).SetQuestion(name, qtype)
			q.SetEdns0(4096, true)
			reply, _, err := (&dns.Client{Net: network}).Exchange(q, l.Authoritative().String())
			require.NoError(t, err)
			require.True(t, reply.Authoritative, "%s %s", network, name)
			require.False(t, reply.RecursionAvailable)
			require.False(t, reply.AuthenticatedData, "a name server vouches for nothing")
			var types []uint16
			for _, rr := range reply.Answer {
				types = append(types, rr.Header().Rrtype)
			}
			require.Contains(t, types, qtype)
			require.Contains(t, types, dns.TypeRRSIG)
		}
	}
}
