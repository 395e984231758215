package dane

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/testpki"
	"github.com/stretchr/testify/require"
)

// zone is a dnssec.Static that is easy to fill, and keeps the questions.
type zone struct {
	dnssec.Static
	asked []dnssec.Question
}

func newZone() *zone {
	return &zone{Static: dnssec.Static{
		Answers: map[dnssec.Question]dnssec.Answer{}, Errors: map[dnssec.Question]error{}, Absent: dnssec.Secure,
	}}
}

// A table answers concurrent questions; the list of questions is sorted out
// later.
type recorder struct {
	*zone
	questions chan dnssec.Question
}

func (r recorder) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	r.questions <- dnssec.Question{Name: name, Type: t}
	return r.zone.Lookup(ctx, name, t)
}

func (z *zone) discover(q SMTPQuery) SMTPHost {
	r := recorder{z, make(chan dnssec.Question, 64)}
	host := DiscoverHost(context.Background(), r, q)
	close(r.questions)
	z.asked = nil
	for question := range r.questions {
		z.asked = append(z.asked, question)
	}
	return host
}

// tlsaAsked returns for which base domains TLSA was asked, in order.
func (z *zone) tlsaAsked() []string {
	list := []string{}
	for _, q := range z.asked {
		if q.Type == dnssec.TypeTLSA {
			list = append(list, strings.TrimPrefix(q.Name, "_25._tcp."))
		}
	}
	return list
}

func (z *zone) add(name string, t dnssec.Type, a dnssec.Answer) {
	z.Answers[dnssec.Question{Name: name, Type: t}] = a
}

func (z *zone) fail(name string, t dnssec.Type, kind dnssec.Kind) {
	z.Errors[dnssec.Question{Name: name, Type: t}] = &dnssec.Error{Kind: kind, Name: name, Type: t, EDE: -1}
}

// addr gives a name an IPv4 address, through aliases if some are given.
func (z *zone) addr(name string, security dnssec.Security, chain ...dnssec.Step) {
	a := dnssec.Answer{Security: security, Chain: chain, Records: []dnssec.Record{{TTL: 60, Data: []byte{192, 0, 2, 1}}}}
	if len(chain) > 0 {
		a.Final = dnssec.Secure
	}
	z.add(name, dnssec.TypeA, a)
	z.add(name, dnssec.TypeAAAA, dnssec.Answer{Security: security, Chain: chain, Outcome: dnssec.NoData})
}

func (z *zone) tlsa(base string, security dnssec.Security, rdata ...[]byte) {
	a := dnssec.Answer{Security: security}
	for _, data := range rdata {
		a.Records = append(a.Records, dnssec.Record{TTL: 60, Data: data})
	}
	z.add("_25._tcp."+base, dnssec.TypeTLSA, a)
}

func alias(from, to string, security dnssec.Security) dnssec.Step {
	return dnssec.Step{From: from, To: to, Owner: from, Type: dnssec.TypeCNAME, Security: security}
}

var (
	usableRDATA   = append([]byte{3, 1, 1}, make([]byte, 32)...)
	unusableRDATA = []byte{3, 1, 1, 0}
)

// mx is the answer that leads to MX hosts.
func mx(domain string, security dnssec.Security) *dnssec.Answer {
	return &dnssec.Answer{Name: domain, Canonical: domain, Type: dnssec.TypeMX, Outcome: dnssec.Found, Security: security}
}

const secure, insecure, untrusted = dnssec.Secure, dnssec.Insecure, dnssec.Indeterminate

