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
	// tlspolicy: "" is no value of Mode; use one of default, no, preferred, required, preferred-verify, required-verify, required-verify-hosted
}
