package dnstest

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// types lists the types of records, in order, signatures left out.
func types(rrs []dns.RR) string {
	var list []string
	for _, rr := range rrs {
		if t := rr.Header().Rrtype; t != dns.TypeRRSIG && t != dns.TypeOPT {
			list = append(list, dns.TypeToString[t])
		}
	}
	return strings.Join(list, " ")
}

// signatures counts RRSIG records.
func signatures(rrs []dns.RR) int {
	n := 0
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeRRSIG {
			n++
		}
	}
	return n
}

func TestAuthoritativeReplies(t *testing.T) {
	tree := sampleTree(t)
	serveZones := func(zones ...string) *Server {
		s, err := ServeAuthoritative(tree, "", zones...)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	all, root, com, child, split := serveZones(), serveZones("."), serveZones("com."), serveZones("nsec.com"), serveZones("split.com.")
	org, net := serveZones("org."), serveZones("net.")
	for _, tt := range []struct {
		why                       string
		server                    *Server
		name                      string
		qtype                     uint16
		rcode                     int
		aa                        bool
		answer, authority, extra  string
		answerSigs, authoritySigs int
	}{
		{"data from the deepest zone", all, "mx.nsec.com.", dns.TypeA, 0, true, "A", "", "", 1, 0},
		{"a signed referral has the DS", root, "mx.nsec.com.", dns.TypeA, 0, false, "", "NS DS", "A", 0, 1},
		{"the root refers to an unsigned TLD with proof", root, "host.uns.", dns.TypeA, 0, false, "", "NS NSEC", "A", 0, 1},
		{"insecure referral, NSEC3", net, "mx.unsigned.net.", dns.TypeA, 0, false, "", "NS NSEC3", "A", 0, 1},
		{"insecure referral, opt-out: closest encloser and next closer", org, "mx.unsigned.org.", dns.TypeA, 0, false, "", "NS NSEC3 NSEC3", "A", 0, 2},
		{"a query for NS at a cut is a referral too", com, "nsec.com.", dns.TypeNS, 0, false, "", "NS DS", "A", 0, 1},
		{"glue is not an answer", com, "ns.nsec.com.", dns.TypeA, 0, false, "", "NS DS", "A", 0, 1},
		{"DS is the parent's, RFC 4035 section 3.1.4.1", com, "nsec.com.", dns.TypeDS, 0, true, "DS", "", "", 1, 0},
		{"also where both zones are served", all, "nsec.com.", dns.TypeDS, 0, true, "DS", "", "", 1, 0},
		{"the child alone can only deny it", child, "nsec.com.", dns.TypeDS, 0, true, "", "SOA NSEC", "", 0, 2},
		{"denial of the DS", com, "unsigned.com.", dns.TypeDS, 0, true, "", "SOA NSEC", "", 0, 2},
		{"delegation without a zone", all, "a.lame.com.", dns.TypeA, 0, false, "", "NS NSEC", "", 0, 1},
		{"not ours", com, "mx.nsec.net.", dns.TypeA, dns.RcodeRefused, false, "", "", "", 0, 0},
		{"NODATA", all, "mx.nsec.com.", dns.TypeTXT, 0, true, "", "SOA NSEC", "", 0, 2},
		{"NXDOMAIN: one NSEC for the name, one for the wildcard", all, "zz.of.ent.nsec.com.", dns.TypeA, dns.RcodeNameError, true, "", "SOA NSEC NSEC", "", 0, 3},
		{"NXDOMAIN by NSEC3: encloser, next closer, wildcard", all, "a.none.nsec3.com.", dns.TypeA, dns.RcodeNameError, true, "", "SOA NSEC3 NSEC3 NSEC3", "", 0, 4},
		{"wildcard answer with proof", all, "q.w.nsec.com.", dns.TypeA, 0, true, "A", "NSEC", "", 1, 1},
		{"alias inside the zone", all, "alias2.nsec.com.", dns.TypeA, 0, true, "CNAME CNAME A", "", "", 3, 0},
		{"alias to a denial", all, "toabsent.nsec.com.", dns.TypeA, dns.RcodeNameError, true, "CNAME", "SOA NSEC", "", 1, 2},
		{"alias into another zone is not followed", all, "s.alias.com.", dns.TypeA, 0, true, "CNAME", "", "", 1, 0},
		{"alias asked by its type", all, "alias.nsec.com.", dns.TypeCNAME, 0, true, "CNAME", "", "", 1, 0},
		{"DNAME and the CNAME made from it", all, "x.dn.nsec.com.", dns.TypeA, 0, true, "DNAME CNAME A", "", "", 2, 0},
		{"DNAME answers a query for the CNAME", all, "x.dn.nsec.com.", dns.TypeCNAME, 0, true, "DNAME CNAME", "", "", 1, 0},
		{"loop: each name once", all, "loop1.nsec.com.", dns.TypeA, 0, true, "CNAME CNAME", "", "", 2, 0},
		{"keys signed by the KSK alone", split, "split.com.", dns.TypeDNSKEY, 0, true, "DNSKEY DNSKEY", "", "", 1, 0},
		{"no signatures in an unsigned zone", all, "none.unsigned.com.", dns.TypeA, dns.RcodeNameError, true, "", "SOA", "", 0, 0},
		{"missing proofs", all, "none.nodenial.com.", dns.TypeA, dns.RcodeNameError, true, "", "SOA", "", 0, 1},
		{"missing signatures", all, "mx.nosig.com.", dns.TypeA, 0, true, "A", "", "", 0, 0},
		{"no ANY, RFC 8482", all, "nsec.com.", dns.TypeANY, dns.RcodeNotImplemented, false, "", "", "", 0, 0},
	} {
		reply := exchange(t, tt.server.Addr(), question(tt.name, tt.qtype))
		require.Equal(t, dns.RcodeToString[tt.rcode], dns.RcodeToString[reply.Rcode], tt.why)
		require.Equal(t, tt.aa, reply.Authoritative, tt.why)
		require.False(t, reply.RecursionAvailable, tt.why)
		require.Equal(t, tt.answer, types(reply.Answer), tt.why)
		require.Equal(t, tt.authority, types(reply.Ns), tt.why)
		require.Equal(t, tt.extra, types(reply.Extra), tt.why)
		require.Equal(t, tt.answerSigs, signatures(reply.Answer), tt.why)
		require.Equal(t, tt.authoritySigs, signatures(reply.Ns), tt.why)

		plain := exchange(t, tt.server.Addr(), new(dns.Msg).SetQuestion(tt.name, tt.qtype))
		require.Zero(t, signatures(plain.Answer)+signatures(plain.Ns), "%s: no signatures without DO", tt.why)
		require.NotContains(t, types(plain.Ns), "NSEC", tt.why)
		require.NotContains(t, types(plain.Ns), "DS", tt.why)
		require.Nil(t, plain.IsEdns0(), "%s: no OPT without OPT", tt.why)
	}
}

// A name server named like the zone puts addresses at the cut: glue, which the parent neither signs nor lists.
func TestGlueAtTheCut(t *testing.T) {
	for _, hashed := range []*NSEC3{nil, {}} {
		tree := NewTree(Options{})
		tree.Zone("com.", ZoneOptions{NSEC3: hashed})
		tree.Zone("self.com.", ZoneOptions{Unsigned: true}, "@ NS @", "@ A 127.0.0.1", "@ AAAA ::1")
		require.NoError(t, tree.Sign())
		server, err := ServeAuthoritative(tree, "", "com.")
		require.NoError(t, err)
		defer server.Close()
		reply := exchange(t, server.Addr(), question("self.com.", dns.TypeA))
		require.Equal(t, "A AAAA", types(reply.Extra))
		require.Zero(t, signatures(reply.Extra))
		denial := exchange(t, server.Addr(), question("self.com.", dns.TypeDS))
		for _, rr := range append(reply.Ns, denial.Ns...) {
			switch rr := rr.(type) {
			case *dns.NSEC:
				require.Equal(t, []uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC}, rr.TypeBitMap)
			case *dns.NSEC3:
				require.Equal(t, []uint16{dns.TypeNS}, rr.TypeBitMap, "nothing at the name is signed")
			}
		}
		require.Equal(t, Insecure, newChecker(t, tree).judge("self.com.", dns.TypeA))
	}
}