func TestDiscoverOutcomes(t *testing.T) {
	secureMX := mx("example.com.", secure)
	for _, tc := range []struct {
		why     string
		host    string
		mx      *dnssec.Answer
		fill    func(z *zone)
		outcome Outcome
		reason  DiscoverReason
		base    string
		asked   []string // bases for which TLSA was asked
	}{
		{"usable", "mx.example.", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"usable beside unusable", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.tlsa("mx.example.", secure, unusableRDATA, []byte{3}, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"host of local configuration", "MX.Example", nil, func(z *zone) {
			z.addr("mx.example.", secure)
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"unusable", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.tlsa("mx.example.", secure, unusableRDATA)
		}, OutcomeUnusable, 0, "mx.example", []string{"mx.example."}},
		{"nothing but malformed records is unusable, not absent", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.tlsa("mx.example.", secure, []byte{3, 1}, nil)
		}, OutcomeUnusable, 0, "mx.example", []string{"mx.example."}},
		{"PKIX usages alone are unusable", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.tlsa("mx.example.", secure, append([]byte{1}, usableRDATA[1:]...))
		}, OutcomeUnusable, 0, "mx.example", []string{"mx.example."}},
		{"no TLSA", "mx.example", secureMX, func(z *zone) { z.addr("mx.example.", secure) },
			OutcomeNoTLSA, 0, "", []string{"mx.example."}},
		{"insecure TLSA denial (opt-out)", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.add("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.Answer{Outcome: dnssec.NXDomain, Security: insecure})
		}, OutcomeInsecure, ReasonInsecureTLSA, "", []string{"mx.example."}},
		{"insecure TLSA records do not count", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.tlsa("mx.example.", insecure, usableRDATA)
		}, OutcomeInsecure, ReasonInsecureTLSA, "", []string{"mx.example."}},
		{"TLSA through an insecure alias", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.add("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.Answer{Final: secure,
				Chain: []dnssec.Step{alias("_25._tcp.mx.example.", "tlsa.example.", insecure)}, Records: []dnssec.Record{{Data: usableRDATA}}})
		}, OutcomeInsecure, ReasonInsecureTLSA, "", []string{"mx.example."}},
		{"TLSA through a secure alias", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.add("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.Answer{Final: secure,
				Chain: []dnssec.Step{alias("_25._tcp.mx.example.", "tlsa.example.", secure)}, Records: []dnssec.Record{{Data: usableRDATA}}})
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"TLSA bogus", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.fail("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.KindBogus)
		}, OutcomeBogus, ReasonTLSALookup, "", []string{"mx.example."}},
		{"TLSA timeout", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.fail("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.KindTimeout)
		}, OutcomeLookupError, ReasonTLSALookup, "", []string{"mx.example."}},
		{"found without records", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.add("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.Answer{Outcome: dnssec.Found, Security: secure})
		}, OutcomeLookupError, ReasonTLSALookup, "", []string{"mx.example."}},

		{"insecure address: no TLSA query", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure)
			z.fail("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.KindServFail)
		}, OutcomeInsecure, ReasonInsecureAddress, "", []string{}},
		{"resolver that cannot tell", "mx.example", secureMX, func(z *zone) { z.addr("mx.example.", untrusted) },
			OutcomeInsecure, ReasonResolverUntrusted, "", []string{}},
		{"insecure MX: no TLSA query", "mx.example", mx("example.com.", insecure), func(z *zone) {
			z.addr("mx.example.", secure)
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeInsecure, ReasonInsecureMX, "", []string{}},
		{"insecure denial of MX", "example.com", &dnssec.Answer{Name: "example.com.", Canonical: "example.com.", Outcome: dnssec.NoData, Security: insecure},
			func(z *zone) {
				z.addr("example.com.", secure)
				z.tlsa("example.com.", secure, usableRDATA)
			}, OutcomeInsecure, ReasonInsecureMX, "", []string{}},
		{"MX from a resolver that cannot tell", "mx.example", mx("example.com.", untrusted), func(z *zone) { z.addr("mx.example.", secure) },
			OutcomeInsecure, ReasonResolverUntrusted, "", []string{}},
		{"implicit MX", "example.com", &dnssec.Answer{Name: "example.com.", Canonical: "example.com.", Outcome: dnssec.NoData, Security: secure},
			func(z *zone) {
				z.addr("example.com.", secure)
				z.tlsa("example.com.", secure, usableRDATA)
			}, OutcomeUsable, 0, "example.com", []string{"example.com."}},

		{"address bogus", "mx.example", secureMX, func(z *zone) {
			z.fail("mx.example.", dnssec.TypeA, dnssec.KindServFail)
			z.fail("mx.example.", dnssec.TypeAAAA, dnssec.KindBogus)
		}, OutcomeBogus, ReasonAddressLookup, "", []string{}},
		{"address bogus, the other family", "mx.example", secureMX, func(z *zone) {
			z.fail("mx.example.", dnssec.TypeA, dnssec.KindBogus)
			z.fail("mx.example.", dnssec.TypeAAAA, dnssec.KindServFail)
		}, OutcomeBogus, ReasonAddressLookup, "", []string{}},
		{"address lookups fail", "mx.example", secureMX, func(z *zone) {
			z.fail("mx.example.", dnssec.TypeA, dnssec.KindServFail)
			z.fail("mx.example.", dnssec.TypeAAAA, dnssec.KindTimeout)
		}, OutcomeLookupError, ReasonAddressLookup, "", []string{}},
		{"one family fails, the other has addresses", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure)
			z.fail("mx.example.", dnssec.TypeAAAA, dnssec.KindBogus)
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"one family fails, the other is empty", "mx.example", secureMX, func(z *zone) {
			z.fail("mx.example.", dnssec.TypeA, dnssec.KindTimeout)
			z.add("mx.example.", dnssec.TypeAAAA, dnssec.Answer{Outcome: dnssec.NoData, Security: secure})
		}, OutcomeLookupError, ReasonAddressLookup, "", []string{}},
		{"one family bogus, the other is empty", "mx.example", secureMX, func(z *zone) {
			z.add("mx.example.", dnssec.TypeA, dnssec.Answer{Outcome: dnssec.NoData, Security: secure})
			z.fail("mx.example.", dnssec.TypeAAAA, dnssec.KindBogus)
		}, OutcomeBogus, ReasonAddressLookup, "", []string{}},
		{"no address, proven", "mx.example", secureMX, func(*zone) {}, OutcomeNoAddress, 0, "", []string{}},
		{"no address, unsigned", "mx.example", secureMX, func(z *zone) { z.Absent = insecure }, OutcomeNoAddress, 0, "", []string{}},
		{"no address and an insecure MX", "mx.example", mx("example.com.", insecure), func(*zone) {}, OutcomeNoAddress, 0, "", []string{}},

		{"IP address", "192.0.2.7", secureMX, func(*zone) {}, OutcomeInsecure, ReasonAddressLiteral, "", []string{}},
		{"address literal", "[IPv6:2001:db8::7]", nil, func(*zone) {}, OutcomeInsecure, ReasonAddressLiteral, "", []string{}},
		{"empty host", "", secureMX, func(*zone) {}, OutcomeLookupError, ReasonBadName, "", []string{}},
		{"root", ".", secureMX, func(*zone) {}, OutcomeLookupError, ReasonBadName, "", []string{}},
		{"wildcard", "*.example", secureMX, func(*zone) {}, OutcomeLookupError, ReasonBadName, "", []string{}},
		{"name too long for a TLSA owner: none can exist", strings.Repeat("a.", 125) + "a", secureMX, func(z *zone) {
			z.addr(strings.Repeat("a.", 126), secure)
		}, OutcomeNoTLSA, 0, "", []string{}},

		// Aliases, RFC 7672 section 2.2.3.
		{"secure alias: the expanded name first", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure, alias("mx.example.", "real.example.", secure))
			z.tlsa("real.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "real.example", []string{"real.example."}},
		{"secure alias: then the given name", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure, alias("mx.example.", "real.example.", secure))
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"real.example.", "mx.example."}},
		{"secure alias: an unusable set ends the search", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure, alias("mx.example.", "real.example.", secure))
			z.tlsa("real.example.", secure, unusableRDATA)
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUnusable, 0, "real.example", []string{"real.example."}},
		{"secure alias: an error ends the search", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure, alias("mx.example.", "real.example.", secure))
			z.fail("_25._tcp.real.example.", dnssec.TypeTLSA, dnssec.KindServFail)
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeLookupError, ReasonTLSALookup, "", []string{"real.example."}},
		{"secure alias: insecure records at the first, nothing at the second", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure, alias("mx.example.", "real.example.", secure))
			z.tlsa("real.example.", insecure, usableRDATA)
		}, OutcomeInsecure, ReasonInsecureTLSA, "", []string{"real.example.", "mx.example."}},
		{"secure alias: insecure records at the first, secure ones at the second", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure, alias("mx.example.", "real.example.", secure))
			z.tlsa("real.example.", insecure, usableRDATA)
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"real.example.", "mx.example."}},
		{"alias with nothing anywhere", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure, alias("mx.example.", "real.example.", secure))
		}, OutcomeNoTLSA, 0, "", []string{"real.example.", "mx.example."}},
		{"secure first alias into an insecure zone: the given name alone", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure, alias("mx.example.", "real.example.", secure))
			z.tlsa("real.example.", secure, usableRDATA)
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"secure, insecure, secure", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure, alias("mx.example.", "hop.example.", secure), alias("hop.example.", "real.example.", insecure))
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"insecure first alias", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure, alias("mx.example.", "real.example.", insecure))
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeInsecure, ReasonInsecureAddress, "", []string{}},
		{"first alias to be asked for: secure", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure, alias("mx.example.", "real.example.", untrusted))
			z.add("mx.example.", dnssec.TypeCNAME, dnssec.Answer{Security: secure, Records: []dnssec.Record{{Data: []byte{0}}}})
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"first alias to be asked for: insecure", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure, alias("mx.example.", "real.example.", untrusted))
			z.add("mx.example.", dnssec.TypeCNAME, dnssec.Answer{Security: insecure, Records: []dnssec.Record{{Data: []byte{0}}}})
		}, OutcomeInsecure, ReasonInsecureAddress, "", []string{}},
		{"first alias to be asked for: the resolver cannot tell", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", untrusted, alias("mx.example.", "real.example.", untrusted))
			z.add("mx.example.", dnssec.TypeCNAME, dnssec.Answer{Security: untrusted, Records: []dnssec.Record{{Data: []byte{0}}}})
		}, OutcomeInsecure, ReasonResolverUntrusted, "", []string{}},
		{"first alias to be asked for: fails", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure, alias("mx.example.", "real.example.", untrusted))
			z.fail("mx.example.", dnssec.TypeCNAME, dnssec.KindTimeout)
		}, OutcomeLookupError, ReasonAliasLookup, "", []string{}},
		{"first alias to be asked for: bogus", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure, alias("mx.example.", "real.example.", untrusted))
			z.fail("mx.example.", dnssec.TypeCNAME, dnssec.KindBogus)
		}, OutcomeBogus, ReasonAliasLookup, "", []string{}},
		{"alias to what is no host name", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", secure, alias("mx.example.", "a/b.example.", secure))
		}, OutcomeLookupError, ReasonBadName, "", []string{}},
		{"one secure family makes the host secure", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure)
			z.add("mx.example.", dnssec.TypeAAAA, dnssec.Answer{Security: secure, Records: []dnssec.Record{{Data: make([]byte, 16)}}})
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeUsable, 0, "mx.example", []string{"mx.example."}},
		{"a secure denial of the other family does not", "mx.example", secureMX, func(z *zone) {
			z.addr("mx.example.", insecure)
			z.add("mx.example.", dnssec.TypeAAAA, dnssec.Answer{Security: secure, Outcome: dnssec.NoData})
			z.tlsa("mx.example.", secure, usableRDATA)
		}, OutcomeInsecure, ReasonInsecureAddress, "", []string{}},
	} {
		z := newZone()
		tc.fill(z)
		host := z.discover(SMTPQuery{Host: tc.host, MX: tc.mx})
		require.Equal(t, tc.outcome.String(), host.Outcome.String(), tc.why)
		require.Equal(t, tc.reason.String(), host.Reason.String(), tc.why)
		require.Equal(t, tc.base, host.Base, tc.why)
		require.Equal(t, tc.asked, z.tlsaAsked(), tc.why)
		wellFormed(t, host, tc.why)
	}
}

