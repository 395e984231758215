package dnssec

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestLiarStrips(t *testing.T) {
	runLies(t, []lie{
		{why: "signatures of the data", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer = unsignedOf(m.Answer) }},
		{why: "signatures of the data, and other data", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer = records(l.t, m.Question[0].Name+" A 6.6.6.6") }},
		{why: "other data, signature kept", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(without(m.Answer, dns.TypeA)[:0:0], append(records(l.t, m.Question[0].Name+" A 6.6.6.6"), m.Answer[len(m.Answer)-1])...)
			}},
		{why: "signatures of a denial of a type", name: "mx.zone.TLD.", typ: TypeTLSA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Ns = unsignedOf(m.Ns) }},
		{why: "signatures of a denial of a name", name: "absent.zone.TLD.", typ: TypeTLSA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Ns = unsignedOf(m.Ns) }},
		{why: "signatures of the proofs alone", name: "absent.zone.TLD.", typ: TypeTLSA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Ns = unsignedOf(m.Ns, dns.TypeNSEC, dns.TypeNSEC3) }},
		{why: "the proofs", name: "absent.zone.TLD.", typ: TypeTLSA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Ns = without(m.Ns, dns.TypeNSEC, dns.TypeNSEC3) }},
		{why: "the whole denial", name: "_25._tcp.mx.zone.TLD.", typ: TypeTLSA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer, m.Ns = nil, nil }},
		{why: "everything, and says NXDOMAIN", name: "_25._tcp.mx.zone.TLD.", typ: TypeTLSA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError }},
		{why: "signatures of keys", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "zone.TLD. DNSKEY",
			tell: func(l *liar, m *dns.Msg) { m.Answer = unsignedOf(m.Answer) }},
		{why: "keys", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "zone.TLD. DNSKEY",
			tell: func(l *liar, m *dns.Msg) { m.Answer = nil }},
		{why: "DS", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "zone.TLD. DS",
			tell: func(l *liar, m *dns.Msg) { m.Answer = nil }},
		{why: "signatures of DS", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "zone.TLD. DS",
			tell: func(l *liar, m *dns.Msg) { m.Answer = unsignedOf(m.Answer) }},
		{why: "DS, with the proof of another delegation", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "zone.TLD. DS",
			tell: deniedLike("unsigned.TLD.", TypeDS)},
		{why: "DS, with a denial of another type", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "zone.TLD. DS",
			tell: deniedLike("zone.TLD.", TypeTLSA)},
		{why: "DS, with a denial by the child", name: "mx.child.zone.TLD.", typ: TypeA, want: bogusly, at: "child.zone.TLD. DS",
			tell: deniedLike("child.zone.TLD.", TypeTLSA)},
		{why: "DS, as if the name did not exist", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "zone.TLD. DS",
			tell: deniedLike("absent.TLD.", TypeDS)},
		{why: "the proof of an insecure delegation", name: "mx.unsigned.TLD.", typ: TypeA, want: bogusly, at: "unsigned.TLD. DS",
			tell: func(l *liar, m *dns.Msg) { m.Ns = nil }},
		{why: "the signature of the proof of an insecure delegation", name: "mx.unsigned.TLD.", typ: TypeA, want: bogusly, at: "unsigned.TLD. DS",
			tell: func(l *liar, m *dns.Msg) { m.Ns = unsignedOf(m.Ns) }},
		{why: "everything about a zone, as if it were unsigned", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "*",
			tell: func(l *liar, m *dns.Msg) {
				if dns.IsSubDomain("zone."+tld(m), m.Question[0].Name) {
					m.Answer, m.Ns = without(unsignedOf(m.Answer), dns.TypeDS, dns.TypeDNSKEY), nil
				}
			}},
	})
}

