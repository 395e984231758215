package smtpclient

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// published is what a domain says about itself in DNS and over HTTPS, and what an
// honest look at it must find. The two are declared beside each other.
type published struct {
	domain string              // set by publications
	text   string              // in words
	mx     tlspolicy.DANEState // of the MX lookup if that fails; zero: it does not
	dane   tlspolicy.DANEState
	match  bool // the TLSA records match what the host presents
	sts    tlspolicy.STSState
	report tlspolicy.Result // why the MTA-STS policy is not to be had, if that is reported
	edit   func(d *lab.Domain)
}

// host is the name of the domain's mail host.
func (p *published) host() string { return "mx." + p.domain }

// danePublications are what the DNS may hold about a domain and its host. The first
// seven are one of each state.
func danePublications() []published {
	edit := func(state lab.DNSSEC, records ...lab.TLSA) func(*lab.Domain) {
		return func(d *lab.Domain) { d.DNSSEC, d.Hosts[0].TLSA = state, records }
	}
	faulty := func(f lab.DNSFault) func(*lab.Domain) {
		return func(d *lab.Domain) {
			edit(lab.Signed, lab.TLSAMatch)(d)
			f.Name, f.Type = "_25._tcp.mx."+d.Name, dns.TypeTLSA
			d.DNSFaults = []lab.DNSFault{f}
		}
	}
	faultyMX := func(f lab.DNSFault) func(*lab.Domain) {
		return func(d *lab.Domain) {
			edit(lab.Signed, lab.TLSAMatch)(d)
			f.Name, f.Type = d.Name, dns.TypeMX
			d.DNSFaults = []lab.DNSFault{f}
		}
	}
	return []published{
		{text: "unsigned", dane: tlspolicy.DANEInsecure, edit: edit(lab.Unsigned)},
		{text: "no TLSA", dane: tlspolicy.DANENoTLSA, edit: edit(lab.Signed)},
		{text: "TLSA matches", dane: tlspolicy.DANEUsable, match: true, edit: edit(lab.Signed, lab.TLSAMatch)},
		{text: "TLSA does not match", dane: tlspolicy.DANEUsable, edit: edit(lab.Signed, lab.TLSAMismatch)},
		{text: "TLSA of an unknown kind", dane: tlspolicy.DANEUnusable, edit: edit(lab.Signed, lab.TLSAUnknown)},
		{text: "TLSA with a bad signature", dane: tlspolicy.DANEBogus, edit: faulty(lab.DNSFault{Flaw: dnstest.BadSignature})},
		{text: "TLSA SERVFAIL", dane: tlspolicy.DANELookupError, edit: faulty(lab.DNSFault{Action: dnstest.ServFail})},

		{text: "TLSA in an unsigned zone", dane: tlspolicy.DANEInsecure, edit: edit(lab.Unsigned, lab.TLSAMismatch)},
		{text: "one TLSA of three can be applied, and matches", dane: tlspolicy.DANEUsable, match: true, edit: edit(lab.Signed, lab.TLSAPKIX, lab.TLSAMatch, lab.TLSAUnknown)},
		{text: "one TLSA of two matches", dane: tlspolicy.DANEUsable, match: true, edit: edit(lab.Signed, lab.TLSAMismatch, lab.TLSAMatch)},
		{text: "one TLSA of two can be applied, and does not match", dane: tlspolicy.DANEUsable, edit: edit(lab.Signed, lab.TLSAPKIX, lab.TLSAMismatch)},
		{text: "TLSA too short", dane: tlspolicy.DANEUnusable, edit: edit(lab.Signed, lab.TLSABadLength)},
		{text: "TLSA for the Web", dane: tlspolicy.DANEUnusable, edit: edit(lab.Signed, lab.TLSAPKIX)},
		{text: "TLSA signature has ended", dane: tlspolicy.DANEBogus, edit: faulty(lab.DNSFault{Flaw: dnstest.Expired})},
		{text: "TLSA signature has not begun", dane: tlspolicy.DANEBogus, edit: faulty(lab.DNSFault{Flaw: dnstest.NotYetValid})},
		{text: "TLSA without signature", dane: tlspolicy.DANEBogus, edit: faulty(lab.DNSFault{Flaw: dnstest.NoSignature})},
		{text: "TLSA refused", dane: tlspolicy.DANELookupError, edit: faulty(lab.DNSFault{Action: dnstest.Refused})},
		{text: "TLSA NOTIMP", dane: tlspolicy.DANELookupError, edit: faulty(lab.DNSFault{Action: dnstest.NotImp})},
		{text: "TLSA cut short", dane: tlspolicy.DANELookupError, edit: faulty(lab.DNSFault{Action: dnstest.Truncate})},
		{text: "TLSA alias loop", dane: tlspolicy.DANELookupError, edit: func(d *lab.Domain) { d.DNSSEC = lab.Signed; aliasLoop(d.Name)(d) }},
		{text: "bogus zone", mx: tlspolicy.DANEBogus, edit: edit(lab.Bogus, lab.TLSAMatch)},
		{text: "MX with a bad signature", mx: tlspolicy.DANEBogus, edit: faultyMX(lab.DNSFault{Flaw: dnstest.BadSignature})},
		{text: "MX SERVFAIL", mx: tlspolicy.DANELookupError, edit: faultyMX(lab.DNSFault{Action: dnstest.ServFail})},
	}
}

