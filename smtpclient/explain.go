package smtpclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/smtpsec/smtpsec/dane"
	"github.com/smtpsec/smtpsec/dane/dnssec"
	"github.com/smtpsec/smtpsec/tlspolicy"
)

// Explain tells the story of a Dial in plain sentences, a line each: what was
// found, every attempt with the rules that decided about it, and how it ended.
// The text is for people and its wording may change.
func (r *Report) Explain() string {
	var b strings.Builder
	for _, before := range r.Before {
		b.WriteString(before.Explain())
	}
	r.explainRoute(&b)
	r.explainMX(&b)
	governs := "" // the line about the settings, which need not be told twice
	for i := range r.Attempts {
		a := &r.Attempts[i]
		b.WriteString(a.title(i + 1))
		if a.Decision.Reason != tlspolicy.ReasonNone {
			governs = withoutRepeat(&b, tlspolicy.Explain(r.explanation(a)), governs)
		}
		switch {
		case a.Err == nil && a.Version != 0:
			fmt.Fprintf(&b, "The session is ready for MAIL, over %s.\n", tls.VersionName(a.Version))
		case a.Err == nil:
			b.WriteString("The session is ready for MAIL, in clear text.\n")
		case a.Decision.Reason == tlspolicy.ReasonNone:
			fmt.Fprintf(&b, "It ended at stage %s: %s.\n", a.Stage, printable([]byte(a.Err.Error()), peerText))
		}
	}
	if len(r.Attempts) == 0 && r.MX.Err == nil {
		b.WriteString("No host was tried.\n")
	}
	if r.Rechecked {
		b.WriteString("Since hosts failed the MTA-STS policy, it was checked again before giving up (RFC 8461 section 5.1).\n")
	}
	return b.String()
}

// withoutRepeat writes text, without its first line if that is governs. It returns
// the first line.
func withoutRepeat(b *strings.Builder, text, governs string) string {
	first, rest, _ := strings.Cut(text, "\n")
	if first == governs {
		text = rest
	}
	b.WriteString(text)
	return first
}

func (r *Report) explainRoute(b *strings.Builder) {
	if r.Route != (Hop{}) && r.Domain != "" {
		fmt.Fprintf(b, "Mail for %s is routed to %s.\n", r.Domain, r.Route)
	}
}

func (r *Report) explainMX(b *strings.Builder) {
	mx := &r.MX
	switch {
	case r.Host != "":
		fmt.Fprintf(b, "%s is a configured host, so no MX records are asked for.\n", r.Host)
		return
	case mx.Err != nil:
		fmt.Fprintf(b, "The MX lookup of %s failed: %s.\n", mx.Domain, printable([]byte(mx.Err.Error()), peerText))
		if mx.Decision.Reason != tlspolicy.ReasonNone {
			b.WriteString(tlspolicy.Explain(tlspolicy.Explanation{
				Domain: r.Domain, Settings: r.Settings, Origin: r.Origin,
				DANE: mxState(mx.Err), Decision: mx.Decision,
			}))
		}
		return
	case mx.Null:
		fmt.Fprintf(b, "%s has a null MX record: it accepts no mail (RFC 7505).\n", mx.Domain)
	case mx.Outcome == dnssec.NXDomain:
		fmt.Fprintf(b, "%s does not exist.\n", mx.Domain)
	case mx.Implicit:
		fmt.Fprintf(b, "%s has no MX record, so it is its own mail host (RFC 5321 section 5.1).\n", mx.Domain)
	case len(mx.Hosts) > 0:
		var hosts []string
		for _, h := range mx.Hosts {
			hosts = append(hosts, fmt.Sprintf("%s (%d)", h.Host, h.Pref))
		}
		fmt.Fprintf(b, "Mail hosts of %s: %s.\n", mx.Domain, strings.Join(hosts, ", "))
	}
	for _, d := range mx.Dropped {
		fmt.Fprintf(b, "The exchange %q is left out: %v.\n", d.Name, d.Err)
	}
}

// title is the line above an attempt.
func (a *Attempt) title(n int) string {
	s := fmt.Sprintf("Attempt %d: %s", n, a.Host)
	if a.Addr.IsValid() {
		s += fmt.Sprintf(" at %s", a.Addr)
	}
	if a.Reconnect {
		s += ", again in clear text"
	}
	return s + "\n"
}

// explanation is what tlspolicy puts into words about an attempt.
func (r *Report) explanation(a *Attempt) tlspolicy.Explanation {
	e := tlspolicy.Explanation{
		Domain: r.Domain, Host: a.Host, Settings: r.Settings, Origin: r.Origin,
		DANE: a.DANEState, STS: a.STSState, STSPolicy: a.STSPolicy, STSDetail: r.MTASTS.Reason,
		Requirement: a.Requirement, Outcome: a.Outcome, Decision: a.Decision,
	}
	if a.DANEReason != 0 {
		e.DANEDetail = a.DANEReason.String()
	}
	var policy *PolicyError
	var failed *HandshakeError
	switch {
	case errors.As(a.Err, &policy) && policy.Err != nil && a.Stage > StagePlan:
		e.OutcomeDetail = policy.Err.Error()
	case errors.As(a.Err, &policy) && policy.Err != nil:
		e.DANEDetail = policy.Err.Error()
	case errors.As(a.Err, &failed):
		e.OutcomeDetail = failed.Error()
	case a.Unverified != nil:
		e.OutcomeDetail = a.Unverified.Error()
	case a.TLSA.Status == dane.Matched:
		e.OutcomeDetail = "TLSA " + a.TLSA.Record.String()
	case a.Identity.OK:
		e.OutcomeDetail = "certificate for " + a.Identity.Presented
	}
	return e
}
