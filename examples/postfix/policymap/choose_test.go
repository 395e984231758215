package policymap

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// The rows of README.md, one example or more for each.
func TestRows(t *testing.T) {
	const domain = "d.example"
	const (
		usable, unusable, none, insecure = tlspolicy.DANEUsable, tlspolicy.DANEUnusable, tlspolicy.DANENoTLSA, tlspolicy.DANEInsecure
		bogus, failed                    = tlspolicy.DANEBogus, tlspolicy.DANELookupError
		match, mismatch                  = tlspolicy.STSEnforceMatch, tlspolicy.STSEnforceMismatch
		testing, absent                  = tlspolicy.STSTestingMismatch, tlspolicy.STSNoPolicy
		opportunistic, off, mandatory    = tlspolicy.DANEOpportunistic, tlspolicy.DANENone, tlspolicy.DANEMandatory
	)
	a := func(d tlspolicy.DANEState, s tlspolicy.STSState) Host { return Host{"a.d.example", d, s} }
	b := func(d tlspolicy.DANEState, s tlspolicy.STSState) Host { return Host{"b.d.example", d, s} }
	const strict = " protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1"
	for _, test := range []struct {
		why    string
		mode   tlspolicy.Mode // zero: left to main.cf
		dane   tlspolicy.DANE
		hosts  []Host
		change func(*Findings)
		row    string
		want   string
	}{
		{"clear text, whatever there is", tlspolicy.No, off, nil, nil, "A1", "none"},
		{"needs no look at the hosts", tlspolicy.Preferred, mandatory, nil, nil, "A2", "dane-only" + strict},
		{"MTA-STS is not asked about them", tlspolicy.Preferred, opportunistic, []Host{a(usable, mismatch), b(usable, match)}, nil, "A3", "dane-only" + strict},
		{"nor the mode", tlspolicy.RequiredVerify, opportunistic, []Host{a(usable, absent)}, nil, "A3", "dane-only" + strict},
		{"nor what is not known of MTA-STS", tlspolicy.Preferred, opportunistic, []Host{a(usable, absent)}, func(f *Findings) { f.STSUnknown = true }, "A3", "dane-only" + strict},
		{"the others are opportunistic", tlspolicy.Preferred, opportunistic, []Host{a(usable, absent), b(none, absent)}, nil, "A4", "dane" + strict},
		{"or left out by Postfix too", tlspolicy.Preferred, opportunistic, []Host{a(usable, testing), b(bogus, testing)}, nil, "A4", "dane" + strict},
		{"a host that nobody looked at", tlspolicy.Preferred, opportunistic, []Host{a(usable, absent)}, func(f *Findings) { f.Beyond = true }, "A4", "dane" + strict},
		{"dane would make b opportunistic", tlspolicy.Preferred, opportunistic, []Host{a(usable, match), b(none, match)}, nil, "A5", "dane-only" + strict},
		{"and would not leave b out", tlspolicy.Preferred, opportunistic, []Host{a(usable, match), b(none, mismatch)}, nil, "A5", "dane-only" + strict},
		{"dane would let b do without TLS", tlspolicy.Required, opportunistic, []Host{a(usable, absent), b(none, absent)}, nil, "A5", "dane-only" + strict},
		{"b may have a policy", tlspolicy.Preferred, opportunistic, []Host{a(usable, absent), b(none, absent)}, func(f *Findings) { f.STSUnknown = true }, "A5", "dane-only" + strict},
		{"unknown is not absent", 0, opportunistic, []Host{a(none, absent)}, func(f *Findings) { f.STSUnknown = true }, "A6", ""},
		{"nor without DANE", 0, off, []Host{a(0, absent)}, func(f *Findings) { f.STSUnknown = true }, "A6", ""},
		{"nor are TLSA records that cannot be had", 0, opportunistic, []Host{a(failed, absent), b(bogus, absent)}, nil, "A7", ""},
		{"all hosts are to be left out", tlspolicy.Preferred, opportunistic, []Host{a(none, mismatch), b(insecure, mismatch)}, nil, "A8", ""},
		{"a must be left out, and secure would not", tlspolicy.Preferred, opportunistic, []Host{a(failed, match), b(none, match)}, nil, "A9", ""},
		{"nor encrypt", tlspolicy.Required, opportunistic, []Host{a(failed, absent), b(none, absent)}, nil, "A9", ""},
		{"a host that nobody looked at may have TLSA records", tlspolicy.Required, opportunistic, []Host{a(none, absent)}, func(f *Findings) { f.Beyond = true }, "A9", ""},
		{"which matter only with DANE on", tlspolicy.Required, off, []Host{a(0, absent)}, func(f *Findings) { f.Beyond = true }, "A12", "encrypt" + strict},
		{"two names of one certificate", tlspolicy.RequiredVerify, opportunistic, []Host{a(none, match)}, nil, "A10", ""},
		{"one name that is both", tlspolicy.RequiredVerify, opportunistic, []Host{{domain, none, match}, a(none, match)}, nil, "A10", "secure match=d.example servername=hostname" + strict},
		{"the names of the hosts that are listed", 0, opportunistic, []Host{a(insecure, match), b(unusable, match), {"c.d.example", none, mismatch}}, nil, "A11", "secure match=a.d.example:b.d.example servername=hostname" + strict},
		{"names that match takes for keywords", 0, opportunistic, []Host{{"hostname", none, match}, {"nexthop", none, match}, {"dot-nexthop", none, match}, a(none, match)}, nil, "A11", "secure match=a.d.example servername=hostname" + strict},
		{"of which none can be told", 0, off, []Host{{"hostname", 0, match}}, nil, "A8", ""},
		{"which the mode is content with", tlspolicy.RequiredVerifyHosted, off, []Host{a(0, match)}, nil, "A11", "secure match=a.d.example servername=hostname" + strict},
		{"TLS", tlspolicy.Required, opportunistic, []Host{a(none, absent), b(unusable, testing)}, nil, "A12", "encrypt" + strict},
		{"the domain alone", tlspolicy.RequiredVerify, opportunistic, []Host{a(none, absent)}, nil, "A13", "secure match=d.example servername=hostname" + strict},
		{"the domain or a host", tlspolicy.RequiredVerifyHosted, opportunistic, []Host{a(none, absent), b(none, testing), {domain, none, absent}}, nil, "A14", "secure match=d.example:a.d.example:b.d.example servername=hostname" + strict},
		{"keywords are no names", tlspolicy.RequiredVerifyHosted, off, []Host{{"hostname", 0, absent}, a(0, absent)}, func(f *Findings) { f.Name = "nexthop" }, "A14", "secure match=a.d.example servername=hostname" + strict},
		{"not even alone", tlspolicy.RequiredVerify, off, []Host{{"dot-nexthop", 0, absent}}, func(f *Findings) { f.Name = "dot-nexthop" }, "A15", ""},
		{"an address has no name", tlspolicy.RequiredVerifyHosted, opportunistic, []Host{{"", insecure, absent}}, func(f *Findings) { f.Name = "" }, "A15", ""},
		{"Postfix looks itself, and sees a record that comes later", tlspolicy.Preferred, opportunistic, []Host{a(none, absent)}, nil, "A16", "dane"},
		{"main.cf may not know of the floor", 0, opportunistic, []Host{a(none, absent), b(unusable, absent)}, nil, "A16", "dane"},
		{"nor leave b out", 0, opportunistic, []Host{a(none, absent), b(failed, absent)}, nil, "A16", "dane"},
		{"opportunistic", tlspolicy.PreferredVerify, off, []Host{a(0, testing)}, nil, "A17", "may"},
		{"nothing is published", 0, opportunistic, []Host{a(none, absent), b(insecure, testing)}, nil, "A18", "NOTFOUND"},
		{"nothing is asked", 0, off, nil, func(f *Findings) { f.Settings.MTASTS = tlspolicy.Off }, "A18", "NOTFOUND"},
		{"no host at all", tlspolicy.Preferred, opportunistic, nil, nil, "A19", ""},
		{"a finding that nobody made", tlspolicy.Preferred, opportunistic, []Host{a(tlspolicy.DANEUnknown, absent)}, nil, "A19", ""},
	} {
		f := Findings{Settings: tlspolicy.Settings{Mode: test.mode, DANE: test.dane, MTASTS: tlspolicy.On, Fallback: tlspolicy.FallbackAlways},
			ModeStated: test.mode != 0, Name: domain, Hosts: test.hosts}
		if test.mode == 0 {
			f.Settings.Mode = tlspolicy.Preferred
		}
		if test.change != nil {
			test.change(&f)
		}
		got := Choose(f)
		require.Equal(t, test.row, got.Row, "%s: %v", test.why, got)
		require.NotEmpty(t, got.Why, test.why)
		if test.want == "" {
			require.Equal(t, Temp, got.Status, test.why)
		} else {
			require.Equal(t, test.want, got.String(), test.why)
		}
	}
}

