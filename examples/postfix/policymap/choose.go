package policymap

import (
	"time"

	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// A Host is a mail host of a next hop, and what was found about it.
type Host struct {
	Name string              // A-labels, lower case; "" for an address
	DANE tlspolicy.DANEState // zero if DANE is off
	STS  tlspolicy.STSState  // zero if MTA-STS is off
}

// Findings are all that an answer depends on.
type Findings struct {
	// Settings are resolved. Their Fallback has no say: Postfix has its own rule for
	// clear text after a failed STARTTLS.
	Settings tlspolicy.Settings
	// ModeStated tells that the table states the mode. If not, main.cf decides about
	// next hops that publish nothing.
	ModeStated bool
	// Name is the recipient domain, or the configured host if there is none; "" for an
	// address.
	Name string
	// Hosts are the mail hosts that have an address. They are not needed where
	// NeedsHosts is false.
	Hosts []Host
	// Beyond tells that there are more hosts, which nobody has looked at.
	Beyond bool
	// STSUnknown tells that it is not known whether there is a MTA-STS policy. A policy
	// that is known to exist and cannot be had is not this case (RFC 8461 section 5).
	STSUnknown bool
	// Policy is the MTA-STS policy in force for PolicyDomain, if there is one.
	Policy       *mtasts.Policy
	PolicyDomain string
	PolicyEnd    time.Time
}

// NeedsHosts tells whether an answer for these settings depends on the mail hosts.
func NeedsHosts(s tlspolicy.Settings) bool {
	switch {
	case s.Mode == tlspolicy.No || s.DANE == tlspolicy.DANEMandatory:
		return false
	}
	return s.DANE != tlspolicy.DANENone || s.MTASTS != tlspolicy.Off || s.Mode == tlspolicy.RequiredVerifyHosted
}

// census is what tlspolicy wants of the hosts, counted.
type census struct {
	usable   int      // hosts with TLSA records that can be applied
	unknown  int      // hosts whose TLSA records could not be had, or are bogus
	unusable int      // hosts with TLSA records of which none can be applied
	enforced bool     // a MTA-STS policy is enforced
	listed   []string // hosts that the enforced policy lists
	invalid  bool     // a finding is missing
}

func count(f *Findings) (c census) {
	for _, h := range f.Hosts {
		switch decision, _ := tlspolicy.Plan(f.Settings, h.DANE, h.STS).Skip(); {
		case h.DANE == tlspolicy.DANEUsable:
			c.usable++
		case decision.Reason == tlspolicy.ReasonInputInvalid && !f.STSUnknown, decision.Reason == tlspolicy.ReasonSettingsInvalid:
			c.invalid = true
		case h.DANE == tlspolicy.DANEBogus || h.DANE == tlspolicy.DANELookupError:
			c.unknown++
		case h.DANE == tlspolicy.DANEUnusable:
			c.unusable++
		}
		switch h.STS {
		case tlspolicy.STSEnforceMatch:
			c.enforced = true
			if !reserved(h.Name) {
				c.listed = append(c.listed, h.Name)
			}
		case tlspolicy.STSEnforceMismatch:
			c.enforced = true
		}
	}
	return c
}

// reserved tells whether match takes the name for one of its keywords, which would
// accept other certificates than those for the name
// (smtp_tls_secure_cert_match in postconf(5)).
func reserved(name string) bool {
	return name == "hostname" || name == "nexthop" || name == "dot-nexthop"
}

// Choose returns the nearest answer to the decision tables of package tlspolicy
// that is not weaker: to no host does Postfix then deliver where the tables say no.
// Its Expires is zero. README.md has the rows.
//
// Two things make it more than a list of levels. An answer is for all hosts, so
// the host that needs most decides. And the levels cannot be combined: there is
// no "TLSA records, or else a certificate". Where hosts with TLSA records stand
// beside hosts that need another proof, mail goes to the former alone.
//
// A name is in match only if the tables would deliver to whoever proves that name. So
// it does no harm that Postfix accepts each of the names on each of the hosts.
func Choose(f Findings) Answer {
	s := f.Settings
	switch {
	case s.Mode == tlspolicy.No:
		return Answer{Status: Found, Level: None, Row: "A1", Why: "mode no: clear text"}
	case s.DANE == tlspolicy.DANEMandatory:
		return daneOnly("A2", "DANE is mandatory: Postfix leaves out hosts without usable TLSA records")
	case NeedsHosts(s) && len(f.Hosts) == 0:
		return temp("A19", "no mail host with an address is known")
	}
	c := count(&f)
	demanding := s.Mode == tlspolicy.Required || s.Mode == tlspolicy.RequiredVerify || s.Mode == tlspolicy.RequiredVerifyHosted || c.enforced
	switch {
	case c.invalid:
		return temp("A19", "a finding about a mail host is missing")
	case c.usable > 0 && c.usable == len(f.Hosts) && !f.Beyond:
		return daneOnly("A3", "all mail hosts have usable TLSA records")
	case c.usable > 0 && (demanding || f.STSUnknown):
		return daneOnly("A5", "some mail hosts have usable TLSA records, and the others need a proof that the level dane would not ask for: they are left out")
	case c.usable > 0:
		return Answer{Status: Found, Level: DANE, Strict: true, Row: "A4", Why: "some mail hosts have usable TLSA records, and the others need none"}
	case f.STSUnknown:
		return temp("A6", "it is not known whether there is a MTA-STS policy")
	case c.unknown > 0 && c.unknown == len(f.Hosts):
		return temp("A7", "the TLSA records of no mail host can be had")
	case c.enforced && len(c.listed) == 0:
		return c.temp("A8", "the MTA-STS policy lists none of the mail hosts")
	case demanding && s.DANE != tlspolicy.DANENone && (c.unknown > 0 || f.Beyond):
		return c.temp("A9", "the TLSA records of a mail host are not known, and only at a level of DANE would Postfix leave it out")
	case c.enforced:
		return enforced(&f, &c)
	case demanding:
		return byMode(&f)
	}
	return preferred(&f, &c)
}

// enforced answers where a MTA-STS policy is enforced and no host has usable TLSA
// records.
func enforced(f *Findings, c *census) Answer {
	a := Answer{Status: Found, Level: Secure, Match: c.listed, Strict: true, Row: "A11", Why: "MTA-STS policy of mode enforce: one of the mail hosts that it lists"}
	if f.Policy != nil {
		a.STS = &STS{Domain: f.PolicyDomain, Policy: f.Policy, Expires: f.PolicyEnd}
	}
	if f.Settings.Mode != tlspolicy.RequiredVerify {
		return a
	}
	// The mode wants the domain's name and the policy that of the host. Names in match are
	// alternatives, so only a name that is both will do. The attributes of the
	// policy would make newer versions compare the host alone.
	for _, name := range c.listed {
		if name == f.Name {
			return Answer{Status: Found, Level: Secure, Match: []string{name}, Strict: true, Row: "A10",
				Why: "MTA-STS policy of mode enforce and mode required-verify, and the domain is a mail host of its own"}
		}
	}
	return c.temp("A10", "mode required-verify and the MTA-STS policy want two different names of one certificate, which Postfix cannot: give the destination mode required-verify-hosted or mtasts off")
}

// byMode answers where one of the Required modes decides alone.
func byMode(f *Findings) Answer {
	a := Answer{Status: Found, Level: Secure, Strict: true}
	switch f.Settings.Mode {
	case tlspolicy.Required:
		a.Level, a.Row, a.Why = Encrypt, "A12", "mode required: TLS, without a look at the certificate"
		return a
	case tlspolicy.RequiredVerify:
		a.Row, a.Why = "A13", "mode required-verify: a certificate for the domain"
	default:
		a.Row, a.Why = "A14", "mode required-verify-hosted: a certificate for the domain or one of its mail hosts"
	}
	seen := map[string]bool{"": true}
	add := func(name string) {
		if !seen[name] && !reserved(name) {
			seen[name] = true
			a.Match = append(a.Match, name)
		}
	}
	add(f.Name)
	if f.Settings.Mode == tlspolicy.RequiredVerifyHosted {
		for _, h := range f.Hosts {
			add(h.Name)
		}
	}
	if len(a.Match) == 0 {
		return temp("A15", "the mode wants a certificate for a name, and there is none that match could have")
	}
	return a
}

// preferred answers where TLS is wanted and not needed.
func preferred(f *Findings, c *census) Answer {
	switch {
	case f.Settings.DANE == tlspolicy.DANENone && f.ModeStated:
		return Answer{Status: Found, Level: May, Row: "A17", Why: "TLS if it can be had"}
	case f.Settings.DANE != tlspolicy.DANENone && (f.ModeStated || c.unusable > 0 || c.unknown > 0 || f.Beyond):
		return Answer{Status: Found, Level: DANE, Row: "A16", Why: "TLS if it can be had; Postfix looks for TLSA records at each host"}
	}
	return Answer{Status: NotFound, Row: "A18", Why: "nothing is published, and the table leaves the mode to main.cf"}
}

func daneOnly(row, why string) Answer {
	return Answer{Status: Found, Level: DANEOnly, Strict: true, Row: row, Why: why}
}

func temp(row, why string) Answer { return Answer{Row: row, Why: why} }

// temp is for what rests on findings and not on the lack of them.
func (c *census) temp(row, why string) Answer {
	return Answer{Row: row, Why: why, enforced: c.enforced}
}