func TestLiarDenies(t *testing.T) {
	runLies(t, []lie{
		{why: "a child's name by the parent's record at the delegation", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: deniedLike("zone.TLD.", TypeDS)},
		{why: "a child's name by the parent's denial of another delegation", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: deniedLike("unsigned.TLD.", TypeDS)},
		{why: "a type at the apex by the parent's record", name: "zone.TLD.", typ: TypeMX, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer, m.Ns = nil, l.delegationProof("zone."+tld(m), tld(m))
			}},
		{why: "a name by the zone beside it", name: "absent.zone.TLD.", typ: TypeA, want: bogusly,
			tell: deniedLike("absent.sibling.TLD.", TypeA)},
		{why: "a name by another zone", name: "absent.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("absent.victim.", TypeA)},
		{why: "a name by the root", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("absent.", TypeA)},
		{why: "a name by the parent", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("absent.TLD.", TypeA)},
		{why: "a name by the child", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("absent.child.zone.TLD.", TypeA)},
		{why: "another name", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("absent.zone.TLD.", TypeA)},
		{why: "another type", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("mx.zone.TLD.", TypeTLSA)},
		{why: "the owner of the covering record", name: "alias.zone.TLD.", typ: TypeCNAME, want: bogusly,
			tell: deniedLike("alias-.zone.TLD.", TypeA)},
		{why: "the next name of the covering record", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("mw.zone.TLD.", TypeA)},
		{why: "a name in the middle by the last record", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("zzz.zone.TLD.", TypeA)},
		{why: "an empty non-terminal", name: "of.ent.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) { m.Rcode = dns.RcodeNameError }},
		{why: "what a wildcard has", name: "any.w.zone.TLD.", typ: TypeA, want: bogusly, tell: deniedLike("any.w.zone.TLD.", TypeTLSA)},
		{why: "what a wildcard has, as if it were not there", name: "any.w.zone.TLD.", typ: TypeA, want: bogusly,
			tell: deniedLike("any.ent.zone.TLD.", TypeA)},
		{why: "a name by a proof without its wildcard part", name: "absent.ent.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				kept := m.Ns[:0]
				seen := 0
				for _, r := range m.Ns { // the proofs come in the order encloser, next closer, wildcard
					if t := r.Header().Rrtype; t == dns.TypeNSEC || t == dns.TypeNSEC3 {
						if seen++; seen == map[bool]int{true: 2, false: 3}[t == dns.TypeNSEC] {
							continue
						}
					}
					kept = append(kept, r)
				}
				if m.Ns = kept; seen == 1 {
					m.Ns = nil // one record proved it all
				}
			}},
		{why: "NXDOMAIN with a proof of no data", name: "mx.zone.TLD.", typ: TypeTLSA, want: "secure",
			tell: func(l *liar, m *dns.Msg) { m.Rcode = dns.RcodeNameError }},
		{why: "no data with a proof of NXDOMAIN", name: "absent.zone.TLD.", typ: TypeTLSA, want: "secure",
			tell: func(l *liar, m *dns.Msg) { m.Rcode = dns.RcodeSuccess }},
		{why: "records, but NXDOMAIN", name: "mx.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) { m.Rcode = dns.RcodeNameError }},
	})
}

func TestLiarWithWildcards(t *testing.T) {
	runLies(t, []lie{
		{why: "the proof left out", name: "any.w.zone.TLD.", typ: TypeA, want: bogusly, tell: func(l *liar, m *dns.Msg) { m.Ns = nil }},
		{why: "the signature replayed for an existing name", name: "host.w.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				other := l.truth("any.w.zone."+tld(m), TypeA)
				m.Answer = rename(other.Answer, "any.w.zone."+tld(m), m.Question[0].Name)
				m.Ns = other.Ns
			}},
		{why: "the signature replayed for a name with its own proof of no data", name: "host.w.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = rename(l.truth("any.w.zone."+tld(m), TypeA).Answer, "any.w.zone."+tld(m), m.Question[0].Name)
			}},
		{why: "the signature replayed outside of the wildcard", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				other := l.truth("any.w.zone."+tld(m), TypeA)
				m.Answer, m.Ns = rename(other.Answer, "any.w.zone."+tld(m), m.Question[0].Name), other.Ns
			}},
		{why: "the signature replayed below an existing name", name: "x.host.w.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				other := l.truth("any.w.zone."+tld(m), TypeA)
				m.Answer = rename(other.Answer, "any.w.zone."+tld(m), m.Question[0].Name)
				m.Ns = append(m.Ns, other.Ns...)
			}},
		{why: "the signature replayed in an insecure child", name: "mx.unsigned.TLD.", typ: TypeTXT, want: "insecure",
			tell: func(l *liar, m *dns.Msg) {
				m.Ns = append(m.Ns, l.truth("any.w.zone."+tld(m), TypeA).Ns...)
			}},
		{why: "an NSEC record made from a wildcard", name: "host.w.zone.com.", typ: TypeTXT, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				// The NSEC record of *.w has no TXT.
				other := l.truth("any.w.zone.com.", TypeTXT)
				m.Answer, m.Ns = nil, rename(other.Ns, "*.w.zone.com.", m.Question[0].Name)
			}},
		{why: "deeper than one label", name: "a.b.w.zone.TLD.", typ: TypeA, want: "secure", tell: func(l *liar, m *dns.Msg) {}},
		{why: "the wildcard itself", name: "*.w.zone.TLD.", typ: TypeA, want: "secure", tell: func(l *liar, m *dns.Msg) {}},
		{why: "a CNAME from a wildcard without proof", name: "any.cw.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Ns = nil }},
	})
}