// postfix tells whether Postfix would deliver to a host, given an answer: its own
// look-up of TLSA records finds what ours found, names are those that the certificate
// proves, and NOTFOUND is level may (the weakest main.cf that the README allows).
func postfix(a Answer, h Host, o tlspolicy.Outcome, names []string) bool {
	level := a.Level
	switch a.Status {
	case Temp, Perm:
		return false
	case NotFound:
		level = May
	}
	session := o.TLS == tlspolicy.TLSEstablished && (!a.Strict || !o.OldTLS)
	if level == DANE || level == DANEOnly {
		switch {
		case h.DANE == tlspolicy.DANEUsable:
			return session && o.DANEMatch
		case h.DANE == tlspolicy.DANEBogus || h.DANE == tlspolicy.DANELookupError || level == DANEOnly:
			return false
		case h.DANE == tlspolicy.DANEUnusable:
			level = Encrypt
		default:
			level = May
		}
	}
	switch level {
	case Encrypt:
		return session
	case Secure:
		return session && o.Chain == tlspolicy.ChainOK && slices.ContainsFunc(a.Match, func(m string) bool { return slices.Contains(names, m) })
	}
	return true
}

// ours tells whether the decision tables would deliver to a host that shows a
// certificate for names.
func ours(s tlspolicy.Settings, domain string, h Host, o tlspolicy.Outcome, names []string) bool {
	o.STSName = slices.Contains(names, h.Name)
	o.VerifyName = slices.Contains(names, domain)
	o.HostedName = o.STSName || o.VerifyName
	d := tlspolicy.Plan(s, h.DANE, h.STS).Decide(o)
	return d.Action != tlspolicy.Next
}