// wellFormed demands what holds for every SMTPHost.
func wellFormed(t testing.TB, h SMTPHost, why string) {
	t.Helper()
	failed := h.Outcome == OutcomeBogus || h.Outcome == OutcomeLookupError
	require.Equal(t, failed, h.Err != nil, why)
	require.Equal(t, h.Outcome == OutcomeUsable, h.Verifier != nil, why)
	require.Equal(t, h.Outcome == OutcomeUsable || h.Outcome == OutcomeUnusable, h.Base != "", why)
	require.Equal(t, h.Base != "", !h.RefIDs.Empty(), why)
	switch h.Outcome {
	case OutcomeUsable:
		require.Equal(t, h.Base, h.RefIDs.Base(), why)
		require.Contains(t, h.RefIDs.Names(), h.Host, why)
	case OutcomeUnusable:
		require.Equal(t, h.Host, h.RefIDs.Base(), why)
	case OutcomeNoAddress:
		require.Empty(t, h.Addrs.A.IPs, why)
		require.Empty(t, h.Addrs.AAAA.IPs, why)
	}
	if failed {
		var discover *DiscoverError
		require.ErrorAs(t, h.Err, &discover, why)
		require.True(t, discover.Temporary())
		require.True(t, strings.HasPrefix(h.Err.Error(), "dane: "), h.Err.Error())
		var cause *dnssec.Error
		require.Equal(t, h.Reason != ReasonBadName, errors.As(h.Err, &cause), why)
		require.Equal(t, h.Outcome == OutcomeBogus, errors.Is(h.Err, dnssec.KindBogus), why)
	}
}

