package tlspolicy_test

import (
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

var update = flag.Bool("update", false, "write testdata/explain.txt anew")

// explanations holds one delivery for each reason.
func explanations(t *testing.T) map[tlspolicy.Reason]tlspolicy.Explanation {
	const (
		opportunistic = tlspolicy.DANEOpportunistic
		mandatory     = tlspolicy.DANEMandatory
		enforce       = tlspolicy.STSEnforceMatch
		noPolicy      = tlspolicy.STSNoPolicy
		insecure      = tlspolicy.DANEInsecure
		unusable      = tlspolicy.DANEUnusable
		usable        = tlspolicy.DANEUsable
	)
	absent := tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered}
	old := tlspolicy.Outcome{TLS: tlspolicy.TLSNoESMTP}
	refused := tlspolicy.Outcome{TLS: tlspolicy.TLSRefused}
	failed := tlspolicy.Outcome{TLS: tlspolicy.TLSHandshakeFailed}
	session := func(chain tlspolicy.ChainOutcome, change ...func(*tlspolicy.Outcome)) tlspolicy.Outcome {
		o := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: chain}
		for _, f := range change {
			f(&o)
		}
		return o
	}
	sts := func(o *tlspolicy.Outcome) { o.STSName = true }
	verify := func(o *tlspolicy.Outcome) { o.VerifyName = true }
	extra := func(o *tlspolicy.Outcome) { o.ExtraFailed = true }
	match := func(o *tlspolicy.Outcome) { o.DANEMatch = true }
	tls10 := func(o *tlspolicy.Outcome) { o.OldTLS = true }

	all := map[tlspolicy.Reason]tlspolicy.Explanation{}
	add := func(want tlspolicy.Reason, m tlspolicy.Mode, dane tlspolicy.DANE, d tlspolicy.DANEState, st tlspolicy.STSState,
		o tlspolicy.Outcome, change ...func(*tlspolicy.Explanation)) {
		table := newTable(t, tlspolicy.Settings{MTASTS: tlspolicy.On}, entries{
			".example.com": {Mode: m, DANE: dane},
			"no.example":   {Mode: tlspolicy.No},
		})
		e := tlspolicy.Explanation{Domain: "sales.example.com", Host: "mx1.example.com", DANE: d, STS: st,
			STSPolicy: "20240101T0", Outcome: o}
		if m == tlspolicy.No {
			e.Domain = "no.example"
			table = newTable(t, tlspolicy.Settings{}, entries{"no.example": {Mode: m}})
		}
		for _, f := range change {
			f(&e)
		}
		var err error
		if e.Settings, e.Origin, err = table.Lookup(e.Domain, tlspolicy.NextHop{}); want != tlspolicy.ReasonSettingsInvalid {
			require.NoError(t, err)
		} else {
			e.Settings.DANE = tlspolicy.DANEDefault
		}
		e.Requirement = tlspolicy.Plan(e.Settings, d, st)
		if want == tlspolicy.ReasonIdentityEmpty {
			e.Requirement = e.Requirement.WithoutReferences()
		}
		e.Decision = e.Requirement.Decide(o)
		require.Equal(t, want, e.Decision.Reason)
		all[want] = e
	}
	detail := func(text string) func(*tlspolicy.Explanation) {
		return func(e *tlspolicy.Explanation) { e.OutcomeDetail = text }
	}
	found := func(text string) func(*tlspolicy.Explanation) {
		return func(e *tlspolicy.Explanation) { e.DANEDetail = text }
	}

	add(tlspolicy.ReasonModeNo, tlspolicy.No, 0, 0, 0, tlspolicy.Outcome{})
	add(tlspolicy.ReasonDANEBogus, tlspolicy.Preferred, opportunistic, tlspolicy.DANEBogus, noPolicy, tlspolicy.Outcome{}, found("signature of example.com expired on 2026-03-01"))
	add(tlspolicy.ReasonDANELookupError, tlspolicy.Preferred, opportunistic, tlspolicy.DANELookupError, noPolicy, tlspolicy.Outcome{}, found("SERVFAIL"))
	add(tlspolicy.ReasonDANERequiredInsecure, tlspolicy.Preferred, mandatory, insecure, enforce, tlspolicy.Outcome{})
	add(tlspolicy.ReasonDANERequiredNoTLSA, tlspolicy.Preferred, mandatory, tlspolicy.DANENoTLSA, enforce, tlspolicy.Outcome{})
	add(tlspolicy.ReasonDANERequiredUnusable, tlspolicy.Preferred, mandatory, unusable, enforce, tlspolicy.Outcome{}, found("usage 1 only"))
	add(tlspolicy.ReasonSTSMXMismatch, tlspolicy.Preferred, opportunistic, tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMismatch, tlspolicy.Outcome{})
	add(tlspolicy.ReasonSTARTTLSAbsent, tlspolicy.Preferred, tlspolicy.DANENone, 0, noPolicy, old)
	add(tlspolicy.ReasonSTARTTLSRefused, tlspolicy.Preferred, tlspolicy.DANENone, 0, tlspolicy.STSDiscoveryError, refused, detail("454 4.7.0 TLS not available"))
	add(tlspolicy.ReasonHandshakeFailed, tlspolicy.PreferredVerify, tlspolicy.DANENone, 0, tlspolicy.STSTestingMismatch, failed, detail("remote error: tls: handshake failure"))
	add(tlspolicy.ReasonDANEUnusableTLSAbsent, tlspolicy.Preferred, opportunistic, unusable, noPolicy, absent)
	add(tlspolicy.ReasonDANEUnusableTLSRefused, tlspolicy.Preferred, opportunistic, unusable, noPolicy, refused)
	add(tlspolicy.ReasonDANEUnusableTLSHandshakeFailed, tlspolicy.Preferred, opportunistic, unusable, noPolicy, failed)
	add(tlspolicy.ReasonModeTLSAbsent, tlspolicy.Required, tlspolicy.DANENone, 0, noPolicy, absent)
	add(tlspolicy.ReasonModeTLSRefused, tlspolicy.RequiredVerifyHosted, tlspolicy.DANENone, 0, noPolicy, refused)
	add(tlspolicy.ReasonModeTLSHandshakeFailed, tlspolicy.RequiredVerify, tlspolicy.DANENone, 0, noPolicy, session(tlspolicy.ChainOK, tls10))
	add(tlspolicy.ReasonSTSTLSAbsent, tlspolicy.Preferred, tlspolicy.DANENone, 0, enforce, absent)
	add(tlspolicy.ReasonSTSTLSRefused, tlspolicy.Preferred, tlspolicy.DANENone, 0, enforce, refused)
	add(tlspolicy.ReasonSTSTLSHandshakeFailed, tlspolicy.Preferred, tlspolicy.DANENone, 0, enforce, failed)
	add(tlspolicy.ReasonDANETLSAbsent, tlspolicy.Preferred, opportunistic, usable, enforce, absent)
	add(tlspolicy.ReasonDANETLSRefused, tlspolicy.Preferred, opportunistic, usable, enforce, refused)
	add(tlspolicy.ReasonDANETLSHandshakeFailed, tlspolicy.Preferred, mandatory, usable, enforce, failed)
	add(tlspolicy.ReasonDANEVerified, tlspolicy.RequiredVerify, opportunistic, usable, enforce, session(tlspolicy.ChainUnchecked, match), found("3 1 1"))
	add(tlspolicy.ReasonDANEMismatch, tlspolicy.Preferred, opportunistic, usable, enforce, session(tlspolicy.ChainUnchecked))
	add(tlspolicy.ReasonSTSCertUntrusted, tlspolicy.Preferred, tlspolicy.DANENone, 0, enforce, session(tlspolicy.ChainExpired, sts))
	add(tlspolicy.ReasonSTSCertNameMismatch, tlspolicy.Preferred, tlspolicy.DANENone, 0, enforce, session(tlspolicy.ChainOK))
	add(tlspolicy.ReasonModeCertUntrusted, tlspolicy.RequiredVerify, opportunistic, insecure, noPolicy, session(tlspolicy.ChainUntrusted))
	add(tlspolicy.ReasonModeCertNameMismatch, tlspolicy.RequiredVerifyHosted, opportunistic, insecure, enforce, session(tlspolicy.ChainOK, sts))
	add(tlspolicy.ReasonModeCertInvalid, tlspolicy.RequiredVerify, opportunistic, unusable, noPolicy, session(tlspolicy.ChainOK, verify, extra))
	add(tlspolicy.ReasonSTSModeVerified, tlspolicy.RequiredVerify, opportunistic, insecure, enforce, session(tlspolicy.ChainOK, sts, verify))
	add(tlspolicy.ReasonModeVerified, tlspolicy.PreferredVerify, opportunistic, insecure, noPolicy, session(tlspolicy.ChainOK, verify))
	add(tlspolicy.ReasonSTSVerified, tlspolicy.Preferred, opportunistic, insecure, enforce, session(tlspolicy.ChainOK, sts))
	add(tlspolicy.ReasonTLSUnauthenticated, tlspolicy.PreferredVerify, opportunistic, unusable, tlspolicy.STSTestingMatch, session(tlspolicy.ChainUntrusted))
	add(tlspolicy.ReasonSettingsInvalid, tlspolicy.Preferred, opportunistic, insecure, noPolicy, absent)
	add(tlspolicy.ReasonInputInvalid, tlspolicy.Preferred, opportunistic, 0, noPolicy, absent)
	add(tlspolicy.ReasonIdentityEmpty, tlspolicy.RequiredVerify, opportunistic, insecure, noPolicy, absent)
	return all
}

