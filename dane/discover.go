package dane

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/internal/hostname"
)

// smtpPort is where mail is taken from other MTAs (RFC 5321 section 4.5.4.2).
const smtpPort = 25

// An SMTPQuery names one mail host and how it was found.
type SMTPQuery struct {
	// Host is an MX host, or the mail domain itself if that has no MX records, or
	// a host from local configuration.
	Host string
	// Port is the one that will be connected to; 0 is 25.
	Port uint16
	// MX is the answer that led to Host: one with Outcome Found, if Host is among
	// the MX hosts, or the proof that there are none, if Host is the domain. nil
	// says that Host is local configuration, which is as good as a secure answer.
	MX *dnssec.Answer
	// Options go to NewVerifier. Discovery is for SMTP, so Profile is always
	// taken as ProfileSMTP.
	Options Options
}

// SMTPHost is all there is to know about a mail host before connecting to it.
type SMTPHost struct {
	Host    string         // in A-labels, without final dot; as given if it is no host name
	Outcome Outcome        // what is known; look at this first
	Reason  DiscoverReason // what Outcome rests on, where that is open
	Addrs   dnssec.Addrs   // connect to these and do not resolve again; an IP address given as Host is here too
	Base    string         // TLSA base domain, without final dot; for usable and unusable
	Records []Record       // the TLSA set, for usable and unusable
	// Verifier is set for usable only.
	Verifier *Verifier
	// RefIDs are the names for Verifier, Base first; for unusable, Host alone. The
	// first is to be sent as SNI.
	RefIDs  RefIDs
	Expires time.Time // the least of all answers used; zero if there was none
	Err     error     // a *DiscoverError, for bogus and lookup-error
}

// DiscoverHost finds out what DANE demands of one mail host: it resolves the
// host, decides whether its name is protected by DNSSEC, looks for TLSA records
// at the expanded and at the given name, and compiles them (RFC 7672 section
// 2.2). There is no error besides the SMTPHost, so that the Outcome cannot be
// overlooked.
//
// A failed lookup is never taken for a missing record, and TLSA is not asked for
// below addresses that are not secure, where broken servers would block mail
// that DANE does not protect anyway. One failed address family is left out, and
// noted in Addrs.
func DiscoverHost(ctx context.Context, r dnssec.Resolver, q SMTPQuery) SMTPHost {
	if q.Port == 0 {
		q.Port = smtpPort
	}
	q.Options.Profile = ProfileSMTP
	d := discovery{ctx: ctx, resolver: r, query: q, host: SMTPHost{Host: q.Host}}
	d.run()
	return d.host
}

// discovery is one run of DiscoverHost.
type discovery struct {
	ctx      context.Context
	resolver dnssec.Resolver
	query    SMTPQuery
	host     SMTPHost
}

func (d *discovery) run() {
	if addr, ok := hostname.Literal(strings.TrimSuffix(d.query.Host, ".")); ok {
		d.host.Addrs = literalAddrs(addr)
		d.decide(OutcomeInsecure, ReasonAddressLiteral)
		return
	}
	ids, err := NewRefIDs(d.query.Host)
	if err != nil {
		d.fail(ReasonBadName, StageAddress, d.query.Host, err)
		return
	}
	d.host.Host = ids.Base()
	if !d.resolve() {
		return
	}
	if mx := d.query.MX; mx != nil {
		d.uses(mx)
		if mx.Security != dnssec.Secure {
			// RFC 7672 section 2.2.1: what an unsigned MX record names may be the
			// attacker's own host, with DANE and all.
			d.insecure(mx.Security, ReasonInsecureMX)
			return
		}
	}
	if bases, ok := d.bases(); ok {
		d.lookup(bases)
	}
}

func literalAddrs(addr netip.Addr) dnssec.Addrs {
	if addr.Is4() {
		return dnssec.Addrs{A: dnssec.AddrSet{IPs: []netip.Addr{addr}}}
	}
	return dnssec.Addrs{AAAA: dnssec.AddrSet{IPs: []netip.Addr{addr}}}
}

// resolve finds the addresses. It returns false if there is nothing to connect
// to.
func (d *discovery) resolve() bool {
	addrs, _ := dnssec.LookupAddrs(d.ctx, d.resolver, d.host.Host) // the errors are in addrs
	d.host.Addrs = addrs
	if len(addrs.A.IPs)+len(addrs.AAAA.IPs) > 0 {
		for _, set := range [...]dnssec.AddrSet{addrs.A, addrs.AAAA} {
			if len(set.IPs) > 0 {
				d.uses(set.Answer)
			}
		}
		return true
	}
	failed := addrs.A.Err
	if failed == nil || errors.Is(addrs.AAAA.Err, dnssec.KindBogus) {
		failed = addrs.AAAA.Err
	}
	if errors.Is(addrs.A.Err, dnssec.KindBogus) {
		failed = addrs.A.Err
	}
	if failed != nil {
		d.fail(ReasonAddressLookup, StageAddress, d.host.Host, failed)
		return false
	}
	d.uses(addrs.A.Answer)
	d.uses(addrs.AAAA.Answer)
	d.decide(OutcomeNoAddress, DiscoverReasonNone)
	return false
}