// everyFindings yields all settings with all findings about two mail hosts, of which
// one may bear the domain's own name.
func everyFindings(domain string) iter.Seq[Findings] {
	modes := []tlspolicy.Mode{tlspolicy.No, tlspolicy.Preferred, tlspolicy.Required, tlspolicy.PreferredVerify, tlspolicy.RequiredVerify, tlspolicy.RequiredVerifyHosted}
	danes := map[tlspolicy.DANE][]tlspolicy.DANEState{tlspolicy.DANENone: {0}}
	danes[tlspolicy.DANEOpportunistic] = []tlspolicy.DANEState{tlspolicy.DANEInsecure, tlspolicy.DANENoTLSA, tlspolicy.DANEUnusable, tlspolicy.DANEUsable,
		tlspolicy.DANEBogus, tlspolicy.DANELookupError}
	danes[tlspolicy.DANEMandatory] = danes[tlspolicy.DANEOpportunistic]
	policies := map[tlspolicy.MTASTS][][2]tlspolicy.STSState{tlspolicy.Off: {{0, 0}}, tlspolicy.On: { // of the two hosts
		{tlspolicy.STSNoPolicy, tlspolicy.STSNoPolicy}, {tlspolicy.STSDiscoveryError, tlspolicy.STSDiscoveryError},
		{tlspolicy.STSTestingMatch, tlspolicy.STSTestingMismatch},
		{tlspolicy.STSEnforceMatch, tlspolicy.STSEnforceMatch}, {tlspolicy.STSEnforceMatch, tlspolicy.STSEnforceMismatch},
		{tlspolicy.STSEnforceMismatch, tlspolicy.STSEnforceMatch}, {tlspolicy.STSEnforceMismatch, tlspolicy.STSEnforceMismatch},
	}}
	names := []string{"a.d.example", domain}
	return func(yield func(Findings) bool) {
		for i := range len(modes) * len(danes) * len(policies) * 8 {
			pick := func(n int) (k int) { i, k = i/n, i%n; return k }
			s := tlspolicy.Settings{Mode: modes[pick(len(modes))], DANE: tlspolicy.DANENone + tlspolicy.DANE(pick(3)),
				MTASTS: tlspolicy.Off + tlspolicy.MTASTS(pick(2)), Fallback: tlspolicy.FallbackAlways}
			f := Findings{Settings: s, Name: domain, ModeStated: pick(2) == 1, Beyond: pick(2) == 1}
			name := names[pick(2)]
			for _, first := range danes[s.DANE] {
				for _, second := range danes[s.DANE] {
					for _, p := range policies[s.MTASTS] {
						f.Hosts = []Host{{name, first, p[0]}, {"b.d.example", second, p[1]}}
						if !yield(f) {
							return
						}
					}
				}
			}
		}
	}
}

