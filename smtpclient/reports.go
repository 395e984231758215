package smtpclient

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/tlspolicy"
	"github.com/smtpsec/smtpsec/tlspolicy/tlsrpt"
)

// counts tells whether TLS reports are to know of a delivery.
func (x *delivery) counts(ctx context.Context) bool {
	return x.conf.d.Reports != nil && !x.noReport && !x.quiet && ctx.Err() == nil
}

// collectMX counts a domain whose MX lookup policy took offence at.
func (x *delivery) collectMX(ctx context.Context) {
	d := x.report.MX.Decision
	if d == (tlspolicy.Decision{}) || !x.counts(ctx) {
		return
	}
	s := tlsrpt.Session{RecipientDomain: x.reportDomain()}
	for policy, result := range d.Counts() {
		if policy == tlspolicy.PolicyTLSA && s.RecipientDomain != "" {
			r := tlsrpt.ResultType(result.String())
			// No host is known that it could be about.
			s.Add(tlsrpt.PolicyResult{Policy: tlsrpt.NewTLSAPolicy(x.report.MX.Domain, "", nil), Result: r, Reason: lookupReason(r, x.report.MX.Err)})
		}
	}
	if s.NPolicies > 0 {
		x.conf.d.Reports.Collect(&s)
	}
}

// collect counts a host that policy stopped before it was connected to, or a
// connection on which policy has decided. Nothing is counted of a connection that
// did not come that far: who does not answer, greets with 421 or hangs up says
// nothing about TLS (RFC 8460 section 4.3.4). a is not kept.
func (x *delivery) collect(ctx context.Context, p *hostPlan, d tlspolicy.Decision, a *Attempt, noTLS error) {
	if d.Reason == tlspolicy.ReasonNone || a.Reconnect || !x.counts(ctx) {
		return
	}
	s := tlsrpt.Session{
		RecipientDomain: x.reportDomain(), MXHost: p.host.name,
		LocalIP: a.LocalAddr.Addr(), RemoteIP: a.Addr.Addr(),
	}
	if s.RecipientDomain == "" {
		return
	}
	s.Helo, _, _ = strings.Cut(a.Greeting, " ")
	undiscovered := x.undiscovered(p, d)
	for policy, result := range d.Counts() {
		r := tlsrpt.PolicyResult{Result: tlsrpt.ResultType(result.String())}
		switch policy {
		case tlspolicy.PolicyTLSA:
			r.Policy = x.tlsaPolicy(p)
			r.Reason = lookupReason(r.Result, p.dane.Err)
		case tlspolicy.PolicySTS:
			if x.sts.Source == mtasts.SourcePinned || result != tlspolicy.ResultNone && p.stsState == tlspolicy.STSEnforceMismatch && x.sts.Policy.Match(p.host.name) {
				continue // it was a pin, and those are rules of our own
			}
			r.Policy = x.stsPolicy()
			if p.stsState == tlspolicy.STSEnforceMismatch || p.stsState == tlspolicy.STSTestingMismatch {
				r.Reason = tlsrpt.ReasonMXMismatch
			}
		default:
			if undiscovered {
				continue // there is a policy, only nobody knows it
			}
			r.Policy = x.noPolicy(s.RecipientDomain)
		}
		if r.Result != tlsrpt.Success && r.Reason == "" {
			r.Reason = connectionReason(policy, r.Result, a, noTLS)
		}
		s.Add(r)
	}
	if undiscovered {
		s.Add(tlsrpt.PolicyResult{Policy: x.stsPolicy(), Result: tlsrpt.ResultType(x.sts.Report), Reason: x.sts.Reason})
	}
	if s.NPolicies > 0 {
		x.conf.d.Reports.Collect(&s)
	}
}

// reportDomain is whose reports a delivery goes into: that of the recipients or, on
// a route, of the next hop. It is empty for an address.
func (x *delivery) reportDomain() string {
	switch {
	case x.hop == Hop{}:
		return x.domain
	case len(x.hosts) == 1 && x.hosts[0].literal.IsValid():
		return ""
	}
	return x.hop.Host
}

// undiscovered tells whether MTA-STS would have had a say about the host, had its
// policy been found. d is what was decided without it.
func (x *delivery) undiscovered(p *hostPlan, d tlspolicy.Decision) bool {
	if p.stsState != tlspolicy.STSDiscoveryError || x.sts.Report == "" || d.Policy == tlspolicy.PolicyNone {
		return false
	}
	enforced := tlspolicy.Settings{Mode: tlspolicy.Preferred, DANE: x.settings.DANE, MTASTS: tlspolicy.On, Fallback: x.settings.Fallback}
	return tlspolicy.Plan(enforced, p.daneState, tlspolicy.STSEnforceMatch).Kind() == tlspolicy.KindSTS
}