// bases returns the candidates for the TLSA base domain, in order: the expanded
// name, if the whole way there is secure, then the host itself, if at least the
// first step is (RFC 7672 section 2.2.3). It returns false if there is none.
func (d *discovery) bases() ([]string, bool) {
	var aliased *dnssec.Answer
	untrusted := dnssec.Insecure
	for _, set := range [...]dnssec.AddrSet{d.host.Addrs.A, d.host.Addrs.AAAA} {
		if len(set.IPs) == 0 {
			continue
		}
		if set.Answer.Security == dnssec.Secure {
			// One secure family makes the host secure, and what is demanded then holds for
			// all addresses.
			return d.expanded(set.Answer.Canonical)
		}
		if aliased == nil && set.Answer.Aliased() {
			aliased = set.Answer
		}
		untrusted = min(untrusted, set.Answer.Security)
	}
	if aliased == nil {
		d.insecure(untrusted, ReasonInsecureAddress)
		return nil, false
	}
	first := aliased.Chain[0]
	security, err := dnssec.StepSecurity(d.ctx, d.resolver, first)
	if err != nil {
		d.fail(ReasonAliasLookup, StageAlias, first.Owner, err)
		return nil, false
	}
	if security != dnssec.Secure {
		d.insecure(security, ReasonInsecureAddress)
		return nil, false
	}
	return []string{d.host.Host}, true
}

// expanded returns the candidates for a host whose addresses are secure.
func (d *discovery) expanded(canonical string) ([]string, bool) {
	ids, err := NewRefIDs(canonical, d.host.Host)
	if err != nil {
		// The name can neither be sent as SNI nor be looked for in a certificate.
		d.fail(ReasonBadName, StageAddress, canonical, err)
		return nil, false
	}
	return ids.names, true
}

// lookup asks for TLSA at each candidate until one has records. The owner may be
// an alias itself; the resolver follows it, and the whole chain must be secure
// (RFC 7671 section 7).
func (d *discovery) lookup(bases []string) {
	security := dnssec.Secure
	for _, base := range bases {
		if _, err := OwnerName(d.query.Port, "tcp", base); err != nil {
			continue // too long to exist
		}
		set, err := LookupTLSA(d.ctx, d.resolver, d.query.Port, "tcp", base)
		if err == nil && set.Answer.Outcome == dnssec.Found && len(set.Records)+set.Malformed == 0 {
			err = &dnssec.Error{
				Kind: dnssec.KindMalformed, Name: set.Answer.Name, Type: dnssec.TypeTLSA,
				EDE: -1, Reason: "an answer that says found, without records",
			}
		}
		if err != nil {
			// Not the next candidate: an attacker would only have to drop one answer.
			d.fail(ReasonTLSALookup, StageTLSA, base, err)
			return
		}
		d.uses(set.Answer)
		security = min(security, set.Answer.Security)
		if set.Answer.Security == dnssec.Secure && set.Answer.Outcome == dnssec.Found {
			d.found(base, set)
			return
		}
	}
	if security != dnssec.Secure {
		d.insecure(security, ReasonInsecureTLSA)
		return
	}
	d.decide(OutcomeNoTLSA, DiscoverReasonNone)
}

// found compiles a secure TLSA set.
func (d *discovery) found(base string, set TLSASet) {
	d.host.Base, d.host.Records = base, set.Records
	verifier, err := NewVerifier(set.Records, d.query.Options)
	if err != nil || verifier.Usable() == 0 { // the error: nothing but malformed records
		d.host.RefIDs = RefIDs{[]string{d.host.Host}}
		d.decide(OutcomeUnusable, DiscoverReasonNone)
		return
	}
	d.host.Verifier, d.host.RefIDs = verifier, d.refIDs(base)
	d.decide(OutcomeUsable, DiscoverReasonNone)
}

// refIDs returns the names of which the certificate must have one: the base
// domain; the host, if the base is its expansion; and for an MX host the domain
// of the recipient, as given and expanded (RFC 7672 section 3.2.2). All of them
// came over secure answers. Names that cannot be in a certificate are left out.
func (d *discovery) refIDs(base string) RefIDs {
	names := []string{d.host.Host}
	if mx := d.query.MX; mx != nil && mx.Outcome == dnssec.Found {
		for _, name := range [...]string{mx.Name, mx.Canonical} {
			if _, err := NewRefIDs(name); err == nil {
				names = append(names, name)
			}
		}
	}
	ids, err := NewRefIDs(base, names...)
	if err != nil {
		return RefIDs{[]string{base}}
	}
	return ids
}

// uses notes until when the outcome holds.
func (d *discovery) uses(a *dnssec.Answer) {
	if a == nil || a.Expires.IsZero() {
		return
	}
	if d.host.Expires.IsZero() || a.Expires.Before(d.host.Expires) {
		d.host.Expires = a.Expires
	}
}

func (d *discovery) decide(outcome Outcome, reason DiscoverReason) {
	d.host.Outcome, d.host.Reason = outcome, reason
}

// insecure decides for an answer that is not Secure. That the resolver cannot
// tell is no different for the message, but for whoever runs the resolver.
func (d *discovery) insecure(security dnssec.Security, reason DiscoverReason) {
	if security == dnssec.Indeterminate {
		reason = ReasonResolverUntrusted
	}
	d.decide(OutcomeInsecure, reason)
}

// fail decides for a lookup without answer.
func (d *discovery) fail(reason DiscoverReason, stage Stage, name string, err error) {
	outcome := OutcomeLookupError
	if errors.Is(err, dnssec.KindBogus) {
		outcome = OutcomeBogus
	}
	d.host.Err = &DiscoverError{stage, name, err}
	d.decide(outcome, reason)
}
