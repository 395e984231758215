package smtpclient

import (
	"context"
	"net/netip"
	"testing"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// staticMX is a resolver that knows partner.example with one host and one address.
func staticMX(b testing.TB, addr netip.Addr) dnssec.Static {
	return dnssec.Static{Answers: map[dnssec.Question]dnssec.Answer{
		{Name: "partner.example.", Type: dnssec.TypeMX}: {Security: dnssec.Insecure,
			Records: []dnssec.Record{{Data: mxData(b, "10", "mx.partner.example")}}},
		{Name: "mx.partner.example.", Type: dnssec.TypeA}: {Security: dnssec.Insecure,
			Records: []dnssec.Record{{Data: addr.AsSlice()}}},
		{Name: "mx.partner.example.", Type: dnssec.TypeAAAA}: {Security: dnssec.Insecure},
	}}
}

// BenchmarkPlan plans with answers at hand.
func BenchmarkPlan(b *testing.B) {
	d := &Dialer{
		Hostname: "mta.sender.example", Resolver: staticMX(b, netip.MustParseAddr("192.0.2.1")),
		Policy: fixed(tlspolicy.Settings{Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAfter220}),
		MTASTS: found(policyOf("enforce", "*.partner.example")),
	}
	b.ReportAllocs()
	for b.Loop() {
		p, err := d.Plan(context.Background(), Target{Domain: "partner.example"})
		if err != nil || p.Hosts[0].Err != nil {
			b.Fatal(err)
		}
	}
}
