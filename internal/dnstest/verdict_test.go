package dnstest

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// exchange sends one query and returns the reply, over TCP if the one over UDP is truncated.
func exchange(t testing.TB, server netip.AddrPort, query *dns.Msg) *dns.Msg {
	t.Helper()
	reply, _, err := new(dns.Client).Exchange(query, server.String())
	require.NoError(t, err)
	if reply.Truncated {
		reply, _, err = (&dns.Client{Net: "tcp"}).Exchange(query, server.String())
		require.NoError(t, err)
	}
	return reply
}

// question returns a query with DO and an EDNS size of 4,096.
func question(name string, qtype uint16) *dns.Msg {
	query := new(dns.Msg).SetQuestion(name, qtype)
	query.SetEdns0(4096, true)
	return query
}

// extended returns the extended error code of a reply, -1 if there is none.
func extended(reply *dns.Msg) int {
	if opt := reply.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if e, ok := option.(*dns.EDNS0_EDE); ok {
				return int(e.InfoCode)
			}
		}
	}
	return -1
}

// The verdicts here are written by hand from the RFCs.
func TestValidatingVerdicts(t *testing.T) {
	front, err := ServeRecursive(sampleTree(t), Validating, "")
	require.NoError(t, err)
	defer front.Close()
	const ok, nx, fail, yx = dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeServerFailure, dns.RcodeYXDomain
	const a, mx, txt, tlsa, ds, dnskey, soa, aaaa = dns.TypeA, dns.TypeMX, dns.TypeTXT, dns.TypeTLSA, dns.TypeDS, dns.TypeDNSKEY, dns.TypeSOA, dns.TypeAAAA
	for _, tt := range []struct {
		name  string
		qtype uint16
		rcode int
		ad    bool
		ede   int
		why   string
	}{
		{".", dnskey, ok, true, -1, "the root keys are the anchor: what a self-check asks for"},
		{".", ds, ok, true, -1, "the root has no DS, and proves it"},
		{"nsec.com.", mx, ok, true, -1, "signed from the root down"},
		{"_25._tcp.mx.nsec.com.", tlsa, ok, true, -1, "signed from the root down"},
		{"NSEC.Com.", mx, ok, true, -1, "case does not matter"},
		{"mx.nsec.com.", tlsa, ok, true, -1, "NSEC at the name denies the type"},
		{"none.nsec.com.", a, nx, true, -1, "NSEC denies name and wildcard"},
		{"ent.nsec.com.", a, ok, true, -1, "an empty non-terminal is there, RFC 4592 section 2.2.2"},
		{"q.w.nsec.com.", a, ok, true, -1, "wildcard with proof that nothing closer is there"},
		{"r.q.w.nsec.com.", a, ok, true, -1, "a wildcard stands for several labels"},
		{"q.w.nsec.com.", mx, ok, true, -1, "the wildcard has no MX"},
		{"host.w.nsec.com.", a, ok, true, -1, "a name that is there hides the wildcard"},
		{"r.host.w.nsec.com.", a, nx, true, -1, "and so do names below it"},
		{"q.cw.nsec.com.", a, ok, true, -1, "a wildcard CNAME"},
		{"alias2.nsec.com.", a, ok, true, -1, "two CNAMEs in one zone"},
		{"toabsent.nsec.com.", a, nx, true, -1, "RCODE is that of the last name, RFC 6604"},
		{"x.dn.nsec.com.", a, ok, true, -1, "DNAME; its CNAME is not signed and needs not be"},
		{"dn.nsec.com.", a, ok, true, -1, "a DNAME does not rename its owner"},
		{"loop1.nsec.com.", a, fail, false, -1, "aliases in a circle"},
		{"none.nsec3.com.", a, nx, true, -1, "NSEC3 closest encloser proof"},
		{"q.w.nsec3.com.", a, ok, true, -1, "NSEC3 covers the next closer name"},
		{"q.w.nsec3.com.", mx, ok, true, -1, "NSEC3 wildcard without the type"},
		{"of.ent.nsec3.com.", a, ok, true, -1, "an empty non-terminal has an NSEC3"},

		{"mx.alg8.com.", a, ok, true, -1, "RSA/SHA-256"},
		{"mx.alg10.com.", a, ok, true, -1, "RSA/SHA-512"},
		{"mx.alg14.com.", a, ok, true, -1, "ECDSA P-384"},
		{"mx.alg15.com.", a, ok, true, -1, "Ed25519"},
		{"mx.alg253.com.", a, ok, false, -1, "nobody knows the algorithm: insecure, RFC 4035 section 5.2"},
		{"alg253.com.", ds, ok, true, -1, "its DS is the parent's data, and signed"},
		{"mx.digest4.com.", a, ok, true, -1, "SHA-384 DS"},
		{"mx.digest99.com.", a, ok, false, -1, "nobody knows the digest: insecure"},
		{"mx.digests.com.", a, ok, true, -1, "one known digest is enough"},
		{"mx.split.com.", a, ok, true, -1, "KSK and ZSK"},

		{"mx.unsigned.com.", a, ok, false, -1, "insecure delegation under NSEC"},
		{"unsigned.com.", ds, ok, true, -1, "that there is no DS is secure"},
		{"none.unsigned.net.", a, nx, false, -1, "insecure delegation under NSEC3"},
		{"mx.unsigned.org.", a, ok, false, -1, "insecure delegation in an opt-out span"},
		{"unsigned.org.", ds, ok, false, -1, "that there is no DS follows from opt-out only, RFC 5155 section 9.2"},
		{"mx.island.com.", a, ok, false, -1, "signed, but without DS"},
		{"mx.child.unsigned.com.", a, ok, false, -1, "signed with DS in an unsigned zone"},
		{"host.uns.", a, ok, false, -1, "unsigned TLD"},
		{"host.org.", a, ok, true, -1, "opt-out does not weaken data"},
		{"none.org.", a, nx, false, -1, "but denials, RFC 5155 section 9.2"},
		{"q.w.org.", a, ok, false, -1, "and wildcard answers, whose next closer name is in the span"},
		{"ent.org.", a, ok, true, -1, "a matching NSEC3 with the opt-out flag is a full proof"},
		{"uncut2.org.", a, ok, false, -1, "an empty non-terminal above opted-out delegations has no NSEC3"},
		{"mx.sig.optout.com.", a, ok, true, -1, "a signed delegation among opted-out ones"},
		{"mx.iter100.com.", txt, ok, true, -1, "100 iterations are still taken"},
		{"mx.iter400.com.", txt, ok, false, -1, "more make the denial insecure, RFC 9276 section 3.2"},
		{"mx.iter400.com.", a, ok, true, -1, "data does not need NSEC3"},
		{"mx.iter501.com.", txt, fail, false, 27, "too many"},

		{"mx.expired.com.", a, fail, false, 7, "expired"},
		{"none.expired.com.", a, fail, false, 7, "denials too"},
		{"expired.com.", ds, ok, true, -1, "the DS is the parent's and fine"},
		{"mx.child.expired.com.", a, fail, false, 7, "nothing below can be proven"},
		{"mx.notyet.com.", a, fail, false, 8, "not yet valid"},
		{"mx.badsig.com.", a, fail, false, 6, "corrupted signatures"},
		{"mx.nosig.com.", a, fail, false, 10, "a DS, keys, but no signature"},
		{"mx.wrongds.com.", a, fail, false, 9, "the DS matches no key"},
		{"mx.nokeys.com.", a, fail, false, 9, "a DS, but no key"},
		{"mx.nodenial.com.", a, ok, true, -1, "data needs no denial"},
		{"mx.nodenial.com.", txt, fail, false, 12, "NODATA without proof"},
		{"none.nodenial3.com.", a, fail, false, 12, "NXDOMAIN without proof"},
		{"q.w.nodenial.com.", a, fail, false, 12, "wildcard without proof"},
		{"mx.child.nodenial.com.", a, fail, false, 12, "an insecure delegation that is not proven"},

		{"spoiled.com.", mx, ok, true, -1, "only some sets are spoiled"},
		{"mx.spoiled.com.", a, fail, false, 6, "BadSignature of one set"},
		{"mx.spoiled.com.", aaaa, fail, false, 10, "NoSignature of one set"},
		{"_25._tcp.mx.spoiled.com.", tlsa, fail, false, 7, "Expired of one set"},
		{"spoiled.com.", txt, fail, false, 8, "NotYetValid of one set"},
		{"alias.spoiled.com.", a, fail, false, 6, "an alias to a bogus set"},
		{"q.w.spoiled.com.", mx, fail, false, 6, "NSEC of the wildcard is bogus"},
		{"mx.sub.spoiled.com.", a, fail, false, 6, "bogus DS"},
		{"alias.spoiled3.com.", a, fail, false, 6, "bogus CNAME to a good name"},
		{"mx.spoiled3.com.", a, ok, true, -1, "the target alone is fine"},
		{"mx.spoiled3.com.", txt, fail, false, 7, "the SOA of the denial has expired"},

		{"s.alias.com.", a, ok, true, -1, "secure to secure"},
		{"s3-none.alias.com.", a, nx, true, -1, "secure to a secure denial"},
		{"i.alias.com.", a, ok, false, -1, "secure to insecure"},
		{"b.alias.com.", a, fail, false, 7, "secure to bogus"},
		{"s.ualias.com.", a, ok, false, -1, "insecure to secure stays insecure"},
		{"b.ualias.com.", a, fail, false, 7, "an insecure hop excuses nothing after it"},
		{"s.balias.com.", a, fail, false, 6, "bogus to secure"},
		{"u-s.hops.net.", a, ok, false, -1, "secure, insecure, secure"},
		{"a-s3.hops.net.", a, ok, true, -1, "three secure zones"},
		{"b-i.hops.net.", a, fail, false, 6, "secure, bogus, insecure"},
		{"mx.i-dn.alias.com.", a, ok, false, -1, "DNAME to insecure"},
		{"mx.lame.com.", a, fail, false, 22, "delegated to nowhere"},
		{"nowhere.", a, nx, true, -1, "no such TLD"},
		{long(63, 63, 61) + "dnamed.overlong.com.", a, yx, true, -1, "the DNAME makes the name too long, RFC 6672 section 2.2"},
		{"overlong.com.", soa, ok, true, -1, "its zone is fine"},
	} {
		reply := exchange(t, front.Addr(), question(tt.name, tt.qtype))
		what := tt.name + " " + dns.TypeToString[tt.qtype] + ": " + tt.why
		require.Equal(t, dns.RcodeToString[tt.rcode], dns.RcodeToString[reply.Rcode], what)
		require.Equal(t, tt.ad, reply.AuthenticatedData, what)
		require.Equal(t, tt.ede, extended(reply), what)
		require.True(t, reply.RecursionAvailable, what)
		require.False(t, reply.Authoritative, what)
		if tt.rcode == fail {
			require.Empty(t, reply.Answer, what)
		}
	}
}