func TestDiscoverReferenceNames(t *testing.T) {
	aliased := func(z *zone) {
		z.addr("mx.example.", secure, alias("mx.example.", "real.example.", secure))
	}
	atExpansion := func(z *zone) { aliased(z); z.tlsa("real.example.", secure, usableRDATA) }
	atHost := func(z *zone) { aliased(z); z.tlsa("mx.example.", secure, usableRDATA) }
	expandedMX := mx("example.com.", secure)
	expandedMX.Canonical = "example.net."
	odd := mx("a/b.example.", secure)
	odd.Canonical = "example.net."
	implicit := &dnssec.Answer{Name: "mx.example.", Canonical: "other.example.", Outcome: dnssec.NoData, Security: secure}
	for _, tc := range []struct {
		why  string
		fill func(z *zone)
		mx   *dnssec.Answer
		want []string
	}{
		{"MX host, base is the expansion", atExpansion, mx("example.com.", secure), []string{"real.example", "mx.example", "example.com"}},
		{"MX host, base is the host: the expansion is no identifier", atHost, mx("example.com.", secure), []string{"mx.example", "example.com"}},
		{"the domain of the recipient is an alias", atHost, expandedMX, []string{"mx.example", "example.com", "example.net"}},
		{"domain that is no host name is left out", atHost, odd, []string{"mx.example", "example.net"}},
		{"implicit MX", atExpansion, implicit, []string{"real.example", "mx.example"}},
		{"local configuration", atExpansion, nil, []string{"real.example", "mx.example"}},
	} {
		z := newZone()
		tc.fill(z)
		host := z.discover(SMTPQuery{Host: "mx.example", MX: tc.mx})
		require.Equal(t, OutcomeUsable, host.Outcome, tc.why)
		require.Equal(t, tc.want, host.RefIDs.Names(), tc.why)
	}
	z := newZone()
	aliased(z)
	z.tlsa("real.example.", secure, unusableRDATA)
	host := z.discover(SMTPQuery{Host: "mx.example", MX: mx("example.com.", secure)})
	require.Equal(t, []string{"mx.example"}, host.RefIDs.Names(), "unusable: SNI is the host")
}

