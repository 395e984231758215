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

// hostPlan is all that is known about a host before it is connected to.
type hostPlan struct {
	host        candidate
	addrs       []netip.Addr // in the order in which they are tried
	self        bool         // the host is this system
	dane        dane.SMTPHost
	daneState   tlspolicy.DANEState
	stsState    tlspolicy.STSState
	stsID       string
	requirement tlspolicy.Requirement
	names       tlspolicy.PeerNames
	ptr         map[netip.Addr][]tlspolicy.PTRName // confirmed names; nil: not looked up yet
	dns         time.Duration
	expires     time.Time // when the first of the facts runs out

	// Why the host is left without connecting, if it is.
	err      error
	stage    Stage
	decision tlspolicy.Decision
}

// describe puts what is known about the host into an attempt.
func (p *hostPlan) describe(a *Attempt) {
	a.Host, a.Pref = p.host.name, p.host.pref
	a.DANEState, a.STSState, a.STSPolicy = p.daneState, p.stsState, p.stsID
	a.DANEReason, a.TLSABase = p.dane.Reason, p.dane.Base
	if a.Requirement == (tlspolicy.Requirement{}) {
		a.Requirement = p.requirement
	}
}

// expiry returns when the first of the facts about a host runs out.
func (x *delivery) expiry(p *hostPlan, addrs dnssec.Addrs) time.Time {
	now := time.Now()
	end := earlier(now.Add(MaxPlanAge), x.sts.Expires)
	end = earlier(end, p.dane.Expires)
	for _, answer := range [...]*dnssec.Answer{p.host.mx, addrs.A.Answer, addrs.AAAA.Answer} {
		if answer != nil {
			end = earlier(end, answer.Expires)
		}
	}
	if soonest := now.Add(minPlanAge); end.Before(soonest) {
		return soonest
	}
	return end
}

// prepare resolves a host and asks for its requirement. It changes nothing but
// the plan that it returns, so that it may run ahead.
func (x *delivery) prepare(ctx context.Context, host candidate) *hostPlan {
	p := &hostPlan{host: host, stsState: x.stsState(host), stsID: x.sts.ID}
	secure := p.stsState == tlspolicy.STSEnforceMatch || host.mx != nil && host.mx.Security == dnssec.Secure
	p.names = x.route.Names(host.name, secure)
	addrs, ok := x.resolve(ctx, p)
	awaitEnd(ctx)
	p.expires = x.expiry(p, addrs)
	if !ok {
		return p
	}
	var refused int
	p.addrs, refused = x.conf.order(addrs, host.local)
	if self := x.conf.d.Self; self != nil && !host.named {
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
func (x *delivery) policy(p *hostPlan) bool {
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
func (x *delivery) resolve(ctx context.Context, p *hostPlan) (dnssec.Addrs, bool) {
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
func (p *hostPlan) serverName() string {
	switch {
	case p.requirement.Kind() == tlspolicy.KindDANE:
		return p.dane.RefIDs.Base()
	case p.host.literal.IsValid():
		return ""
	}
	return p.host.name
}