// everyOutcome is what can happen at a host, apart from names.
func everyOutcome() (all []tlspolicy.Outcome) {
	for _, x := range []tlspolicy.TLSOutcome{tlspolicy.TLSNotOffered, tlspolicy.TLSRefused, tlspolicy.TLSHandshakeFailed} {
		all = append(all, tlspolicy.Outcome{TLS: x})
	}
	for _, chain := range []tlspolicy.ChainOutcome{tlspolicy.ChainOK, tlspolicy.ChainUntrusted} {
		for bits := range 4 {
			all = append(all, tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: chain, DANEMatch: bits&1 != 0, OldTLS: bits&2 != 0})
		}
	}
	return all
}

// For all settings, all findings about two hosts and all that can happen at a host,
// Postfix with our answer delivers only where the decision tables do. A certificate
// may be for another host: then the tables must deliver to that one.
func TestNeverWeaker(t *testing.T) {
	const domain = "d.example"
	certificates := [][]string{nil, {domain}, {"a.d.example"}, {"b.d.example"}, {domain, "a.d.example"}, {domain, "b.d.example"}, {"a.d.example", "b.d.example"}}
	outcomes := everyOutcome()
	delivered, kept, stricter := 0, 0, map[string]int{}
	for f := range everyFindings(domain) {
		answer := Choose(f)
		for i, h := range f.Hosts {
			for _, o := range outcomes {
				for _, names := range certificates {
					theirs, we := postfix(answer, h, o, names), ours(f.Settings, domain, h, o, names)
					switch {
					case theirs && !we && !(answer.Level == Secure && ours(f.Settings, domain, f.Hosts[1-i], o, names)):
						t.Fatalf("weaker: %+v, host %d, %+v, %v: %v", f, i, o, names, answer)
					case theirs:
						delivered++
					case we:
						stricter[answer.Row]++
					default:
						kept++
					}
				}
			}
		}
	}
	require.Greater(t, delivered, 100_000)
	require.Greater(t, kept, 100_000)
	// These rows keep mail from a host that the tables would deliver to, and no others
	// do: A12, and A4 beside a host without TLSA records, only from TLS below 1.2.
	require.Equal(t, []string{"A10", "A12", "A4", "A5", "A9"}, slices.Sorted(maps.Keys(stricter)))
}

// An answer without names must not become one that compares nothing.
func TestSecureHasNames(t *testing.T) {
	a := Answer{Status: Found, Level: Secure, Match: []string{"a.example"}, STS: &STS{Domain: "d.example", Policy: &mtasts.Policy{Mode: mtasts.ModeEnforce, MX: []string{"a.example", "*.b.example"}, MaxAge: 86400e9}}}
	require.Equal(t, "secure match=a.example servername=hostname policy_type=sts policy_domain=d.example policy_ttl=0"+
		" { policy_string = version: STSv1 } { policy_string = mode: enforce } { policy_string = mx: a.example } { policy_string = mx: *.b.example }"+
		" { policy_string = max_age: 86400 } mx_host_pattern=a.example mx_host_pattern=*.b.example", a.Text(true))
	require.Equal(t, "secure match=a.example servername=hostname", a.Text(false))
	a.STS.Policy.MX = make([]string, 5000)
	for i := range a.STS.Policy.MX {
		a.STS.Policy.MX[i] = fmt.Sprintf("mail%d.example", i)
	}
	require.Equal(t, a.Text(false), a.Text(true), "a reply that would be too long goes without attributes")
}
