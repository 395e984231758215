package main

import (
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/internal/lab"
)

// labChoice are the domains that -lab looks at if none is named.
var labChoice = []string{"dane.example", "sts-mx.example", "dane-mismatch.example", "expired.example", "old-tls.example", "half-dead.example"}

// labWorld is the ready-made world of the lab, and some domains more whose owners have
// something to mend.
func labWorld() lab.World {
	w, _ := lab.Destinations()
	one := func(name string, edit func(d *lab.Domain, h *lab.Host)) lab.Domain {
		d := lab.Domain{Name: name, Hosts: []lab.Host{{Name: "mx." + name}}}
		if edit != nil {
			edit(&d, &d.Hosts[0])
		}
		return d
	}
	w.Domains = append(w.Domains,
		one("old-tls.example", func(d *lab.Domain, h *lab.Host) { h.TLS = lab.TLS10Only() }),
		one("half-dead.example", func(d *lab.Domain, h *lab.Host) {
			// Nobody listens at the second address.
			d.Records = []string{"mx AAAA 2001:db8:dead::25"}
		}),
		one("unsigned-tlsa.example", func(d *lab.Domain, h *lab.Host) { h.TLSA = []lab.TLSA{lab.TLSAMatch} }),
		one("short-age.example", func(d *lab.Domain, h *lab.Host) { d.Policy = &lab.Policy{MaxAge: time.Hour} }),
		one("early.example", func(d *lab.Domain, h *lab.Host) { h.Cert.Kind = lab.CertNotYetValid }),
		one("no-chain.example", func(d *lab.Domain, h *lab.Host) { h.Cert.Kind = lab.CertNoIntermediate }),
		one("sha1.example", func(d *lab.Domain, h *lab.Host) { h.Cert.Kind = lab.CertSHA1 }),
		one("two-records.example", func(d *lab.Domain, h *lab.Host) {
			d.Policy = &lab.Policy{TXT: []string{"v=STSv1; id=1;", "v=STSv1; id=2;"}}
		}),
		one("bad-policy.example", func(d *lab.Domain, h *lab.Host) { d.Policy = &lab.Policy{Fault: lab.PolicyMalformed} }),
		one("no-policy-file.example", func(d *lab.Domain, h *lab.Host) { d.Policy = &lab.Policy{Fault: lab.PolicyNotFound} }),
		one("spare-pattern.example", func(d *lab.Domain, h *lab.Host) {
			d.Policy = &lab.Policy{MX: []string{"mx.spare-pattern.example", "old.spare-pattern.example"}}
			d.Records = []string{`_smtp._tls TXT "v=TLSRPTv1; rua=nowhere"`}
		}),
		one("silent.example", func(d *lab.Domain, h *lab.Host) { h.Fault = lab.Junk(lab.AtGreeting) }),
		one("breaks.example", func(d *lab.Domain, h *lab.Host) { h.Fault = lab.DropInsideTLS() }),
		one("dead.example", func(d *lab.Domain, h *lab.Host) { h.Fault = lab.Refused() }),
		lab.Domain{Name: "null.example", MX: []lab.MX{{Host: "."}}},
		// Somebody forges the null MX: the policy says that the domain takes mail.
		lab.Domain{Name: "forged-null.example", MX: []lab.MX{{Host: "."}}, Policy: &lab.Policy{MX: []string{"mx.forged-null.example"}}},
		lab.Domain{Name: "two-faults.example", Policy: &lab.Policy{}, Hosts: []lab.Host{
			{Name: "mx1.two-faults.example", Fault: lab.NoSTARTTLS()},
			{Name: "mx2.two-faults.example", Cert: lab.Cert{Kind: lab.CertSelfSigned}}}},
		lab.Domain{Name: "no-address.example", DNSSEC: lab.Signed, MX: []lab.MX{{Host: "nowhere.no-address.example", Pref: 10}}},
		lab.Domain{Name: "implicit.example", NoMX: true, Hosts: []lab.Host{{Name: "implicit.example",
			Addrs: []netip.Addr{netip.MustParseAddr("2001:db8:25::1")}}}},
		lab.Domain{Name: "alias.example", DNSSEC: lab.Signed, MX: []lab.MX{{Host: "mail.alias.example", Pref: 10}},
			Records: []string{"mail CNAME mx"}, Hosts: []lab.Host{{Name: "mx.alias.example", TLSA: []lab.TLSA{lab.TLSAMatch}}}},
		lab.Domain{Name: "both.example", DNSSEC: lab.Signed, Policy: &lab.Policy{},
			Hosts:   []lab.Host{{Name: "mx.both.example", TLSA: []lab.TLSA{lab.TLSAMatch, lab.TLSAMatchTA}}},
			Records: []string{`_smtp._tls TXT "v=TLSRPTv1; rua=mailto:reports@both.example"`}},
	)
	return w
}
