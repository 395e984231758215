package main

import (
	"net/netip"
	"strings"

	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/mtasts"
	"github.com/smtpsec/smtpsec/smtpclient"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Actions of a Decision beside the Deliver actions of package tlspolicy.
const (
	actionDefer  = "defer"
	actionBounce = "bounce"
)

// facts are the findings that decisions rest on, in the types of package tlspolicy.
type facts struct {
	mx    smtpclient.MXReport
	sts   mtasts.Outcome
	hosts []hostFacts
	end   error // why there is no list of hosts; nil if there is one
}

type hostFacts struct {
	host      string
	dane      tlspolicy.DANEState
	sts       tlspolicy.STSState
	noAddress bool
	unseen    bool // nothing was asked about it: all connections had been spent
	addrs     []addrFacts
}

type addrFacts struct {
	addr netip.AddrPort
	// connected: there was a TCP connection, and no refusal as the first word.
	connected bool
	// reached: the host said 250 to EHLO or HELO.
	reached bool
	// broken: the TLS session came about, and EHLO inside it failed.
	broken  bool
	outcome tlspolicy.Outcome
	// weak: the session is none that a sender takes who wants good TLS.
	weak bool
	// strict is what a sender finds that takes good TLS only; nil: the same. dane is
	// what one finds that names the TLSA base domain in the handshake, where that is not
	// the host's own name.
	strict, dane *addrFacts
}

// verdict is what would become of a message.
type verdict struct {
	action    tlspolicy.Action
	reason    tlspolicy.Reason
	permanent bool
	absent    bool // the domain does not exist
	host      string
	addr      netip.AddrPort
}

// decide walks the hosts in their order and asks the decision tables about each, as
// a delivery would. The headline of one that fails is its first refusal by policy.
func (f *facts) decide(s tlspolicy.Settings) verdict {
	if s.Mode == tlspolicy.No {
		// Neither is looked at then, and stating them would be a contradiction.
		s.DANE, s.MTASTS = tlspolicy.DANENone, tlspolicy.Off
	}
	switch {
	case f.mx.Null || f.mx.Outcome == dnssec.NXDomain:
		// A policy that says the domain takes mail makes an unproven denial temporary.
		unproven := s.MTASTS == tlspolicy.On && f.sts == mtasts.OutcomeEnforce && f.mx.Security != dnssec.Secure
		return verdict{permanent: !unproven, absent: f.mx.Outcome == dnssec.NXDomain}
	case f.mx.Err != nil:
		d, _ := tlspolicy.PlanDomain(s, mxState(f.mx.Err))
		return verdict{reason: d.Reason}
	}
	var first verdict
	for i := range f.hosts {
		v := f.hosts[i].decide(s)
		if v.action != tlspolicy.Next {
			return v
		}
		if first.reason == tlspolicy.ReasonNone && v.reason != tlspolicy.ReasonNone {
			first = v
		}
	}
	return first
}

func (h *hostFacts) decide(s tlspolicy.Settings) verdict {
	none := verdict{host: h.host}
	if h.unseen || h.noAddress && s.DANE != tlspolicy.DANENone {
		return none // that comes before any question of policy
	}
	requirement := tlspolicy.Plan(s, h.dane, h.sts)
	if skip, ok := requirement.Skip(); ok {
		return verdict{reason: skip.Reason, host: h.host}
	}
	first := none
	for i := range h.addrs {
		v := h.addrs[i].decide(requirement)
		v.host = h.host
		if v.action != tlspolicy.Next {
			return v
		}
		if first.reason == tlspolicy.ReasonNone && v.reason != tlspolicy.ReasonNone {
			first = v
		}
	}
	return first
}

func (a *addrFacts) decide(r tlspolicy.Requirement) verdict {
	v := verdict{addr: a.addr}
	if !a.reached {
		return v
	}
	switch {
	case r.Kind() == tlspolicy.KindDANE && a.dane != nil:
		a = a.dane
	case r.StrictTLS() && a.strict != nil:
		a = a.strict
	}
	if !a.reached && r.Kind() != tlspolicy.KindClear {
		return v
	}
	outcome := a.outcome
	if r.Kind() == tlspolicy.KindClear && outcome.TLS == tlspolicy.TLSUnknown {
		outcome.TLS = tlspolicy.TLSNotOffered // STARTTLS is not sent, so that its fate does not matter
	}
	if outcome.TLS == tlspolicy.TLSUnknown {
		return v // the connection broke
	}
	d := r.Decide(outcome)
	if d.Action == tlspolicy.ReconnectClear {
		d = r.AfterReconnect().Decide(tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered})
	}
	if a.broken && (d.Action == tlspolicy.DeliverVerified || d.Action == tlspolicy.DeliverUnverified) {
		return v
	}
	v.action, v.reason = d.Action, d.Reason
	return v
}

