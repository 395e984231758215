package main

import (
	"fmt"
	"slices"
	"strings"
)

// A rule looks at what was found and says what the owner of the domain should do. It
// sees the Result alone, so that whoever reads the JSON can judge like it. Its codes
// are stable.
type rule func(r *Result, add adder)

// An adder takes one advice: its code, how grave it is, the host, address or name
// that it is about, and the words.
type adder func(code string, s Severity, subject, format string, args ...any)

var rules = slices.Concat(mxRules, tlsRules, certificateRules, daneRules, stsRules)

// mend applies all rules. The gravest advice comes first; advice of the same code
// about several addresses of a host with the same words is given once.
func mend(r *Result) []Advice {
	var all []Advice
	add := func(code string, s Severity, subject, format string, args ...any) {
		a := Advice{Code: code, Severity: s, Subject: clean(subject), Text: fmt.Sprintf(format, args...)}
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, rule := range rules {
		rule(r, add)
	}
	grave := map[Severity]int{SeverityError: 0, SeverityWarning: 1, SeverityInfo: 2}
	slices.SortStableFunc(all, func(a, b Advice) int { return grave[a.Severity] - grave[b.Severity] })
	return all
}

// mxRules are about the domain and where its mail goes.
var mxRules = []rule{
	func(r *Result, add adder) {
		if r.MX.Lookup.Security == "bogus" {
			add("mx-bogus", SeverityError, r.Domain, "DNSSEC validation of the MX records fails (%s), so senders that validate deliver nothing. "+
				"Sign the zone again; if its keys have changed, let the parent zone have the new DS record, or remove the DS record until that is done.", r.MX.Lookup.Error)
		}
	},
	func(r *Result, add adder) {
		if r.MX.Lookup.Outcome == "nxdomain" {
			add("no-domain", SeverityError, r.Domain, "The domain does not exist in DNS, and mail for it is returned. Register it, or mend its delegation, if it is to get mail.")
		}
	},
	func(r *Result, add adder) {
		switch {
		case r.MX.Null && r.MTASTS != nil && r.MTASTS.Mode == "enforce":
			add("null-mx", SeverityError, r.Domain, "The null MX record says that the domain takes no mail, and its MTA-STS policy says that it does, so mail is held back: without DNSSEC the record may be forged. Take one of the two away, the policy by way of mode none.")
		case r.MX.Null:
			add("null-mx", SeverityInfo, r.Domain, "The null MX record says that the domain takes no mail (RFC 7505). If it should, replace the record by MX records of its mail hosts.")
		}
	},
	func(r *Result, add adder) {
		if r.MX.Implicit {
			add("implicit-mx", SeverityWarning, r.Domain, "There is no MX record, so senders try the domain's own addresses. Publish an MX record with the name of the mail host, or a null MX (\"0 .\") if the domain takes no mail.")
		}
	},
	func(r *Result, add adder) {
		for _, d := range r.MX.Dropped {
			add("mx-not-a-host", SeverityError, d.Name, "An MX record names %q, which is no host name (%s), so no sender can use it. Let it name a host that has address records.", d.Name, d.Why)
		}
	},
	func(r *Result, add adder) {
		for _, h := range r.Hosts {
			if h.DANE.State == "no-address" {
				add("host-no-address", SeverityError, h.Host, "The mail host has no address in DNS. Publish an A or AAAA record for it, or remove it from the MX records.")
			}
		}
	},
	func(r *Result, add adder) {
		if r.MX.Malformed > 0 {
			add("mx-malformed", SeverityError, r.Domain, "%d of the MX records cannot be used by any sender: \".\" must stand alone (RFC 7505 section 3), and a mail host's name has letters, digits and hyphens only. Remove them, or let them name mail hosts.", r.MX.Malformed)
		}
	},
	func(r *Result, add adder) {
		for _, h := range r.Hosts {
			for _, l := range h.Lookups {
				if l.Canonical != "" && (l.Type == "A" || l.Type == "AAAA") {
					add("mx-alias", SeverityWarning, h.Host, "The name in the MX record is an alias (CNAME) of %s, which RFC 5321 section 5.1 and RFC 2181 section 10.3 forbid, and some senders do not follow it. Give %s address records of its own; or let the MX record name %s, once the certificate is for that name and a MTA-STS policy lists it.", l.Canonical, h.Host, l.Canonical)
					break
				}
			}
		}
	},
	deadAddresses,
}

// deadAddresses tells of addresses that nobody can talk to. That all are dead may be
// the fault of the network here, which the Status tells; it is not told as the
// owner's.
func deadAddresses(r *Result, add adder) {
	connected := false
	for _, h := range r.Hosts {
		connected = connected || slices.ContainsFunc(h.Addresses, func(a Address) bool { return a.Stage != "connect" })
	}
	for _, h := range r.Hosts {
		alive, unseen, dead := 0, 0, []string{}
		for _, a := range h.Addresses {
			switch {
			case a.Ours == oursTurned:
				alive++
				add("turned-away", SeverityWarning, a.Address, "%s takes nothing from this probe: %s. That may be because of where the probe runs (a block list, no PTR record); if other senders are told the same, look at the mail server's access rules.", h.Host, a.Error)
			case a.Ours != "":
				unseen++
			case a.Stage == "connect":
				dead = append(dead, a.Address)
			case a.Stage == "greeting" || a.Stage == "ehlo" || a.Stage == "helo" && a.Error != "":
				add("no-smtp", SeverityError, a.Address, "%s takes connections and does not talk SMTP: %s at stage %s. Look at the mail server and at what stands in front of it.", h.Host, orNothing(a.Error), a.Stage)
			default:
				alive++
			}
		}
		switch {
		case len(dead) == 0 || !connected, alive == 0 && unseen > 0:
		case alive == 0 && len(dead) == len(h.Addresses):
			add("host-dead", SeverityWarning, h.Host, "No address of the mail host can be connected to (%s). Start its mail server, open its firewall, or remove it from the MX records.", strings.Join(dead, ", "))
		default:
			for _, a := range dead {
				code, family := "address-dead", "A"
				if strings.HasPrefix(a, "[") {
					code, family = "ipv6-dead", "AAAA"
				}
				add(code, SeverityWarning, a, "%s cannot be connected to at this address, though at another. Let the mail server listen there and the firewall pass port %d, or remove the %s record: each sender that tries it first loses time.", h.Host, r.Asked.Port, family)
			}
		}
	}
}

func orNothing(text string) string {
	if text == "" {
		return "nothing comes"
	}
	return text
}
