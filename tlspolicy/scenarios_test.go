package tlspolicy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smtpsec/smtpsec/tlspolicy"
)

// TestChapterScenarios goes through the chapter's tables on DANE with MTA-STS,
// with the rows that they lack in print. "by mode" stands for what the mode
// alone would do.
func TestChapterScenarios(t *testing.T) {
	const (
		no, verified, tls, byMode = "no", "TLS verified", "TLS, not clear text", "by mode"

		pass = tlspolicy.STSEnforceMatch
	)
	otherSTS := []tlspolicy.STSState{tlspolicy.STSNoPolicy, tlspolicy.STSDiscoveryError, tlspolicy.STSTestingMatch, tlspolicy.STSTestingMismatch}
	anySTS := append([]tlspolicy.STSState{pass, tlspolicy.STSEnforceMismatch}, otherSTS...)
	noDANE := []tlspolicy.DANEState{tlspolicy.DANEInsecure, tlspolicy.DANENoTLSA}
	good := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK,
		DANEMatch: true, STSName: true, VerifyName: true, HostedName: true}
	badCert := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainUntrusted}
	badName := tlspolicy.Outcome{TLS: tlspolicy.TLSEstablished, Chain: tlspolicy.ChainOK}
	noTLS := []tlspolicy.Outcome{{TLS: tlspolicy.TLSNoESMTP}, {TLS: tlspolicy.TLSNotOffered}, {TLS: tlspolicy.TLSRefused}, {TLS: tlspolicy.TLSHandshakeFailed}}
	everything := append([]tlspolicy.Outcome{good, badCert, badName}, noTLS...)

	for _, c := range []struct {
		why      string
		dane     tlspolicy.DANE
		states   []tlspolicy.DANEState
		sts      []tlspolicy.STSState
		outcomes []tlspolicy.Outcome
		want     string
	}{
		{"None, MTA-STS passes", tlspolicy.DANENone, daneSts, []tlspolicy.STSState{pass}, []tlspolicy.Outcome{good}, verified},
		{"None, MX not in the policy", tlspolicy.DANENone, daneSts, []tlspolicy.STSState{tlspolicy.STSEnforceMismatch}, everything, no},
		{"None, MTA-STS certificate fails", tlspolicy.DANENone, daneSts, []tlspolicy.STSState{pass}, []tlspolicy.Outcome{badCert, badName}, no},
		{"None, MTA-STS without TLS", tlspolicy.DANENone, daneSts, []tlspolicy.STSState{pass}, noTLS, no},
		{"None, no policy", tlspolicy.DANENone, daneSts, otherSTS, everything, byMode},
		{"Opportunistic, DANE passes", tlspolicy.DANEOpportunistic, []tlspolicy.DANEState{tlspolicy.DANEUsable}, anySTS, []tlspolicy.Outcome{good}, verified},
		{"Opportunistic, no match", tlspolicy.DANEOpportunistic, []tlspolicy.DANEState{tlspolicy.DANEUsable}, anySTS, []tlspolicy.Outcome{badCert, badName}, no},
		{"Opportunistic, usable without TLS", tlspolicy.DANEOpportunistic, []tlspolicy.DANEState{tlspolicy.DANEUsable}, anySTS, noTLS, no},
		{"Opportunistic, bogus", tlspolicy.DANEOpportunistic, []tlspolicy.DANEState{tlspolicy.DANEBogus}, anySTS, everything, no},
		{"Opportunistic, lookup error", tlspolicy.DANEOpportunistic, []tlspolicy.DANEState{tlspolicy.DANELookupError}, anySTS, everything, no},
		{"Opportunistic, no DANE, MTA-STS passes", tlspolicy.DANEOpportunistic, noDANE, []tlspolicy.STSState{pass}, []tlspolicy.Outcome{good}, verified},
		{"Opportunistic, no DANE, MX not in the policy", tlspolicy.DANEOpportunistic, noDANE, []tlspolicy.STSState{tlspolicy.STSEnforceMismatch}, everything, no},
		{"Opportunistic, no DANE, MTA-STS certificate fails", tlspolicy.DANEOpportunistic, noDANE, []tlspolicy.STSState{pass}, []tlspolicy.Outcome{badCert, badName}, no},
		{"Opportunistic, no DANE, MTA-STS without TLS", tlspolicy.DANEOpportunistic, noDANE, []tlspolicy.STSState{pass}, noTLS, no},
		{"Opportunistic, no DANE, no policy", tlspolicy.DANEOpportunistic, noDANE, otherSTS, everything, byMode},
		{"Mandatory, DANE passes", tlspolicy.DANEMandatory, []tlspolicy.DANEState{tlspolicy.DANEUsable}, anySTS, []tlspolicy.Outcome{good}, verified},
		{"Mandatory, no match", tlspolicy.DANEMandatory, []tlspolicy.DANEState{tlspolicy.DANEUsable}, anySTS, []tlspolicy.Outcome{badCert, badName}, no},
		{"Mandatory, usable without TLS", tlspolicy.DANEMandatory, []tlspolicy.DANEState{tlspolicy.DANEUsable}, anySTS, noTLS, no},
		{"Mandatory, anything else", tlspolicy.DANEMandatory, []tlspolicy.DANEState{tlspolicy.DANEInsecure, tlspolicy.DANENoTLSA,
			tlspolicy.DANEUnusable, tlspolicy.DANEBogus, tlspolicy.DANELookupError}, anySTS, everything, no},
		{"Opportunistic, unusable, no TLS", tlspolicy.DANEOpportunistic, []tlspolicy.DANEState{tlspolicy.DANEUnusable}, anySTS, noTLS, no},
		{"Opportunistic, unusable, TLS, no policy", tlspolicy.DANEOpportunistic, []tlspolicy.DANEState{tlspolicy.DANEUnusable}, otherSTS,
			[]tlspolicy.Outcome{good, badCert, badName}, tls},
		{"Opportunistic, unusable, MTA-STS adds to it", tlspolicy.DANEOpportunistic, []tlspolicy.DANEState{tlspolicy.DANEUnusable},
			[]tlspolicy.STSState{pass}, []tlspolicy.Outcome{badCert, badName}, no},
	} {
		for _, m := range modes[1:] { // mode No evaluates nothing
			for _, fb := range fallbacks {
				for _, d := range c.states {
					for _, sts := range c.sts {
						s := tlspolicy.Settings{Mode: m, DANE: c.dane, MTASTS: tlspolicy.On, Fallback: fb}
						alone := tlspolicy.Plan(tlspolicy.Settings{Mode: m, DANE: tlspolicy.DANENone, MTASTS: tlspolicy.Off, Fallback: fb}, 0, 0)
						for _, o := range c.outcomes {
							got := tlspolicy.Plan(s, d, sts).Decide(o)
							byItself := alone.Decide(o).Action
							switch c.want {
							case no:
								require.Equal(t, tlspolicy.Next, got.Action, "%s: %v %v %v %+v", c.why, s, d, sts, o)
							case verified:
								require.Equal(t, tlspolicy.DeliverVerified, got.Action, "%s: %v %v %v %+v", c.why, s, d, sts, o)
							case tls, byMode:
								require.Equal(t, byItself, got.Action, "%s: %v %v %v %+v", c.why, s, d, sts, o)
							}
						}
					}
				}
			}
		}
	}
}
