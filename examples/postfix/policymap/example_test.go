package policymap_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/examples/postfix/policymap"
	"github.com/smtpsec/smtpsec/internal/lab"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A Map, asked as Postfix would.
func Example() {
	internet, err := lab.Start(lab.World{Domains: []lab.Domain{
		{Name: "sts.example", Hosts: []lab.Host{{Name: "mx.sts.example"}}, Policy: &lab.Policy{}},
		{Name: "dane.example", DNSSEC: lab.Signed, Hosts: []lab.Host{{Name: "mx.dane.example", TLSA: []lab.TLSA{lab.TLSAMatch}}}},
		{Name: "plain.example", Hosts: []lab.Host{{Name: "mx.plain.example"}}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer internet.Close()
	table, err := tlspolicy.NewTable(
		tlspolicy.Settings{DANE: tlspolicy.DANEOpportunistic, MTASTS: tlspolicy.On},
		map[string]tlspolicy.Settings{"partner.example": {Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off}})
	if err != nil {
		log.Fatal(err)
	}
	m := &policymap.Map{Resolver: internet.Resolver(), MTASTS: &mtasts.Client{
		Resolver: dnssec.NetResolver{Resolver: internet.Resolver()},
		Fetch: mtasts.FetchConfig{RootCAs: internet.Roots(), DialContext: internet.DialContext,
			AllowPrefixes: append(lab.Prefixes(), netip.MustParsePrefix("127.0.0.0/8"))},
	}}
	if err := m.Reload(table); err != nil {
		log.Fatal(err)
	}
	for _, key := range []string{"sts.example", "dane.example", "plain.example", "partner.example"} {
		fmt.Println(key, "-", m.Lookup(context.Background(), key))
	}
	// Output:
	// sts.example - secure match=mx.sts.example servername=hostname protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1
	// dane.example - dane-only protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1
	// plain.example - NOTFOUND
	// partner.example - secure match=partner.example servername=hostname protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1
}

// What would be answered can be asked without any look-up.
func ExampleChoose() {
	fmt.Println(policymap.Choose(policymap.Findings{
		Settings: tlspolicy.Recommended(), ModeStated: true, Name: "partner.example",
		Hosts: []policymap.Host{
			{Name: "mx1.partner.example", DANE: tlspolicy.DANEUsable, STS: tlspolicy.STSEnforceMatch},
			{Name: "mx2.partner.example", DANE: tlspolicy.DANENoTLSA, STS: tlspolicy.STSEnforceMatch},
		},
	}).Why)
	// Output: some mail hosts have usable TLSA records, and the others need a proof that the level dane would not ask for: they are left out
}
