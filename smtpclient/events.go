package smtpclient

import (
	"context"
	"log/slog"
	"time"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// listens tells whether anybody wants to hear of an event.
func (x *delivery) listens(ctx context.Context, kind tlspolicy.EventKind) bool {
	return !x.quiet && (x.conf.d.OnEvent != nil || x.conf.log.Enabled(ctx, kind.Level()))
}

// emit hands out one event.
func (x *delivery) emit(ctx context.Context, e tlspolicy.Event) {
	if !x.listens(ctx, e.Kind) {
		return
	}
	e.Time, e.Domain = time.Now(), x.label()
	if x.conf.d.OnEvent != nil {
		x.conf.d.OnEvent(ctx, e)
	}
	x.conf.log.LogAttrs(ctx, e.Kind.Level(), e.AsyncOS(), slog.Attr{Value: e.LogValue()})
}

// hostEvents tells which rules apply to a host whose turn it is.
func (x *delivery) hostEvents(ctx context.Context, p *hostPlan) {
	x.daneUnavailable(ctx, p)
	e := tlspolicy.Event{Host: p.host.name}
	tell := func(kind tlspolicy.EventKind) {
		e.Kind = kind
		x.emit(ctx, e)
	}
	switch p.stsState {
	case tlspolicy.STSEnforceMatch, tlspolicy.STSEnforceMismatch, tlspolicy.STSTestingMatch, tlspolicy.STSTestingMismatch:
	default:
		return // there is no policy to apply
	}
	switch {
	case p.requirement.Kind() == tlspolicy.KindDANE:
		tell(tlspolicy.EventSTSSkippedDANE)
	case p.err != nil && p.decision.Reason != tlspolicy.ReasonSTSMXMismatch:
		// Left before the policy had its turn.
	default:
		tell(tlspolicy.EventSTSApply)
		if p.requirement.Kind() == tlspolicy.KindSTS {
			tell(tlspolicy.EventSTSEnforce)
		}
	}
}

// daneUnavailable warns, once in the life of a Dialer, that the resolver does not
// tell secure answers from others, so that DANE protects nobody.
func (x *delivery) daneUnavailable(ctx context.Context, p *hostPlan) {
	if !x.useDANE || p.daneState != tlspolicy.DANEInsecure || p.host.literal.IsValid() {
		return
	}
	for _, answer := range [...]*dnssec.Answer{p.host.mx, p.dane.Addrs.A.Answer, p.dane.Addrs.AAAA.Answer} {
		if answer != nil && answer.Security == dnssec.Indeterminate && !x.quiet {
			x.conf.d.warned.Do(func() {
				x.emit(ctx, tlspolicy.Event{Kind: tlspolicy.EventDANEUnavailable, Host: p.host.name,
					Detail: "DANE is on, but nobody has validated the answers of the resolver; Dialer.CheckResolver says why"})
			})
			return
		}
	}
}

// attemptEvents tells how an attempt ended. Everything is in the attempt already;
// nothing is told of what the end of ctx interrupted.
func (x *delivery) attemptEvents(ctx context.Context, a *Attempt) {
	if !x.listens(ctx, tlspolicy.EventTLSRequiredFailed) && !x.listens(ctx, tlspolicy.EventDecision) {
		return
	}
	e := tlspolicy.Event{ConnID: a.ConnID, Host: a.Host, Addr: a.Addr, Local: a.LocalAddr.Addr(), Version: a.Version, Suite: a.Suite}
	if a.Outcome.TLS == tlspolicy.TLSEstablished {
		e.Kind = tlspolicy.EventTLSEstablished
		x.emit(ctx, e)
	}
	if a.Decision.Reason == tlspolicy.ReasonNone {
		return
	}
	e.Decision = a.Decision
	switch {
	case a.Err != nil:
		e.Detail = a.Err.Error()
	case a.Unverified != nil:
		e.Detail = a.Unverified.Error()
	}
	for _, kind := range attemptKinds(a) {
		if kind != tlspolicy.EventNone {
			e.Kind = kind
			x.emit(ctx, e)
		}
	}
	e.Kind = tlspolicy.EventDecision
	x.emit(ctx, e)
}

// attemptKinds returns what has happened in an attempt that policy decided on: why
// there was no TLS, that it was needed, and what became of the MTA-STS policy.
func attemptKinds(a *Attempt) (kinds [3]tlspolicy.EventKind) {
	d, r := a.Decision, a.Requirement
	connected := a.Addr.IsValid()
	if connected && r.Kind() != tlspolicy.KindClear {
		switch a.Outcome.TLS {
		case tlspolicy.TLSNoESMTP:
			kinds[0] = tlspolicy.EventNoESMTP
		case tlspolicy.TLSNotOffered:
			kinds[0] = tlspolicy.EventSTARTTLSAbsent
		case tlspolicy.TLSRefused:
			kinds[0] = tlspolicy.EventSTARTTLSRefused
		}
	}
	if connected && r.StrictTLS() && d.Action == tlspolicy.Next {
		kinds[1] = tlspolicy.EventTLSRequiredFailed
		if a.Outcome.TLS == tlspolicy.TLSNoESMTP || a.Outcome.TLS == tlspolicy.TLSNotOffered {
			kinds[1] = tlspolicy.EventTLSRequiredUnavailable
		}
	}
	switch {
	case r.Kind() == tlspolicy.KindSTS && d.Reason.Class() == tlspolicy.ClassSTS && d.Action == tlspolicy.Next,
		d.Reason == tlspolicy.ReasonSTSMXMismatch:
		kinds[2] = tlspolicy.EventSTSFailed
	case r.Kind() == tlspolicy.KindSTS:
		kinds[2] = tlspolicy.EventSTSSuccess // also if the mode's own rule then refused
	case d.Shadow.Policy == tlspolicy.PolicySTS && d.Shadow.Reason == tlspolicy.ReasonSTSVerified:
		kinds[2] = tlspolicy.EventSTSSuccess
	case d.Shadow.Policy == tlspolicy.PolicySTS:
		kinds[2] = tlspolicy.EventSTSFailed
	}
	return kinds
}

// endEvents tells of a way that led to no session: that an enforced MTA-STS policy
// had to do with it, and that its domain gets no mail.
func (x *delivery) endEvents(ctx context.Context) {
	if x.quiet || ctx.Err() != nil {
		return
	}
	var hosts []tlspolicy.HostDecision
	at := map[string]int{} // in hosts
	if d := x.report.MX.Decision; d.Reason != tlspolicy.ReasonNone {
		x.emit(ctx, tlspolicy.Event{Kind: tlspolicy.EventDecision, Decision: d})
		hosts = append(hosts, tlspolicy.HostDecision{Decision: d})
	}
	enforced := false
	for i := range x.report.Attempts {
		a := &x.report.Attempts[i]
		enforced = enforced || a.Requirement.Kind() == tlspolicy.KindSTS || a.Decision.Reason == tlspolicy.ReasonSTSMXMismatch
		if a.Decision.Reason == tlspolicy.ReasonNone {
			continue
		}
		last, ok := at[a.Host]
		if !ok {
			last = len(hosts)
			at[a.Host] = last
			hosts = append(hosts, tlspolicy.HostDecision{Host: a.Host})
		}
		hosts[last].Decision = a.Decision
	}
	if enforced {
		x.emit(ctx, tlspolicy.Event{Kind: tlspolicy.EventSTSConnectionFailed})
	}
	for _, alert := range tlspolicy.AlertsFor(x.label(), x.settings, hosts) {
		if x.conf.d.OnAlert != nil {
			x.conf.d.OnAlert(ctx, alert)
		}
		x.conf.log.LogAttrs(ctx, alert.Level(), alert.String(), slog.Attr{Value: alert.LogValue()})
	}
}
