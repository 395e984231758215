package smtpclient

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/dnstest"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// aliasLoop makes the owner of the TLSA records of mx.<domain> an alias that leads
// back to itself.
func aliasLoop(domain string) func(d *lab.Domain) {
	return func(d *lab.Domain) {
		d.Hosts[0].TLSA = nil
		owner := "_25._tcp.mx." + domain + "."
		d.Records = []string{owner + " IN CNAME round." + domain + ".", "round IN CNAME " + owner}
	}
}

// TestDNSFaults: one failed or forged answer at a time, in an otherwise secure
// world with TLSA records that match.
func TestDNSFaults(t *testing.T) {
	const ( // the ends of a Dial
		verified = tlspolicy.ReasonDANEVerified
		bogus    = tlspolicy.ReasonDANEBogus
		failed   = tlspolicy.ReasonDANELookupError
		plain    = tlspolicy.ReasonTLSUnauthenticated
		none     = tlspolicy.ReasonNone // no session, and not by policy
	)
	servfail := func(name string, types ...uint16) func(d *lab.Domain) {
		return func(d *lab.Domain) {
			for _, q := range types {
				d.DNSFaults = append(d.DNSFaults, lab.DNSFault{Name: name, Type: q, Action: dnstest.ServFail})
			}
		}
	}
	forged := func(name string, types ...uint16) func(d *lab.Domain) {
		return func(d *lab.Domain) {
			for _, q := range types {
				d.DNSFaults = append(d.DNSFaults, lab.DNSFault{Name: name, Type: q, Flaw: dnstest.BadSignature})
			}
		}
	}
	tests := []struct {
		name   string
		domain string
		edit   func(d *lab.Domain)
		off    tlspolicy.Reason // DANE none
		on     tlspolicy.Reason // DANE opportunistic
		must   tlspolicy.Reason // DANE mandatory
		status string           // of the failure with DANE none
	}{
		{"nothing wrong", "d0.example", func(*lab.Domain) {}, plain, verified, verified, ""},
		{"MX SERVFAIL", "d1.example", servfail("d1.example", dns.TypeMX), none, failed, failed, "4.4.3"},
		{"MX forged", "d2.example", forged("d2.example", dns.TypeMX), none, bogus, bogus, "4.4.3"},
		{"A SERVFAIL", "d3.example", servfail("mx.d3.example", dns.TypeA), plain, verified, verified, ""},
		{"AAAA SERVFAIL", "d4.example", servfail("mx.d4.example", dns.TypeAAAA), plain, verified, verified, ""},
		{"A and AAAA SERVFAIL", "d5.example", servfail("mx.d5.example", dns.TypeA, dns.TypeAAAA), none, failed, failed, "4.4.3"},
		{"AAAA forged", "d6.example", forged("mx.d6.example", dns.TypeAAAA), plain, verified, verified, ""},
		{"A and AAAA forged", "d7.example", forged("mx.d7.example", dns.TypeA, dns.TypeAAAA), none, bogus, bogus, "4.4.3"},
		{"TLSA SERVFAIL", "d8.example", servfail("_25._tcp.mx.d8.example", dns.TypeTLSA), plain, failed, failed, ""},
		{"TLSA forged", "d9.example", forged("_25._tcp.mx.d9.example", dns.TypeTLSA), plain, bogus, bogus, ""},
		{"another MX host does not exist", "d10.example", func(d *lab.Domain) {
			d.MX = []lab.MX{{Host: "gone.d10.example", Pref: 5}, {Host: "mx.d10.example", Pref: 10}}
		}, plain, verified, verified, ""},
		{"MX host is an alias into an unsigned zone", "d11.example", func(d *lab.Domain) {
			d.MX = []lab.MX{{Host: "alias.d11.example", Pref: 5}}
			d.Records = []string{"alias IN CNAME mx.unsigned.example."}
			// The alias itself is secure, so its own name is asked for TLSA records (RFC
			// 7672 section 2.2.2).
		}, plain, plain, tlspolicy.ReasonDANERequiredNoTLSA, ""},
		{"MX host lies in an unsigned zone", "d12.example", func(d *lab.Domain) {
			d.MX = []lab.MX{{Host: "mx.unsigned.example", Pref: 5}}
		}, plain, plain, tlspolicy.ReasonDANERequiredInsecure, ""},
		{"TLSA record is an alias of itself", "d13.example", aliasLoop("d13.example"), plain, failed, failed, ""},
	}
	world := lab.World{Domains: []lab.Domain{{Name: "unsigned.example", Hosts: []lab.Host{{Name: "mx.unsigned.example"}}}}}
	for i, test := range tests {
		d := lab.Domain{Name: test.domain, DNSSEC: lab.Signed, Hosts: []lab.Host{{
			Name: "mx." + test.domain, TLSA: []lab.TLSA{lab.TLSAMatch},
			Addrs: []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}), netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i + 1)})},
		}}}
		test.edit(&d)
		world.Domains = append(world.Domains, d)
	}
	l := startLab(t, world)
	for _, test := range tests {
		for _, setting := range []tlspolicy.DANE{tlspolicy.DANENone, tlspolicy.DANEOpportunistic, tlspolicy.DANEMandatory} {
			s := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: setting, MTASTS: tlspolicy.Off, Fallback: tlspolicy.FallbackAfter220}
			session, err := labDialer(t, l, s).Dial(context.Background(), test.domain)
			want := test.on
			switch {
			case setting == tlspolicy.DANENone:
				want = test.off
			case setting == tlspolicy.DANEMandatory:
				want = test.must
			}
			if err == nil {
				require.Equal(t, want, session.Decision().Reason, "%s, DANE %v", test.name, setting)
				require.NotNil(t, session.TLS())
				session.Close()
				continue
			}
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, want, e.Reason, "%s, DANE %v: %v", test.name, setting, err)
			require.NotContains(t, []tlspolicy.Reason{plain, verified}, want, "%s, DANE %v: %v", test.name, setting, err)
			require.False(t, e.Permanent, test.name)
			if want == none {
				require.Equal(t, test.status, e.Status, test.name)
			}
			var dnsError *dnssec.Error
			if want == none || want == failed || want == bogus {
				require.True(t, errors.As(err, &dnsError), "%s, DANE %v: the cause can be reached", test.name, setting)
			}
			require.NotEmpty(t, e.Report.Explain())
			require.Contains(t, err.Error(), test.domain)
		}
	}
}