// lookupReason is the reason of a result that rests on a DNS lookup.
func lookupReason(r tlsrpt.ResultType, err error) string {
	failed, ok := errors.AsType[*dnssec.Error](err)
	if !ok {
		return ""
	}
	switch r {
	case tlsrpt.DNSSECInvalid:
		return tlsrpt.BogusReason(failed.EDE)
	case tlsrpt.TLSAInvalid:
		switch failed.Kind {
		case dnssec.KindTimeout:
			return tlsrpt.ReasonTLSATimeout
		case dnssec.KindServFail:
			return tlsrpt.LookupReason(2)
		case dnssec.KindRefused:
			return tlsrpt.LookupReason(5)
		}
		return tlsrpt.ReasonTLSALookup + "failed"
	}
	return ""
}

// connectionReason is the reason of a result that rests on the connection.
func connectionReason(policy tlspolicy.Policy, r tlsrpt.ResultType, a *Attempt, noTLS error) string {
	switch r {
	case tlsrpt.STARTTLSNotSupported:
		if no, ok := errors.AsType[*ReplyError](noTLS); ok {
			return tlsrpt.RefusedReason(no.Code)
		}
		return tlsrpt.ReasonNotOffered
	case tlsrpt.ValidationFailure:
		failed, ok := errors.AsType[*HandshakeError](noTLS)
		switch {
		case ok && failed.Cause == CauseInjected:
			return tlsrpt.ReasonPlaintext
		case ok:
			_, reason := tlsrpt.ResultOf(failed.Err)
			return reason
		case policy == tlspolicy.PolicyTLSA && a.Outcome.TLS == tlspolicy.TLSEstablished && !a.Outcome.OldTLS:
			return tlsrpt.ReasonTLSAMismatch
		}
	case tlsrpt.CertificateHostMismatch, tlsrpt.CertificateExpired, tlsrpt.CertificateNotTrusted:
		kind, reason := tlsrpt.ResultOf(a.Unverified)
		// A certificate above that of the server whose time is over is a chain that
		// is not trusted, and the reason says what of it.
		if kind == r || kind == tlsrpt.CertificateExpired && r == tlsrpt.CertificateNotTrusted {
			return reason
		}
	}
	return ""
}

// stsPolicy is the MTA-STS policy of a delivery, or what was served in its place.
func (x *delivery) stsPolicy() *tlsrpt.PolicyInfo {
	served := func() *tlsrpt.PolicyInfo {
		var patterns []string
		if x.sts.Policy != nil {
			patterns = x.sts.Policy.MX
		}
		return tlsrpt.NewSTSPolicy(x.sts.Domain, x.sts.Body, patterns)
	}
	if x.sts.Policy == nil {
		return served() // bodies of no worth are not remembered
	}
	return x.conf.policies.get(policyKey{kind: tlspolicy.PolicySTS, domain: x.sts.Domain, sts: x.sts.Policy}, served)
}

// tlsaPolicy is what a host's TLSA records are, or that there are none to be had.
func (x *delivery) tlsaPolicy(p *hostPlan) *tlsrpt.PolicyInfo {
	base := p.dane.Base
	if base == "" {
		base = p.host.name
	}
	published := func() *tlsrpt.PolicyInfo {
		records := make([]tlsrpt.TLSARecord, len(p.dane.Records))
		for i, r := range p.dane.Records {
			records[i] = tlsrpt.TLSARecord{Usage: uint8(r.Usage), Selector: uint8(r.Selector), MatchingType: uint8(r.MatchingType), Data: r.Data}
		}
		return tlsrpt.NewTLSAPolicy(base, p.host.name, records)
	}
	if p.dane.Outcome != dane.OutcomeUsable {
		return published()
	}
	return x.conf.policies.get(policyKey{kind: tlspolicy.PolicyTLSA, domain: base, host: p.host.name, tlsa: p.dane.Verifier.Partition()}, published)
}

func (x *delivery) noPolicy(domain string) *tlsrpt.PolicyInfo {
	return x.conf.policies.get(policyKey{kind: tlspolicy.PolicyNoPolicyFound, domain: domain}, func() *tlsrpt.PolicyInfo {
		return tlsrpt.NewNoPolicy(domain)
	})
}

// rememberedPolicies is how many policies are kept for the reports to come.
const rememberedPolicies = 1024

// policies remembers policies as reports have them, because a report recognises one
// that it has met by its address alone.
type policies struct {
	mu    sync.Mutex
	known map[policyKey]*tlsrpt.PolicyInfo
}

// policyKey is what makes a policy the same as another.
type policyKey struct {
	kind         tlspolicy.Policy
	domain, host string
	sts          *mtasts.Policy
	tlsa         [32]byte
}

// get returns the policy of a key, made if it is not known. When there are too many
// all are forgotten: those in use come back at once.
func (c *policies) get(k policyKey, make func() *tlsrpt.PolicyInfo) *tlsrpt.PolicyInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.known[k]
	if p != nil {
		return p
	}
	if c.known == nil || len(c.known) >= rememberedPolicies {
		c.known = map[policyKey]*tlsrpt.PolicyInfo{}
	}
	p = make()
	c.known[k] = p
	return p
}
