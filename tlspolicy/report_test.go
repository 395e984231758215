package tlspolicy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// counts returns what is counted for a decision, in words.
func counts(d tlspolicy.Decision) string {
	var all []string
	for policy, result := range d.Counts() {
		word := result.String()
		if result == tlspolicy.ResultNone {
			word = "success"
		}
		all = append(all, policy.String()+" "+word)
	}
	return strings.Join(all, ", ")
}

func TestCounts(t *testing.T) {
	const (
		insecure = tlspolicy.DANEInsecure
		unusable = tlspolicy.DANEUnusable
		usable   = tlspolicy.DANEUsable
		none     = tlspolicy.STSNoPolicy
		testing  = tlspolicy.STSTestingMatch
		enforce  = tlspolicy.STSEnforceMatch
	)
	good := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, DANEMatch: true, STSName: true, VerifyName: true}
	untrusted := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainUntrusted}
	otherName := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK, STSName: true}
	absent := tlspolicy.Outcome{TLS: tlspolicy.TLSNotOffered}
	failed := tlspolicy.Outcome{TLS: tlspolicy.TLSHandshakeFailed}
	for _, c := range []struct {
		why  string
		mode tlspolicy.Mode
		d    tlspolicy.DANEState
		t    tlspolicy.STSState
		o    tlspolicy.Outcome
		want string
	}{
		{"no policy, TLS", tlspolicy.Preferred, insecure, none, untrusted, "no-policy-found success"},
		{"no policy, clear text is no success", tlspolicy.Preferred, insecure, none, absent, "no-policy-found starttls-not-supported"},
		{"no policy, failed handshake", tlspolicy.Preferred, insecure, none, failed, "no-policy-found validation-failure"},
		{"mode No has no policy to report", tlspolicy.No, insecure, enforce, absent, ""},
		{"our own rule is not their failure", tlspolicy.RequiredVerify, insecure, none, untrusted, "no-policy-found success"},
		{"our own rule beside a kept sts policy", tlspolicy.RequiredVerify, insecure, enforce, otherName, "sts success"},
		{"DANE kept", tlspolicy.Preferred, usable, enforce, good, "tlsa success"},
		{"DANE not kept", tlspolicy.Preferred, usable, enforce, untrusted, "tlsa validation-failure"},
		{"MTA-STS kept", tlspolicy.Preferred, insecure, enforce, good, "sts success"},
		{"MTA-STS not kept", tlspolicy.Preferred, insecure, enforce, untrusted, "sts certificate-not-trusted"},
		{"tested policy kept", tlspolicy.Preferred, insecure, testing, good, "sts success"},
		{"tested policy not kept, mail delivered", tlspolicy.Preferred, insecure, testing, untrusted, "sts certificate-not-trusted"},
		{"tested policy, clear text", tlspolicy.Preferred, insecure, testing, absent, "sts starttls-not-supported"},
		{"tested policy, host not listed", tlspolicy.Preferred, insecure, tlspolicy.STSTestingMismatch, good, "sts validation-failure"},
		{"tested policy and our own rule", tlspolicy.RequiredVerify, insecure, testing, otherName, "sts success"},
		{"unusable TLSA records", tlspolicy.Preferred, unusable, none, untrusted, "tlsa tlsa-invalid"},
		{"unusable, no TLS", tlspolicy.Preferred, unusable, none, absent, "tlsa tlsa-invalid"},
		{"unusable, mode verified", tlspolicy.RequiredVerify, unusable, none, good, "tlsa tlsa-invalid"},
		{"unusable and our own rule", tlspolicy.RequiredVerify, unusable, none, otherName, "tlsa tlsa-invalid"},
		{"unusable and MTA-STS kept", tlspolicy.Preferred, unusable, enforce, good, "tlsa tlsa-invalid, sts success"},
		{"unusable and MTA-STS not kept", tlspolicy.Preferred, unusable, enforce, absent, "tlsa tlsa-invalid, sts starttls-not-supported"},
		{"unusable, MTA-STS kept, our own rule not", tlspolicy.RequiredVerify, unusable, enforce, otherName, "tlsa tlsa-invalid, sts success"},
		{"unusable and a tested policy", tlspolicy.Preferred, unusable, testing, untrusted, "tlsa tlsa-invalid, sts certificate-not-trusted"},
		{"unusable, host not in the policy", tlspolicy.Preferred, unusable, tlspolicy.STSEnforceMismatch, good, "tlsa tlsa-invalid, sts validation-failure"},
		{"bogus", tlspolicy.Preferred, tlspolicy.DANEBogus, enforce, good, "tlsa dnssec-invalid"},
		{"lookup error", tlspolicy.Preferred, tlspolicy.DANELookupError, enforce, good, "tlsa tlsa-invalid"},
		{"nothing known of the connection", tlspolicy.Preferred, insecure, enforce, tlspolicy.Outcome{}, ""},
	} {
		s := tlspolicy.Recommended()
		s.Mode = c.mode
		d := tlspolicy.Plan(s, c.d, c.t).Decide(c.o)
		require.Equal(t, c.want, counts(d), "%s: %v", c.why, d)
	}

	d, _ := tlspolicy.PlanDomain(tlspolicy.Recommended(), tlspolicy.DANEBogus)
	require.Equal(t, "tlsa dnssec-invalid", counts(d), "the MX lookup is bogus")
	d, _ = tlspolicy.PlanDomain(tlspolicy.Recommended(), tlspolicy.DANELookupError)
	require.Empty(t, counts(d), "no name is known to report on")
	r := tlspolicy.Plan(tlspolicy.BuiltIn(), 0, 0)
	require.Empty(t, counts(r.AfterReconnect().Decide(absent)), "the session whose handshake failed was counted")
	require.Empty(t, counts(tlspolicy.Decision{}))
}

// TestCountsEverywhere: a policy counts once for a session, clear text and
// sessions that are left never count as a success of what they failed, and the
// loop can be left early.
func TestCountsEverywhere(t *testing.T) {
	for r, p := range requirementsByPlan() {
		for _, o := range outcomes {
			d := r.Decide(o)
			seen := map[tlspolicy.Policy]bool{}
			for policy, result := range d.Counts() {
				require.False(t, seen[policy], "%v %v", p, d)
				seen[policy] = true
				require.Contains(t, []tlspolicy.Policy{tlspolicy.PolicyTLSA, tlspolicy.PolicySTS, tlspolicy.PolicyNoPolicyFound}, policy)
				if o.TLS != tlspolicy.TLSEstablished {
					require.NotEqual(t, tlspolicy.ResultNone, result, "%v %v", p, d)
				}
			}
			require.False(t, seen[tlspolicy.PolicyNoPolicyFound] && len(seen) > 1, "%v %v", p, d)
			for range d.Counts() {
				break
			}
		}
	}
}
