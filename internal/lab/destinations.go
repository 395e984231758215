package lab

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/smtpsec/smtpsec/internal/dnstest"
)

// Facts are what an honest look at one mail host must find. The texts are those in
// which the delivery policy names its states.
type Facts struct {
	Host string
	// DANE is insecure, no-tlsa, unusable, usable, bogus or lookup-error.
	DANE string
	// STS is no-policy, discovery-error, or enforce- or testing- with mx-match or
	// mx-mismatch.
	STS string
	// TLS is no-esmtp, not-offered, refused, handshake-failed or established; or
	// unreachable: no SMTP conversation at all, the next host's turn in every mode.
	TLS string
	// Chain is ok, untrusted or expired; unchecked without a session.
	Chain string
	// DANEMatch: the chain satisfies the TLSA records. The others are the certificate's
	// names: STSName fits the MX host by dNSName; VerifyName fits the recipient domain,
	// or the MX host by common name alone; HostedName fits either by dNSName.
	DANEMatch, STSName, VerifyName, HostedName bool
}

// Destination is a recipient domain with a story.
type Destination struct {
	Domain string
	Story  string // one line for people
	// MX is the state of the MX lookup: secure, insecure, bogus or lookup-error. With
	// the last two there is no list of hosts, whatever the mode.
	MX    string
	Hosts []Facts // in MX order
}

// story is one entry of the ready-made world. The domain's facts are declared by
// hand, beside the declaration that must produce them.
type story struct {
	text   string
	mx     string
	domain Domain
	facts  []Facts
}

// Destinations returns the ready-made world and, in the order in which they are
// worth reading, its recipient domains. No story costs a timeout.
func Destinations() (World, []Destination) {
	var w World
	var all []Destination
	for _, s := range stories() {
		w.Domains = append(w.Domains, s.domain)
		for i := range s.facts {
			if s.facts[i].Host == "" {
				s.facts[i].Host = s.domain.Hosts[i].Name
			}
			if s.facts[i].Chain == "" {
				s.facts[i].Chain = "unchecked"
			}
		}
		if s.text != "" {
			all = append(all, Destination{Domain: s.domain.Name, Story: s.text, MX: s.mx, Hosts: s.facts})
		}
	}
	return w, all
}

// both is a certificate for the domain and for its mail host mx.<domain>.
func both(kind CertKind, domain string) Cert {
	return Cert{Kind: kind, Names: []string{domain, "mx." + domain}}
}

// one declares a domain with the mail host mx.<domain>, changed by edit.
func one(name string, state DNSSEC, cert CertKind, edit func(*Domain, *Host)) Domain {
	d := Domain{Name: name, DNSSEC: state}
	h := Host{Name: "mx." + name, Cert: both(cert, name)}
	if edit != nil {
		edit(&d, &h)
	}
	d.Hosts = []Host{h}
	return d
}

// broken is one with a fault and otherwise nothing wrong.
func broken(name string, f Fault) Domain {
	return one(name, Unsigned, CertGood, func(_ *Domain, h *Host) { h.Fault = f })
}

// withTLS is the facts of a host with a TLS session; names tells whether the
// certificate is for the domain and the host.
func withTLS(dane, sts, chain string, names bool) Facts {
	return Facts{DANE: dane, STS: sts, TLS: "established", Chain: chain, STSName: names, VerifyName: names, HostedName: names}
}

// noSession is the facts of an insecure host without policy that gives no session.
func noSession(tls string) []Facts {
	return []Facts{{DANE: "insecure", STS: "no-policy", TLS: tls}}
}

func stories() []story {
	return slices.Concat(plainStories(), daneStories(), stsStories(), hostStories())
}