// long returns labels of those sizes.
func long(sizes ...int) string {
	var name string
	for _, n := range sizes {
		for range n {
			name += "l"
		}
		name += "."
	}
	return name
}

func TestRootFlaws(t *testing.T) {
	for flaw, want := range map[Flaw]Security{
		Sound: Secure, Expired: Bogus, NotYetValid: Bogus, BadSignature: Bogus, NoSignature: Bogus, WrongDS: Bogus, NoKeys: Bogus, NoDenial: Secure,
	} {
		tree := NewTree(Options{})
		tree.Zone(".", ZoneOptions{Flaw: flaw}, "host A 127.0.0.1")
		require.NoError(t, tree.Sign())
		require.Equal(t, want, tree.Verdict("host.", dns.TypeA).Security, flaw)
		require.NotEmpty(t, tree.RootAnchor(), flaw)
	}
	tree := NewTree(Options{})
	require.Equal(t, Insecure, tree.Verdict("host.", dns.TypeA).Security, "nothing is published")
	tree.Zone(".", ZoneOptions{Unsigned: true}, "host A 127.0.0.1")
	require.NoError(t, tree.Sign())
	require.Equal(t, Insecure, tree.Verdict("host.", dns.TypeA).Security, "an unsigned root has no anchor")
	require.Empty(t, tree.RootAnchor())
}