func TestLiarWithAliases(t *testing.T) {
	runLies(t, []lie{
		{why: "to a forged denial", name: "alias.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) {
				other := l.truth("mx.zone."+tld(m), TypeTLSA)
				m.Answer, m.Ns = owned(m.Answer, "alias.zone."+tld(m)), unsignedOf(other.Ns)
			}},
		{why: "to a forged denial everywhere", name: "alias.zone.TLD.", typ: TypeA, want: bogusly, at: "*",
			tell: func(l *liar, m *dns.Msg) {
				if m.Question[0].Qtype == dns.TypeA {
					other := l.truth("mx.zone."+tld(m), TypeTLSA)
					m.Answer, m.Ns = owned(m.Answer, "alias.zone."+tld(m)), unsignedOf(other.Ns)
				}
			}},
		{why: "to a forged address", name: "alias.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(owned(m.Answer, "alias.zone."+tld(m)), records(l.t, "mx.zone."+tld(m)+" A 6.6.6.6")...)
			}},
		{why: "to a forged address in another zone", name: "far.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(owned(m.Answer, "far.zone."+tld(m)), records(l.t, "mx.sibling."+tld(m)+" A 6.6.6.6")...)
			}},
		{why: "to an address that the wrong zone signs", name: "far.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(owned(m.Answer, "far.zone."+tld(m)), l.sign("zone."+tld(m), nil, "mx.sibling."+tld(m)+" A 6.6.6.6")...)
			}},
		{why: "from an insecure zone to a forged address", name: "back.unsigned.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = records(l.t, m.Question[0].Name+" CNAME mx.zone."+tld(m), "mx.zone."+tld(m)+" A 6.6.6.6")
			}},
		{why: "from an insecure zone to a forged denial", name: "back.unsigned.TLD.", typ: TypeA, want: bogusly, at: "*",
			tell: func(l *liar, m *dns.Msg) {
				if m.Question[0].Qtype == dns.TypeA {
					m.Answer, m.Rcode = owned(m.Answer, "back.unsigned."+tld(m)), dns.RcodeNameError
				}
			}},
		{why: "in place of DS records that are proven not to be there", name: "unsigned.TLD.", typ: TypeDS, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer, m.Ns = records(l.t, m.Question[0].Name+" CNAME mx.unsigned."+tld(m)), nil
			}},
		{why: "another target", name: "alias.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer[0].(*dns.CNAME).Target = "mx.unsigned." + tld(m) }},
		{why: "the target left out", name: "far.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) { m.Answer = owned(m.Answer, "far.zone."+tld(m)) }},
		{why: "a CNAME of the zone where data is", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = rename(owned(l.truth("alias.zone."+tld(m), TypeA).Answer, "alias.zone."+tld(m)), "alias.zone."+tld(m), m.Question[0].Name)
			}},
		{why: "a CNAME beside data", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(m.Answer, records(l.t, m.Question[0].Name+" CNAME evil.unsigned."+tld(m))...)
			}},
		{why: "two CNAMEs", name: "alias.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(m.Answer, records(l.t, m.Question[0].Name+" CNAME evil.unsigned."+tld(m))...)
			}},
		{why: "data where a CNAME is", name: "alias.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer = rename(m.Answer, "mx.zone."+tld(m), "alias.zone."+tld(m))[2:] }},
		{why: "the synthesized CNAME changed", name: "x.dn.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				for _, r := range m.Answer {
					if c, ok := r.(*dns.CNAME); ok {
						c.Target = "evil.unsigned." + tld(m)
					}
				}
			}},
		{why: "the synthesized CNAME left out", name: "x.dn.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) { m.Answer = without(m.Answer, dns.TypeCNAME) }},
		{why: "the DNAME left out", name: "x.dn.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer = without(m.Answer, dns.TypeDNAME) }},
		{why: "the DNAME changed", name: "x.dn.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = without(m.Answer, dns.TypeCNAME)
				m.Answer[0].(*dns.DNAME).Target = "unsigned." + tld(m)
			}},
		{why: "a DNAME without signature", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer = records(l.t, "zone."+tld(m)+" DNAME unsigned."+tld(m)) }},
		{why: "a DNAME made from a wildcard", name: "q.any.w.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = l.sign("zone."+tld(m), func(s *dns.RRSIG) { s.Labels = 3 }, "any.w.zone."+tld(m)+" DNAME unsigned."+tld(m))
			}},
		{why: "a loop", name: "loop1.zone.TLD.", typ: TypeA, want: "alias loop", tell: func(l *liar, m *dns.Msg) {}},
		{why: "17 hops", name: "h1.zone.TLD.", typ: TypeA, want: "alias loop", tell: func(l *liar, m *dns.Msg) {}},
		{why: "16 hops", name: "h2.zone.TLD.", typ: TypeA, want: "secure", tell: func(l *liar, m *dns.Msg) {}},
	})
}