// mxState is what a failed MX lookup means for DANE.
func mxState(err error) tlspolicy.DANEState {
	if isBogus(err) {
		return tlspolicy.DANEBogus
	}
	return tlspolicy.DANELookupError
}

// decisions asks about every combination of settings that is in question.
func (q *question) decisions(f *facts) []Decision {
	var all []Decision
	for _, s := range q.settings() {
		v := f.decide(s)
		d := Decision{
			Mode: s.Mode.String(), DANE: s.DANE.String(), MTASTS: s.MTASTS.String(),
			Action: v.action.String(), Host: v.host, Text: v.words(),
		}
		if v.reason != tlspolicy.ReasonNone {
			d.Reason = v.reason.String()
		}
		if v.addr.IsValid() {
			d.Address = v.addr.String()
		}
		switch {
		case v.permanent:
			d.Action = actionBounce
		case v.action == tlspolicy.Next:
			d.Action = actionDefer
		}
		all = append(all, d)
	}
	return all
}

// words says in a few words what a verdict means.
func (v *verdict) words() string {
	switch v.action {
	case tlspolicy.DeliverVerified:
		switch v.reason {
		case tlspolicy.ReasonDANEVerified:
			return "delivered over TLS, host authenticated by DANE"
		case tlspolicy.ReasonSTSVerified:
			return "delivered over TLS, host authenticated by MTA-STS"
		case tlspolicy.ReasonSTSModeVerified:
			return "delivered over TLS, host authenticated by MTA-STS and its name"
		case tlspolicy.ReasonModeVerified:
			return "delivered over TLS, host authenticated by its name"
		}
		return "delivered over TLS, host authenticated"
	case tlspolicy.DeliverUnverified:
		return "delivered over TLS, host not authenticated"
	case tlspolicy.DeliverClear:
		return "delivered in clear text"
	}
	switch {
	case v.permanent && v.absent:
		return "returned to its sender: the domain does not exist"
	case v.permanent:
		return "returned to its sender: the domain takes no mail"
	}
	return "deferred: " + v.obstacle()
}

// obstacle says why mail was not delivered; a reason without words of its own is
// written as package tlspolicy names it.
func (v *verdict) obstacle() string {
	switch v.reason {
	case tlspolicy.ReasonNone:
		return "no mail host could be talked to"
	case tlspolicy.ReasonDANEMismatch:
		return "no TLSA record matches the certificate"
	case tlspolicy.ReasonDANEBogus:
		return "DNSSEC validation fails"
	case tlspolicy.ReasonDANELookupError:
		return "a DNS lookup that DANE needs fails"
	case tlspolicy.ReasonDANERequiredInsecure:
		return "DANE is mandatory, and DNS is not signed"
	case tlspolicy.ReasonDANERequiredNoTLSA:
		return "DANE is mandatory, and there is no TLSA record"
	case tlspolicy.ReasonDANERequiredUnusable:
		return "DANE is mandatory, and no TLSA record can be used"
	case tlspolicy.ReasonSTSMXMismatch:
		return "the MTA-STS policy does not list the mail host"
	case tlspolicy.ReasonSTSCertUntrusted:
		return "MTA-STS wants a trusted certificate"
	case tlspolicy.ReasonSTSCertNameMismatch:
		return "MTA-STS wants a certificate for the mail host's name"
	case tlspolicy.ReasonModeCertUntrusted:
		return "the certificate is not trusted"
	case tlspolicy.ReasonModeCertNameMismatch:
		return "the certificate is for another name"
	}
	name := v.reason.String()
	switch {
	case strings.HasSuffix(name, "-absent"):
		return "TLS is needed, and STARTTLS is not offered"
	case strings.HasSuffix(name, "handshake-failed"):
		return "TLS is needed, and the handshake fails"
	case strings.HasSuffix(name, "-refused"):
		return "TLS is needed, and STARTTLS is refused"
	}
	return name
}