func TestDiscoverPort(t *testing.T) {
	z := newZone()
	z.addr("relay.example.", secure)
	z.add("_587._tcp.relay.example.", dnssec.TypeTLSA, dnssec.Answer{Security: secure, Records: []dnssec.Record{{Data: usableRDATA}}})
	require.Equal(t, OutcomeUsable, z.discover(SMTPQuery{Host: "relay.example", Port: 587}).Outcome)
	require.Equal(t, OutcomeNoTLSA, z.discover(SMTPQuery{Host: "relay.example"}).Outcome)
}

func TestDiscoverAddresses(t *testing.T) {
	z := newZone()
	z.addr("mx.example.", secure)
	z.fail("mx.example.", dnssec.TypeAAAA, dnssec.KindBogus)
	host := z.discover(SMTPQuery{Host: "mx.example"})
	require.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.1")}, host.Addrs.A.IPs)
	require.ErrorIs(t, host.Addrs.AAAA.Err, dnssec.KindBogus, "noted")
	host = z.discover(SMTPQuery{Host: "[IPv6:2001:db8::7]"})
	require.Equal(t, []netip.Addr{netip.MustParseAddr("2001:db8::7")}, host.Addrs.AAAA.IPs)
	host = z.discover(SMTPQuery{Host: "192.0.2.7."})
	require.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.7")}, host.Addrs.A.IPs)
	require.Empty(t, z.asked, "an IP address is not asked for")
}