// plainStories are domains without DNSSEC and without policy.
func plainStories() []story {
	return []story{
		{"offers STARTTLS, good certificate for the domain and its mail host", "insecure",
			one("good.example", Unsigned, CertGood, nil),
			[]Facts{withTLS("insecure", "no-policy", "ok", true)}},
		{"does not offer STARTTLS", "insecure", broken("plain.example", NoSTARTTLS()), noSession("not-offered")},
		{"does not know EHLO", "insecure", broken("ancient.example", NoESMTP(502)), noSession("no-esmtp")},
		{"certificate is self-signed", "insecure",
			one("self-signed.example", Unsigned, CertSelfSigned, nil),
			[]Facts{withTLS("insecure", "no-policy", "untrusted", true)}},
		{"certificate has expired", "insecure",
			one("expired.example", Unsigned, CertExpired, nil),
			[]Facts{withTLS("insecure", "no-policy", "expired", true)}},
		{"certificate is for another name", "insecure",
			one("wrong-name.example", Unsigned, CertWrongName, func(_ *Domain, h *Host) { h.Cert.Names = nil }),
			[]Facts{withTLS("insecure", "no-policy", "ok", false)}},
		{"answers STARTTLS with 454", "insecure", broken("refusing.example", STARTTLSCode(454)), noSession("refused")},
		{"somebody injects a reply behind the 220 to STARTTLS", "insecure",
			broken("injected.example", Injected("250 2.0.0 ok\r\n", false)), noSession("handshake-failed")},
		{"resets the connection in the TLS handshake", "insecure",
			broken("reset.example", HandshakeReset()), noSession("handshake-failed")},
	}
}

// daneStories are domains whose zone is signed, or should be.
func daneStories() []story {
	const name = "dane-lookup.example"
	return []story{
		{"signed zone, TLSA 3 1 1 matches a self-signed certificate", "secure",
			one("dane.example", Signed, CertSelfSigned, func(_ *Domain, h *Host) { h.TLSA = []TLSA{TLSAMatch} }),
			[]Facts{matched(withTLS("usable", "no-policy", "untrusted", true))}},
		{"signed zone, TLSA 2 1 1 matches the certificate's issuer", "secure",
			one("dane-ta.example", Signed, CertGood, func(_ *Domain, h *Host) { h.TLSA = []TLSA{TLSAMatchTA} }),
			[]Facts{matched(withTLS("usable", "no-policy", "ok", true))}},
		{"signed zone, TLSA does not match a certificate that is otherwise good", "secure",
			one("dane-mismatch.example", Signed, CertGood, func(_ *Domain, h *Host) { h.TLSA = []TLSA{TLSAMismatch} }),
			[]Facts{withTLS("usable", "no-policy", "ok", true)}},
		{"signed zone, the only TLSA record is of a kind that mail ignores", "secure",
			one("dane-unusable.example", Signed, CertGood, func(_ *Domain, h *Host) { h.TLSA = []TLSA{TLSAPKIX} }),
			[]Facts{withTLS("unusable", "no-policy", "ok", true)}},
		{"signed zone without TLSA record", "secure",
			one("signed.example", Signed, CertGood, nil),
			[]Facts{withTLS("no-tlsa", "no-policy", "ok", true)}},
		{"signed zone, TLSA lookup ends in SERVFAIL", "secure",
			one(name, Signed, CertGood, func(d *Domain, h *Host) {
				h.TLSA = []TLSA{TLSAMatch}
				d.DNSFaults = []DNSFault{{Name: "_25._tcp.mx." + name, Type: dns.TypeTLSA, Action: dnstest.ServFail}}
			}),
			[]Facts{matched(withTLS("lookup-error", "no-policy", "ok", true))}},
		{"signed zone, signature of the TLSA record is forged", "secure",
			one("dane-bogus.example", Signed, CertGood, func(d *Domain, h *Host) {
				h.TLSA = []TLSA{TLSAMatch}
				d.DNSFaults = []DNSFault{{Name: "_25._tcp.mx.dane-bogus.example", Type: dns.TypeTLSA, Flaw: dnstest.BadSignature}}
			}),
			[]Facts{matched(withTLS("bogus", "no-policy", "ok", true))}},
		{"signed zone whose signatures have all expired", "bogus",
			one("bogus.example", Bogus, CertGood, nil), nil},
	}
}