func TestNegativeTTL(t *testing.T) {
	tree := NewTree(Options{})
	tree.Zone("example.", ZoneOptions{}, "@ 3600 SOA ns hostmaster 1 3600 600 86400 60", "a 900 A 127.0.0.1", "a 300 A 127.0.0.2")
	require.NoError(t, tree.Sign())
	server, err := ServeAuthoritative(tree, "")
	require.NoError(t, err)
	defer server.Close()
	for _, rr := range exchange(t, server.Addr(), question("none.example.", dns.TypeA)).Ns {
		require.LessOrEqual(t, rr.Header().Ttl, uint32(60), "the least of SOA TTL and minimum counts, RFC 2308 section 3: %s", rr)
	}
	for _, rr := range exchange(t, server.Addr(), question("a.example.", dns.TypeA)).Answer {
		require.Equal(t, uint32(300), rr.Header().Ttl, "one TTL in a set, RFC 2181 section 5.2")
	}
}

func TestTruncation(t *testing.T) {
	tree := NewTree(Options{})
	var records []string
	for range 20 {
		records = append(records, "big TXT \""+strings.Repeat("x", 50+len(records))+"\"")
	}
	tree.Zone("example.", ZoneOptions{Algorithm: dns.RSASHA256, RSABits: 2048}, records...)
	require.NoError(t, tree.Sign())
	for _, start := range []func() (*Server, error){
		func() (*Server, error) { return ServeAuthoritative(tree, "") },
		func() (*Server, error) { return ServeRecursive(tree, Validating, "") },
	} {
		server, err := start()
		require.NoError(t, err)
		defer server.Close()
		for _, tt := range []struct {
			why  string
			size uint16 // 0 = no EDNS
			tc   bool
		}{
			{"512 octets without EDNS", 0, true},
			{"less than 512 means 512", 100, true},
			{"1,232 are not enough", 1232, true},
			{"4,096 are", 4096, false},
		} {
			query := new(dns.Msg).SetQuestion("big.example.", dns.TypeTXT)
			if tt.size > 0 {
				query.SetEdns0(tt.size, true)
			}
			client := &dns.Client{UDPSize: 4096}
			reply, _, err := client.Exchange(query, server.Addr().String())
			require.NoError(t, err)
			require.Equal(t, tt.tc, reply.Truncated, tt.why)
			require.Equal(t, tt.tc, len(reply.Answer) == 0, tt.why)
			require.Equal(t, tt.size > 0, reply.IsEdns0() != nil, tt.why)
			reply, _, err = (&dns.Client{Net: "tcp"}).Exchange(query, server.Addr().String())
			require.NoError(t, err)
			require.False(t, reply.Truncated, "never over TCP")
			require.GreaterOrEqual(t, len(reply.Answer), 20)
		}
	}
}

func TestRefusedQueries(t *testing.T) {
	server, err := ServeAuthoritative(sampleTree(t), "")
	require.NoError(t, err)
	defer server.Close()
	for _, tt := range []struct {
		why   string
		edit  func(*dns.Msg)
		rcode int
	}{
		{"another class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		{"EDNS version 1", func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers},
		{"NOTIFY", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, dns.RcodeNotImplemented},
		{"zone transfer", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeNotImplemented},
		{"signatures alone", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeRRSIG }, dns.RcodeNotImplemented},
	} {
		query := question("nsec.com.", dns.TypeMX)
		tt.edit(query)
		require.Equal(t, tt.rcode, exchange(t, server.Addr(), query).Rcode, tt.why)
	}
}