// stsPublications are the same for MTA-STS. The first six are one of each state.
func stsPublications() []published {
	policy := func(p lab.Policy) func(*lab.Domain) {
		return func(d *lab.Domain) { d.Policy = &p }
	}
	other := []string{"mail.elsewhere.example", "*.mx.elsewhere.example"}
	return []published{
		{text: "no MTA-STS", sts: tlspolicy.STSNoPolicy, edit: func(*lab.Domain) {}},
		{text: "policy host says 404", sts: tlspolicy.STSDiscoveryError, report: tlspolicy.ResultSTSPolicyFetchError, edit: policy(lab.Policy{Fault: lab.PolicyNotFound})},
		{text: "testing", sts: tlspolicy.STSTestingMatch, edit: policy(lab.Policy{Mode: "testing"})},
		{text: "testing, for other hosts", sts: tlspolicy.STSTestingMismatch, edit: policy(lab.Policy{Mode: "testing", MX: other})},
		{text: "enforce", sts: tlspolicy.STSEnforceMatch, edit: policy(lab.Policy{})},
		{text: "enforce, for other hosts", sts: tlspolicy.STSEnforceMismatch, edit: policy(lab.Policy{MX: other})},

		{text: "mode none", sts: tlspolicy.STSNoPolicy, edit: policy(lab.Policy{Mode: "none"})},
		{text: "two TXT records", sts: tlspolicy.STSDiscoveryError, edit: policy(lab.Policy{TXT: []string{"v=STSv1; id=1;", "v=STSv1; id=2;"}})},
		{text: "TXT record without id", sts: tlspolicy.STSDiscoveryError, edit: policy(lab.Policy{TXT: []string{"v=STSv1;"}})},
		{text: "no policy host", sts: tlspolicy.STSDiscoveryError, report: tlspolicy.ResultSTSPolicyFetchError, edit: policy(lab.Policy{NoHost: true})},
		{text: "policy host expired", sts: tlspolicy.STSDiscoveryError, report: tlspolicy.ResultSTSWebPKIInvalid, edit: policy(lab.Policy{Cert: lab.Cert{Kind: lab.CertExpired}})},
		{text: "policy host self-signed", sts: tlspolicy.STSDiscoveryError, report: tlspolicy.ResultSTSWebPKIInvalid, edit: policy(lab.Policy{Cert: lab.Cert{Kind: lab.CertSelfSigned}})},
	}
}

// publications returns every state of DANE with every state of MTA-STS, and the
// other ways to come to a state with some of them.
func publications() (all []published) {
	const states, policies = 7, 6
	inDNS, inSTS := danePublications(), stsPublications()
	both := func(d, s published) {
		p := d
		p.domain = fmt.Sprintf("p%d.example", len(all))
		p.text, p.sts, p.report = d.text+"; "+s.text, s.sts, s.report
		p.edit = func(domain *lab.Domain) {
			d.edit(domain)
			s.edit(domain)
		}
		all = append(all, p)
	}
	for i, d := range inDNS {
		for j, s := range inSTS {
			if i < states && j < policies || j == 0 || i == 0 || s.sts == tlspolicy.STSEnforceMatch {
				both(d, s)
			}
		}
	}
	return all
}

// publish returns the domains that publish all that, whose hosts are of a kind.
func publish(all []published, kind func(i int) lab.Host) (w lab.World) {
	for i := range all {
		p := &all[i]
		h := kind(i)
		h.Name = p.host()
		h.Fault = lab.Fault{}
		if h.Cert.Kind != lab.CertWrongName {
			h.Cert.Names = []string{p.domain, h.Name}
		}
		d := lab.Domain{Name: p.domain, Hosts: []lab.Host{h}}
		p.edit(&d)
		w.Domains = append(w.Domains, d)
	}
	return w
}

// remembering returns a validator like that of the lab, with a cache, for a world
// that does not change.
func remembering(t testing.TB, l *lab.Lab) dnssec.Resolver {
	anchors, err := dnssec.ParseAnchors(strings.NewReader(l.Tree().RootAnchor()))
	require.NoError(t, err)
	r, err := dnssec.NewValidator(dnssec.ValidatorOptions{
		Common: dnssec.Common{Upstream: dnssec.Upstream{Servers: []netip.AddrPort{l.PlainServer().Addr()}, Timeout: 5 * time.Second},
			Cache: dnssec.CacheConfig{FailTTL: time.Hour}},
		Anchors: anchors,
	})
	require.NoError(t, err)
	return r
}