func TestLiarSigns(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) uint32 { return uint32(now.Add(d).Unix()) }
	year := 365 * 24 * time.Hour
	signed := func(zone string, change func(*dns.RRSIG)) func(l *liar, m *dns.Msg) {
		return func(l *liar, m *dns.Msg) {
			m.Answer = l.sign(strings.ReplaceAll(zone, "TLD.", tld(m)), change, m.Question[0].Name+" 300 A 6.6.6.6")
		}
	}
	runLies(t, []lie{
		{why: "a signer that is only a suffix of the text", name: "mx.victim.", typ: TypeA, want: bogusly, at: "mx.victim. A", tell: signed("tim.", nil)},
		{why: "a signer that says it is the zone", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("sibling.TLD.", func(s *dns.RRSIG) { s.SignerName = "zone." + s.Hdr.Name[len(s.Hdr.Name)-4:] })},
		{why: "a signer beside the zone", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, tell: signed("sibling.TLD.", nil)},
		{why: "a signer below the owner", name: "zone.TLD.", typ: TypeA, want: bogusly, tell: signed("child.zone.TLD.", nil)},
		{why: "a signer that is no zone", name: "_25._tcp.mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.SignerName = strings.TrimPrefix(s.Hdr.Name, "_25._tcp.") })},
		{why: "a date in the past", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Inception, s.Expiration = at(-year), at(-time.Hour) })},
		{why: "a date in the future", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Inception, s.Expiration = at(time.Hour), at(year) })},
		{why: "dates in the wrong order", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Inception, s.Expiration = at(time.Hour), at(-time.Hour) })},
		{why: "dates that wrap around", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Inception, s.Expiration = at(-time.Hour), at(-time.Hour)+1<<31 })},
		{why: "dates from 1970 to 2106", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Inception, s.Expiration = 0, 1<<32-1 })},
		{why: "too many labels", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Labels = 4 })},
		{why: "fewer labels than the zone", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Labels = 1 })},
		{why: "another algorithm", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Algorithm = 8 })},
		{why: "an unknown algorithm", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: signed("zone.TLD.", func(s *dns.RRSIG) { s.Algorithm = 250 })},
		{why: "another type", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				for _, r := range m.Answer {
					if s, ok := r.(*dns.RRSIG); ok {
						s.TypeCovered = dns.TypeTXT
					}
				}
			}},
		{why: "DS records with the child's key", name: "mx.zone.TLD.", typ: TypeA, want: bogusly, at: "zone.TLD. DS",
			tell: func(l *liar, m *dns.Msg) {
				set := without(unsignedOf(m.Answer), dns.TypeRRSIG)
				sig, err := l.tree.Lookup("zone."+tld(m)).Forge(set, nil)
				require.NoError(l.t, err)
				m.Answer = append(set, sig)
			}},
		{why: "an interval that is empty", name: "mx.zone.com.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer, m.Ns = nil, l.sign("zone.com.", nil, "alias.zone.com. 300 NSEC alias.zone.com. A")
			}},
		{why: "an interval that leads back", name: "mx.zone.com.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer, m.Ns = nil, l.sign("zone.com.", nil, "b.zone.com. 300 NSEC alias.zone.com. A")
			}},
		{why: "an interval that leads out of the zone", name: "mx.zone.com.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer, m.Ns = nil, l.sign("zone.com.", nil, "b.zone.com. 300 NSEC zzz.com. A")
			}},
	})
}