func matched(f Facts) Facts {
	f.DANEMatch = true
	return f
}

// stsStories are domains with an MTA-STS policy.
func stsStories() []story {
	policy := func(p Policy) func(*Domain, *Host) {
		return func(d *Domain, h *Host) {
			d.Policy = &p
			h.Cert.Names = []string{h.Name} // what the policy asks for, and no more
		}
	}
	// A certificate for the mail host alone: not what Required-Verify looks for.
	hostOnly := func(sts, chain string) []Facts {
		return []Facts{{DANE: "insecure", STS: sts, TLS: "established", Chain: chain, STSName: true, HostedName: true}}
	}
	return []story{
		{"MTA-STS enforce, and everything as the policy says", "insecure",
			one("sts.example", Unsigned, CertGood, policy(Policy{})),
			hostOnly("enforce-mx-match", "ok")},
		{"MTA-STS enforce, but the MX host is not in the policy", "insecure",
			one("sts-mx.example", Unsigned, CertGood, policy(Policy{MX: []string{"mail.sts-mx.example", "*.backup.sts-mx.example"}})),
			hostOnly("enforce-mx-mismatch", "ok")},
		{"MTA-STS enforce, but the mail host's certificate is self-signed", "insecure",
			one("sts-cert.example", Unsigned, CertSelfSigned, policy(Policy{})),
			hostOnly("enforce-mx-match", "untrusted")},
		{"MTA-STS testing, and the mail host's certificate is self-signed", "insecure",
			one("sts-testing.example", Unsigned, CertSelfSigned, policy(Policy{Mode: "testing"})),
			hostOnly("testing-mx-match", "untrusted")},
		{"MTA-STS record, but the policy host's certificate has expired", "insecure",
			one("sts-broken.example", Unsigned, CertGood, policy(Policy{Cert: Cert{Kind: CertExpired}})),
			hostOnly("discovery-error", "ok")},
	}
}

// hostStories are about which host it is.
func hostStories() []story {
	two := Domain{Name: "two-hosts.example", Hosts: []Host{
		{Name: "mx1.two-hosts.example", Fault: Refused()},
		{Name: "mx2.two-hosts.example", Cert: Cert{Names: []string{"two-hosts.example", "mx2.two-hosts.example"}}},
	}}
	mixed := Domain{Name: "mixed.example", DNSSEC: Signed, Hosts: []Host{
		{Name: "mx1.mixed.example", Cert: Cert{Kind: CertSelfSigned}, TLSA: []TLSA{TLSAMismatch}},
		{Name: "mx2.mixed.example", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::25"), netip.MustParseAddr("203.0.113.25")},
			Cert: Cert{Kind: CertSelfSigned}, TLSA: []TLSA{TLSAMatch}},
	}}
	provider := Domain{Name: "provider.example", Hosts: []Host{{Name: "mx1.provider.example"}}}
	hosted := Domain{Name: "hosted.example", MX: []MX{{Host: "mx1.provider.example", Pref: 10}}}
	// A certificate for the mail host alone.
	hostOnly := func(host, dane, chain string) Facts {
		return Facts{Host: host, DANE: dane, STS: "no-policy", TLS: "established", Chain: chain, STSName: true, HostedName: true}
	}
	return []story{
		{"two mail hosts, of which the first is down", "insecure", two, []Facts{
			{DANE: "insecure", STS: "no-policy", TLS: "unreachable"},
			withTLS("insecure", "no-policy", "ok", true)}},
		{"two mail hosts, TLSA matches on the second only", "secure", mixed, []Facts{
			hostOnly("", "usable", "untrusted"),
			matched(hostOnly("", "usable", "untrusted"))}},
		{"", "", provider, nil},
		{"hosted by a provider, whose certificate has only the provider's name", "insecure", hosted,
			[]Facts{hostOnly("mx1.provider.example", "insecure", "ok")}},
	}
}
