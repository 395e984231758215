package smtpclient

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// ErrNoAddress is a host that has no address, or none that may be used.
var ErrNoAddress = errors.New("the host has no usable address")

// plan is all that is known about a host before it is connected to.
type plan struct {
	host        candidate
	addrs       []netip.Addr // in the order in which they are tried
	self        bool         // the host is this system
	dane        dane.SMTPHost
	daneState   tlspolicy.DANEState
	stsState    tlspolicy.STSState
	stsID       string
	requirement tlspolicy.Requirement
	names       tlspolicy.PeerNames
	dns         time.Duration

	// Why the host is left without connecting, if it is.
	err      error
	stage    Stage
	decision tlspolicy.Decision
}

// prepare resolves a host and asks for its requirement. It changes nothing but
// the plan that it returns, so that it may run ahead.
func (x *delivery) prepare(ctx context.Context, host candidate) *plan {
	p := &plan{host: host, stsState: x.stsState(host), stsID: x.sts.ID}
	p.names = tlspolicy.PeerNames{Domain: x.domain}
	switch {
	case host.literal.IsValid():
	case host.local:
		p.names.RouteHost = host.name
	default:
		p.names.MXHost = host.name
		p.names.MXSecure = host.mx.Security == dnssec.Secure || p.stsState == tlspolicy.STSEnforceMatch
	}
	addrs, ok := x.resolve(ctx, p)
	if !ok {
		return p
	}
	var refused int
	p.addrs, refused = x.conf.order(addrs, host.local)
	if self := x.conf.d.Self; self != nil && !host.local {
		for _, set := range [...][]netip.Addr{addrs.A.IPs, addrs.AAAA.IPs} {
			for _, a := range set {
				p.self = p.self || self(host.name, a.Unmap())
			}
		}
	}
	if x.policy(p) && len(p.addrs) == 0 {
		p.stage, p.err = StageResolve, ErrNoAddress
		// A lookup that failed is not taken for a family without addresses.
		switch family := x.conf.d.Family; {
		case refused > 0:
			p.err = errRefusedAddress
		case addrs.A.Err != nil && family != OnlyIPv6:
			p.err = addrs.A.Err
		case addrs.AAAA.Err != nil && family != OnlyIPv4:
			p.err = addrs.AAAA.Err
		}
	}
	return p
}

var errRefusedAddress = &refusedAddress{}

// refusedAddress is ErrNoAddress with the reason that AllowAddr had a say.
type refusedAddress struct{}

func (*refusedAddress) Error() string { return "the host has no address that may be connected to" }
func (*refusedAddress) Unwrap() error { return ErrNoAddress }

// policy asks tlspolicy whether the host may be connected to, and what must
// hold there. It returns false if not.
func (x *delivery) policy(p *plan) bool {
	p.requirement = tlspolicy.Plan(x.settings, p.daneState, p.stsState)
	if _, err := tlspolicy.NewReferences(p.names); err != nil {
		p.requirement = p.requirement.WithoutReferences()
	}
	decision, skip := p.requirement.Skip()
	if skip {
		p.stage, p.decision = StagePlan, decision
		p.err = &PolicyError{Decision: decision, Host: p.host.name, Err: p.dane.Err}
	}
	return !skip
}

// resolve finds the addresses of the host and, with DANE, its TLSA records. It
// returns false when the plan is final already.
func (x *delivery) resolve(ctx context.Context, p *plan) (dnssec.Addrs, bool) {
	if x.useDANE {
		p.daneState = tlspolicy.DANEInsecure
	}
	if a := p.host.literal; a.IsValid() {
		return dnssec.Addrs{A: dnssec.AddrSet{IPs: []netip.Addr{a}}}, true
	}
	ctx, cancel := context.WithTimeout(ctx, x.conf.timeouts.Resolve)
	defer cancel()
	begin := time.Now()
	defer func() { p.dns = time.Since(begin) }()
	if !x.useDANE {
		// A host that policy excludes needs no addresses, unless somebody wants to
		// recognise his own.
		allowed := x.policy(p)
		if x.conf.d.Self == nil && !allowed {
			return dnssec.Addrs{}, false
		}
		addrs, err := dnssec.LookupAddrs(ctx, x.resolver, p.host.name)
		if err != nil && allowed {
			p.stage, p.err = StageResolve, err
		}
		return addrs, err == nil
	}
	p.dane = dane.DiscoverHost(ctx, x.resolver, dane.SMTPQuery{
		Host: p.host.name, Port: x.port, MX: p.host.mx, Options: x.conf.dane,
	})
	switch p.dane.Outcome {
	case dane.OutcomeUsable:
		p.daneState = tlspolicy.DANEUsable
	case dane.OutcomeUnusable:
		p.daneState = tlspolicy.DANEUnusable
	case dane.OutcomeNoTLSA:
		p.daneState = tlspolicy.DANENoTLSA
	case dane.OutcomeInsecure:
		p.daneState = tlspolicy.DANEInsecure
	case dane.OutcomeBogus:
		p.daneState = tlspolicy.DANEBogus
	case dane.OutcomeNoAddress: // not a finding about DANE
		p.daneState, p.stage, p.err = tlspolicy.DANEUnknown, StageResolve, ErrNoAddress
		return dnssec.Addrs{}, false
	default:
		p.daneState = tlspolicy.DANELookupError
	}
	return p.dane.Addrs, true
}

// serverName is the name sent in the TLS handshake: the TLSA base domain for
// DANE (RFC 7672 section 8.1), else the host as the MX record names it (RFC 8461
// section 4.1). An address is never sent.
func (p *plan) serverName() string {
	switch {
	case p.requirement.Kind() == tlspolicy.KindDANE:
		return p.dane.RefIDs.Base()
	case p.host.literal.IsValid():
		return ""
	}
	return p.host.name
}