func TestLiarDecorates(t *testing.T) {
	runLies(t, []lie{
		{why: "AD on unsigned data", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer, m.AuthenticatedData = unsignedOf(m.Answer), true }},
		{why: "AD in an insecure zone", name: "mx.unsigned.TLD.", typ: TypeA, want: "insecure", at: "*",
			tell: func(l *liar, m *dns.Msg) { m.AuthenticatedData = true }},
		{why: "AD on SERVFAIL", name: "mx.zone.TLD.", typ: TypeA, want: "resolver failed",
			tell: func(l *liar, m *dns.Msg) { m.Rcode, m.AuthenticatedData = dns.RcodeServerFailure, true }},
		{why: "duplicates", name: "mx.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) { m.Answer = append(m.Answer, m.Answer...) }},
		{why: "mixed case", name: "alias.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) {
				for _, r := range m.Answer {
					r.Header().Name = strings.ToUpper(r.Header().Name)
					switch r := r.(type) {
					case *dns.RRSIG:
						r.SignerName = strings.ToUpper(r.SignerName)
					case *dns.CNAME:
						r.Target = strings.ToUpper(r.Target)
					}
				}
			}},
		{why: "another order", name: "alias2.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) {
				rand.Shuffle(len(m.Answer), func(i, j int) { m.Answer[i], m.Answer[j] = m.Answer[j], m.Answer[i] })
			}},
		{why: "no compression", name: "alias2.zone.TLD.", typ: TypeA, want: "secure", tell: func(l *liar, m *dns.Msg) { m.Compress = false }},
		{why: "sections swapped", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) { m.Answer, m.Ns = m.Ns, m.Answer }},
		{why: "foreign data", name: "mx.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(m.Answer, records(l.t, "mx.victim. A 6.6.6.6", "evil. TXT x")...)
				m.Ns = append(m.Ns, records(l.t, "zone.com. NS evil.", ". NS evil.", "com. DS 1 8 2 00")...)
				m.Extra = append(m.Extra, records(l.t, "evil. A 6.6.6.6", "mx.zone.com. A 6.6.6.6")...)
			}},
		{why: "records of another class", name: "mx.zone.TLD.", typ: TypeA, want: "secure",
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(m.Answer, records(l.t, m.Question[0].Name+" CH A 6.6.6.6")...)
			}},
		{why: "an unsigned record in a signed set", name: "mx.zone.TLD.", typ: TypeA, want: bogusly,
			tell: func(l *liar, m *dns.Msg) {
				m.Answer = append(m.Answer, records(l.t, m.Question[0].Name+" A 6.6.6.6")...)
			}},
		{why: "a record taken from a signed set", name: "zone.TLD.", typ: TypeDNSKEY, want: "secure", tell: func(l *liar, m *dns.Msg) {}},
		{why: "signatures in an insecure zone", name: "mx.unsigned.TLD.", typ: TypeA, want: "insecure",
			tell: func(l *liar, m *dns.Msg) {
				sig := l.sign("sibling."+tld(m), func(s *dns.RRSIG) { s.SignerName = tld(m) }, m.Question[0].Name+" A 127.0.0.1")
				m.Answer = append(m.Answer, sig[1])
			}},
	})
}

// The TTL that counts is the one that was signed.
func TestLiarRaisesTTL(t *testing.T) {
	tree := liarTree(t)
	l := newLiar(t, tree)
	l.server.Edit(func(q, m *dns.Msg) *dns.Msg {
		for _, r := range append(slices.Clone(m.Answer), m.Ns...) {
			r.Header().Ttl = 1 << 30
		}
		return m
	})
	now := time.Now()
	v := newTestValidator(t, tree, func(o *ValidatorOptions) { o.Now = func() time.Time { return now } }, l.server.Addr())
	for _, q := range []Question{
		{"mx.zone.com.", TypeA}, {"mx.zone.com.", TypeTLSA}, {"absent.zone.org.", TypeA}, {"alias.zone.com.", TypeA}, {"any.w.zone.com.", TypeA},
	} {
		a, err := ask(v, q.Name, q.Type)
		require.NoError(t, err)
		require.False(t, a.Expires.After(now.Add(300*time.Second)), "%v expires %s", q, a.Expires.Sub(now))
		for _, r := range a.Records {
			require.Equal(t, uint32(300), r.TTL)
		}
		for _, s := range a.Chain {
			require.Equal(t, 300*time.Second, s.TTL)
		}
	}
	for _, e := range v.zones.entries {
		require.False(t, e.Value.(*zoneEntry).expires.After(now.Add(300*time.Second)))
	}
}