func TestExplainEveryReason(t *testing.T) {
	const golden = "testdata/explain.txt"
	all := explanations(t)
	var b strings.Builder
	for _, r := range allReasons() {
		e, ok := all[r]
		require.True(t, ok, "%v", r)
		b.WriteString("== " + r.String() + "\n" + tlspolicy.Explain(e) + "\n")
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// TestExplainSaysWhatWasDecided: whatever the input, the text has no word left
// to fill in, names the decision, and says what to change where mail is held
// back.
func TestExplainSaysWhatWasDecided(t *testing.T) {
	for r, p := range requirementsByPlan() {
		for _, o := range outcomes {
			if o.TLS == tlspolicy.TLSEstablished && o.HostedName {
				continue // says no more than VerifyName, and takes half the time
			}
			d := r.Decide(o)
			text := tlspolicy.Explain(tlspolicy.Explanation{Domain: "example.com", Host: "mx.example.com", Settings: p.s,
				DANE: p.d, STS: p.t, Requirement: r, Outcome: o, Decision: d})
			require.NotContains(t, text, "{", "%v %v", p, d)
			require.NotContains(t, text, "  ")
			require.NotContains(t, text, ": .")
			require.Contains(t, text, "Decision: "+d.Action.String()+", reason "+d.Reason.String(), "%v", p)
			require.Equal(t, d.Action == tlspolicy.Next, strings.Contains(text, "It would pass if "), text)
			require.NotContains(t, text, "pass if .")
		}
	}
}

func TestExplainDomain(t *testing.T) {
	d, _ := tlspolicy.PlanDomain(tlspolicy.Recommended(), tlspolicy.DANEBogus)
	e := tlspolicy.Explanation{Domain: "example.com", Settings: tlspolicy.Recommended(), DANE: tlspolicy.DANEBogus, Decision: d}
	require.Equal(t, `The default entry governs example.com: mode preferred built in, DANE opportunistic built in, MTA-STS on built in, fallback after-220 built in (AsyncOS chapter, destination controls).
P0: DNSSEC validation of the MX lookup for example.com failed, so no host in the answer can be trusted (RFC 7672 section 2.2.1).
Decision: next-mx-then-defer, reason dane-bogus, status 4.7.5, reported under tlsa as dnssec-invalid.
It would pass if the DNS zone had valid DNSSEC signatures, or DANE were none here.
`, tlspolicy.Explain(e))

	e.DANE = tlspolicy.DANELookupError
	e.Decision, _ = tlspolicy.PlanDomain(e.Settings, e.DANE)
	require.Contains(t, tlspolicy.Explain(e), "\nP0: the MX lookup for example.com failed, ")
}

func TestExplainBeforeConnecting(t *testing.T) {
	s := tlspolicy.Recommended()
	require.Equal(t, `The default entry governs mx1.example.com: mode preferred built in, DANE opportunistic built in, MTA-STS on built in, fallback after-220 built in (AsyncOS chapter, destination controls).
P8: mx1.example.com has no TLSA records, so DANE has no say (RFC 7672 section 2.2).
P10: the MTA-STS policy 20240101T0 is enforce and lists mx1.example.com, so TLS with a certificate for mx1.example.com is required (RFC 8461 section 5).
`, tlspolicy.Explain(tlspolicy.Explanation{Host: "mx1.example.com", Settings: s, DANE: tlspolicy.DANENoTLSA,
		STS: tlspolicy.STSEnforceMatch, STSPolicy: "20240101T0",
		Requirement: tlspolicy.Plan(s, tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMatch)}))
}

func TestExplainLeavesOutWhatWasNotReached(t *testing.T) {
	e := tlspolicy.Explanation{Domain: "example.com", Host: "mx1.example.com", Settings: tlspolicy.Recommended()}
	require.Equal(t, 1, strings.Count(tlspolicy.Explain(e), "\n"), "the entry only")
	e.DANE = tlspolicy.DANEInsecure
	require.Contains(t, tlspolicy.Explain(e), "\nP8: ")
	require.Equal(t, 2, strings.Count(tlspolicy.Explain(e), "\n"), "and DANE")
	e.Settings = tlspolicy.BuiltIn()
	e.Requirement = tlspolicy.Plan(e.Settings, 0, 0)
	require.Contains(t, tlspolicy.Explain(e), "\nP12: MTA-STS is off for this destination, so the mode decides (AsyncOS chapter, MTA-STS settings).\nP15: ")
	e.Host = ""
	e.Settings.DANE, e.DANE = tlspolicy.DANEOpportunistic, tlspolicy.DANEUsable
	require.Equal(t, 1, strings.Count(tlspolicy.Explain(e), "\n"), "an MX lookup that is safe needs no words")
}

// TestExplainTakesAnything: values out of range give some text and no panic.
func TestExplainTakesAnything(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	some := func() uint8 {
		if n := random.IntN(12); n < 8 {
			return uint8(n)
		}
		return uint8(random.IntN(256))
	}
	requirements := slices.Collect(maps.Keys(requirementsByPlan()))
	for range 20_000 {
		e := tlspolicy.Explanation{
			Settings: tlspolicy.Settings{Mode: tlspolicy.Mode(some()), DANE: tlspolicy.DANE(some()), MTASTS: tlspolicy.MTASTS(some()), Fallback: tlspolicy.Fallback(some())},
			Origin:   tlspolicy.Origin{Match: tlspolicy.Match(some()), Mode: tlspolicy.Source(some())},
			DANE:     tlspolicy.DANEState(some()), STS: tlspolicy.STSState(some()),
			Requirement: requirements[random.IntN(len(requirements))],
			Outcome:     tlspolicy.Outcome{TLS: tlspolicy.TLSOutcome(some()), Chain: tlspolicy.ChainOutcome(some())},
			Decision: tlspolicy.Decision{Action: tlspolicy.Action(some()), Reason: tlspolicy.Reason(some() * 3), Status: tlspolicy.Status(some()),
				Result: tlspolicy.Result(some()), Policy: tlspolicy.Policy(some()), TLSA: tlspolicy.Result(some()), Satisfied: tlspolicy.Policy(some()),
				Shadow: tlspolicy.Shadow{Policy: tlspolicy.Policy(some()), Reason: tlspolicy.Reason(some()), Result: tlspolicy.Result(some())}, Cause: tlspolicy.Cause(some())},
		}
		require.True(t, strings.HasSuffix(tlspolicy.Explain(e), ".\n"))
		e.Requirement.Decide(e.Outcome)
		tlspolicy.Plan(e.Settings, e.DANE, e.STS).Decide(e.Outcome)
	}
}

// TestExplainOnATerminal: nothing that a peer or the DNS says can move the
// cursor, start a line or fill the screen.
func TestExplainOnATerminal(t *testing.T) {
	hostile := "\x1b[2J\r\n{domain} \u202e" + strings.Repeat("x", 10_000) + "\xff"
	s := tlspolicy.Recommended()
	r := tlspolicy.Plan(s, tlspolicy.DANENoTLSA, tlspolicy.STSEnforceMatch)
	o := tlspolicy.Outcome{TLS: tlspolicy.TLSRefused}
	text := tlspolicy.Explain(tlspolicy.Explanation{Domain: hostile, Host: hostile, Settings: s, DANE: tlspolicy.DANENoTLSA,
		DANEDetail: hostile, STS: tlspolicy.STSEnforceMatch, STSPolicy: hostile, STSDetail: hostile,
		Requirement: r, Outcome: o, OutcomeDetail: hostile, Decision: r.Decide(o)})
	require.NotContains(t, text, "\x1b")
	require.NotContains(t, text, "\r")
	require.NotContains(t, text, "\u202e")
	require.Equal(t, 7, strings.Count(text, "\n"))
	require.Less(t, len(text), 5000)
}
