package tlspolicy_test

import (
	"fmt"
	"log"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A table, a decision on one host, and its explanation.
func Example() {
	table, err := tlspolicy.NewTable(tlspolicy.Recommended(), map[string]tlspolicy.Settings{
		"partner.example": {Mode: tlspolicy.RequiredVerifyHosted},
		".bank.example":   {Mode: tlspolicy.RequiredVerify, DANE: tlspolicy.DANEMandatory},
	})
	if err != nil {
		log.Fatal(err)
	}
	e := tlspolicy.Explanation{Domain: "partner.example", Host: "mx1.partner.example"}
	e.Settings, e.Origin, err = table.Lookup(e.Domain, tlspolicy.NextHop{})
	if err != nil {
		log.Fatal(err)
	}
	e.DANE, e.STS = tlspolicy.DANENoTLSA, tlspolicy.STSNoPolicy
	e.Requirement = tlspolicy.Plan(e.Settings, e.DANE, e.STS)
	e.Outcome = tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, HostedName: true}
	e.Decision = e.Requirement.Decide(e.Outcome)
	fmt.Println(e.Decision.Action)
	fmt.Print(tlspolicy.Explain(e))
	// Output:
	// deliver-tls-verified
	// The entry "partner.example" governs partner.example: mode required-verify-hosted, DANE opportunistic by default entry, MTA-STS on by default entry, fallback after-220 by default entry (AsyncOS chapter, destination controls).
	// P8: mx1.partner.example has no TLSA records, so DANE has no say (RFC 7672 section 2.2).
	// P12: partner.example has no MTA-STS policy, or one of mode none, so the mode decides (RFC 8461 section 5).
	// P13: mode required-verify-hosted needs TLS, a trusted chain and a certificate for partner.example, its MX host or the configured route (AsyncOS chapter, TLS settings).
	// TLS is established with mx1.partner.example, certificate chain ok.
	// E8: the certificate passes the check of mode required-verify-hosted (AsyncOS chapter, TLS settings).
	// Decision: deliver-tls-verified, reason mode-verified, reported under no-policy-found as success.
}

// STARTTLS is refused by a host that an enforced MTA-STS policy lists: no clear
// text, whatever the fallback setting says, and the next host is tried.
func ExampleRequirement_Decide() {
	settings := tlspolicy.Recommended()
	settings.Fallback = tlspolicy.FallbackAlways
	requirement := tlspolicy.Plan(settings, tlspolicy.DANEInsecure, tlspolicy.STSEnforceMatch)
	decision := requirement.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSRefused})
	fmt.Println(decision.Action, decision.Status, decision.Reason)
	// Output: next-mx-then-defer 4.7.5 sts-tls-required-refused
}

// A table with bad entries is refused as a whole, so the one in force stays.
func ExampleNewTable_errors() {
	var live tlspolicy.Live
	table, err := tlspolicy.NewTable(tlspolicy.Settings{}, map[string]tlspolicy.Settings{
		"*.example.com": {Mode: tlspolicy.Required},
		"old.example":   {Mode: tlspolicy.No, DANE: tlspolicy.DANEMandatory},
	})
	fmt.Println(err)
	fmt.Println(live.Replace(table))
	// Output:
	// tlspolicy: destination table: entry "*.example.com": destination: wildcards are not used here; write ".example.com" for every name below the domain, and a second entry for the domain itself
	// tlspolicy: destination table: entry "old.example": dane: mandatory has no effect in mode no; choose another mode or switch it off
	// tlspolicy: nil table: build the new table without error before it replaces the one in force
}

// The spellings of the chapter, its menus and its command line are all read.
func ExampleParseMode() {
	for _, text := range []string{"Preferred (Verify)", "5. Required (Verify)", "TLS Required - Verify Hosted Domains", ""} {
		mode, err := tlspolicy.ParseMode(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(mode)
	}
	// Output:
	// preferred-verify
	// required-verify
	// required-verify-hosted
	// tlspolicy: "" is no value of Mode; use one of no, preferred, required, preferred-verify, required-verify, required-verify-hosted; or default in a destination table, to inherit
}

// What a message asks of its transport goes on top of the destination's
// settings.
func ExampleSettings_For() {
	settings := tlspolicy.Recommended()
	strict := settings.For(tlspolicy.Message{RequireTLS: true})
	fmt.Println(strict.Mode)

	// The header field "TLS-Required: No": mail goes out although an enforced
	// policy forbids it, and the report tells.
	lax := settings.For(tlspolicy.Message{TLSOptional: true})
	decision := tlspolicy.Plan(lax, tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMatch).
		Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered})
	fmt.Println(decision.Action, decision.Shadow.Policy, decision.Shadow.Reason)
	// Output:
	// required-verify-hosted
	// deliver-clear sts sts-tls-required-absent
}

// The operator sends the domain's mail to the MX hosts of another one.
func ExampleRoute() {
	route := tlspolicy.Route{Domain: "example.com", Host: "provider.example", MX: true}
	fmt.Println("MX records of", route.MXDomain())
	fmt.Println("MTA-STS policy of", route.STSDomain())
	references, err := tlspolicy.NewReferences(route.Names("mx1.provider.example", true))
	if err != nil {
		log.Fatal(err)
	}
	for _, reference := range references.All() {
		fmt.Println(reference.Kind, reference.Name)
	}
	// Output:
	// MX records of provider.example
	// MTA-STS policy of provider.example
	// recipient-domain example.com
	// mx-host mx1.provider.example
	// route-host provider.example
}

// The lines of the AsyncOS chapter, for the tools that read them.
func ExampleEvent_AsyncOS() {
	fmt.Println(tlspolicy.Event{Kind: tlspolicy.EventSTSSuccess, Domain: "example.com"}.AsyncOS())
	fmt.Println(tlspolicy.Event{Kind: tlspolicy.EventSTARTTLSRefused, ConnID: 7, Detail: "454 no\r\nNew SMTP DCID 8"}.AsyncOS())
	// Output:
	// MTA-STS policy for the domain (example.com) Successful.
	// DCID 7 STARTTLS command refused: "454 no\r\nNew SMTP DCID 8"
}

// All hosts of a domain failed.
func ExampleAlertsFor() {
	settings := tlspolicy.Recommended()
	requirement := tlspolicy.Plan(settings, tlspolicy.DANEUsable, tlspolicy.STSNoPolicy)
	for _, alert := range tlspolicy.AlertsFor("example.com", settings, []tlspolicy.HostDecision{
		{Host: "mx1.example.com", Decision: requirement.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished})},
		{Host: "mx2.example.com", Decision: requirement.Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSRefused})},
	}) {
		fmt.Println(alert)
	}
	// Output: DANE failed for every host of the domain (example.com), and mail to it is held back: mx1.example.com dane-mismatch, mx2.example.com dane-tls-required-refused
}
