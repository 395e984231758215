package tlspolicy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestExplainMessages has the rows that a message adds.
func TestExplainMessages(t *testing.T) {
	const golden = "testdata/explain-messages.txt"
	requireTLS, optional := tlspolicy.Message{RequireTLS: true}, tlspolicy.Message{TLSOptional: true}
	override := tlspolicy.Message{TLSOptional: true, OverrideLocal: true}
	table := newTable(t, tlspolicy.Settings{MTASTS: tlspolicy.On}, entries{
		"example.com":           {DANE: tlspolicy.DANEOpportunistic},
		"no.example.com":        {Mode: tlspolicy.No, MTASTS: tlspolicy.Off},
		"mandatory.example.com": {Mode: tlspolicy.Required, DANE: tlspolicy.DANEMandatory},
	})
	var b strings.Builder
	for _, c := range []struct {
		why     string
		domain  string
		message tlspolicy.Message
		d       tlspolicy.DANEState
		t       tlspolicy.STSState
		o       tlspolicy.Outcome
	}{
		{"REQUIRETLS raises mode no", "no.example.com", requireTLS, tlspolicy.DANENoTLSA, tlspolicy.STSNoPolicy,
			tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK}},
		{"REQUIRETLS and an enforced policy", "example.com", requireTLS, tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMatch,
			tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, STSName: true, HostedName: true}},
		{"TLS optional, TLSA records do not match", "example.com", optional, tlspolicy.DANEUsable, tlspolicy.STSEnforceMatch,
			tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished}},
		{"TLS optional, enforced policy and no STARTTLS", "example.com", optional, tlspolicy.DANEUnusable, tlspolicy.STSEnforceMatch,
			tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered}},
		{"TLS optional, the operator's mode stays", "mandatory.example.com", optional, tlspolicy.DANEInsecure, tlspolicy.STSEnforceMatch,
			tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered}},
		{"TLS optional, the operator's mode overridden", "mandatory.example.com", override, tlspolicy.DANEBogus, tlspolicy.STSEnforceMatch,
			tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered}},
		{"TLS optional, mode no", "no.example.com", optional, 0, 0, tlspolicy.Outcome{}},
	} {
		e := tlspolicy.Explanation{Domain: c.domain, Host: "mx1.example.com", DANE: c.d, STS: c.t, STSPolicy: "20240101T0", Outcome: c.o}
		s, origin, err := table.Lookup(c.domain, tlspolicy.NextHop{})
		require.NoError(t, err)
		e.Settings, e.Origin = s.For(c.message), origin
		e.Requirement = tlspolicy.Plan(e.Settings, c.d, c.t)
		e.Decision = e.Requirement.Decide(c.o)
		b.WriteString("== " + c.why + "\n" + tlspolicy.Explain(e) + "\n")
	}
	e := tlspolicy.Explanation{Domain: "example.com", Settings: tlspolicy.Recommended().For(optional), DANE: tlspolicy.DANEBogus}
	e.Decision, _ = tlspolicy.PlanDomain(e.Settings, e.DANE)
	b.WriteString("== TLS optional, the MX lookup is bogus\n" + tlspolicy.Explain(e))
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// TestExplainMessagesEverywhere: the text stays whole whatever a message asks.
func TestExplainMessagesEverywhere(t *testing.T) {
	seen := map[string]bool{}
	for p := range plans() {
		for _, m := range []tlspolicy.Message{{RequireTLS: true}, {TLSOptional: true}, {TLSOptional: true, OverrideLocal: true}} {
			if p.s.Fallback != tlspolicy.FallbackAlways {
				continue
			}
			s := p.s.For(m)
			r := tlspolicy.Plan(s, p.d, p.t)
			for _, o := range []tlspolicy.Outcome{{TLS: tlspolicy.TLSRefused}, {TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK}} {
				d := r.Decide(o)
				text := tlspolicy.Explain(tlspolicy.Explanation{Domain: "example.com", Host: "mx.example.com", Settings: s,
					DANE: p.d, STS: p.t, Requirement: r, Outcome: o, Decision: d})
				require.NotContains(t, text, "{", "%v %v", p, d)
				require.NotContains(t, text, "  ")
				require.Contains(t, text, "Decision: "+d.Action.String()+", reason "+d.Reason.String(), "%v", p)
				require.Equal(t, d.Shadow.Reason != tlspolicy.ReasonNone, strings.Contains(text, "(not enforced: "+d.Shadow.Reason.String()+")"), text)
				require.Equal(t, m.RequireTLS, strings.Contains(text, ", with REQUIRETLS: "))
				seen[d.Shadow.Policy.String()] = true
			}
		}
	}
	require.Len(t, seen, 3, "both policies, and none")
}