func TestDiscoverExpires(t *testing.T) {
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	z := newZone()
	z.add("mx.example.", dnssec.TypeA, dnssec.Answer{Security: secure, Records: []dnssec.Record{{Data: []byte{192, 0, 2, 1}}}, Expires: at(30)})
	z.add("mx.example.", dnssec.TypeAAAA, dnssec.Answer{Security: secure, Outcome: dnssec.NoData, Expires: at(1)})
	z.add("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.Answer{Security: secure, Records: []dnssec.Record{{Data: usableRDATA}}, Expires: at(20)})
	answer := mx("example.com.", secure)
	answer.Expires = at(25)
	require.Equal(t, at(20), z.discover(SMTPQuery{Host: "mx.example", MX: answer}).Expires, "the empty family was not used")
	answer.Expires = at(5)
	require.Equal(t, at(5), z.discover(SMTPQuery{Host: "mx.example", MX: answer}).Expires)
	require.Equal(t, at(20), z.discover(SMTPQuery{Host: "mx.example"}).Expires)
	delete(z.Answers, dnssec.Question{Name: "mx.example.", Type: dnssec.TypeA})
	require.Equal(t, at(1), z.discover(SMTPQuery{Host: "mx.example"}).Expires, "no address: both families are used")
}

func TestDiscoverProfile(t *testing.T) {
	root := testpki.NewRoot("Root")
	z := newZone()
	z.addr("mx.example.", secure)
	z.tlsa("mx.example.", secure, record(t, 0, 1, 1, root.Cert).AppendWire(nil))
	host := z.discover(SMTPQuery{Host: "mx.example", Options: Options{Profile: ProfileGeneric, Roots: testpki.Pool(root)}})
	require.Equal(t, OutcomeUnusable, host.Outcome, "discovery is for SMTP")
}

func TestDiscoverLeavesAnswersAlone(t *testing.T) {
	rdata := [][]byte{slices.Clone(usableRDATA), {3}, slices.Clone(unusableRDATA)}
	z := newZone()
	z.addr("mx.example.", secure)
	z.tlsa("mx.example.", secure, rdata...)
	host := z.discover(SMTPQuery{Host: "mx.example"})
	require.Len(t, host.Records, 2)
	host.Records[0].Data[0] = 99
	require.Equal(t, [][]byte{usableRDATA, {3}, unusableRDATA}, rdata)
	require.Len(t, z.Answers[dnssec.Question{Name: "_25._tcp.mx.example.", Type: dnssec.TypeTLSA}].Records, 3)
}

func TestDiscoverCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	z := newZone()
	z.addr("mx.example.", secure)
	host := DiscoverHost(ctx, z, SMTPQuery{Host: "mx.example"})
	require.Equal(t, OutcomeLookupError, host.Outcome, "giving up proves nothing")
	require.ErrorIs(t, host.Err, context.Canceled)
}

func TestLookupTLSA(t *testing.T) {
	z := newZone()
	z.tlsa("mx.example.", insecure, usableRDATA, []byte{3, 1}, unusableRDATA)
	set, err := LookupTLSA(context.Background(), z, 25, "tcp", "MX.example.")
	require.NoError(t, err)
	require.Len(t, set.Records, 2)
	require.Equal(t, 1, set.Malformed)
	require.Equal(t, insecure, set.Answer.Security)
	_, err = LookupTLSA(context.Background(), z, 25, "tcp6", "mx.example")
	require.Error(t, err)
	z.fail("_25._tcp.mx.example.", dnssec.TypeTLSA, dnssec.KindBogus)
	_, err = LookupTLSA(context.Background(), z, 25, "tcp", "mx.example")
	require.ErrorIs(t, err, dnssec.KindBogus)
}
